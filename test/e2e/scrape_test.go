package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"

	"sallyport.dev/sallyport/internal/localstack/product"
)

// scraperYAML is whoever may scrape, and somebody who may not.
const scraperYAML = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: curious, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sallyport-metrics}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
`

// scraper takes any certificate: the agent's is made by itself.
var scraper = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}}}

// scrapeAs reads the metrics of a replica with the token of a ServiceAccount, none for
// "". The agent is installed with authentication, and the webhook answers anybody.
func scrapeAs(ctx context.Context, replica *product.Replica, account string) (status int, body []byte, err error) {
	scheme := "http"
	if replica.Ports["webhook"] == 0 {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+replica.Address("metrics")+"/metrics", http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if account != "" {
		config, _, err := shared.stack.TokenConfig(ctx, "default", account)
		if err != nil {
			return 0, nil, err
		}
		request.Header.Set("Authorization", "Bearer "+config.BearerToken)
	}
	response, err := scraper.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

func scrape(ctx context.Context, replica *product.Replica) ([]byte, error) {
	status, body, err := scrapeAs(ctx, replica, "prometheus")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, body)
	}
	return body, err
}

func TestWhoMayScrapeTheAgent(t *testing.T) {
	for account, want := range map[string]int{"": http.StatusUnauthorized, "curious": http.StatusForbidden, "prometheus": http.StatusOK} {
		status, _, err := scrapeAs(t.Context(), shared.product.Agents[0], account)
		if err != nil || status != want {
			t.Errorf("account %q is answered with %d (error %v), expected %d", account, status, err, want)
		}
	}
}
