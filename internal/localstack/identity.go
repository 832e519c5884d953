package localstack

import (
	"context"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenLifetime outlives a long demo; nobody refreshes these tokens.
const tokenLifetime = 7 * 24 * time.Hour

// TokenConfig answers with a client configuration, and the path of a kubeconfig, that
// carry a fresh token of a ServiceAccount. What uses them has that account's rights and
// no others. The account has to exist.
func (s *Stack) TokenConfig(ctx context.Context, namespace, serviceAccount string) (*rest.Config, string, error) {
	token, err := s.token(ctx, namespace, serviceAccount, nil)
	if err != nil {
		return nil, "", err
	}
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = token
	dir := s.path("identities")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("keeping the token of %s/%s: %w", namespace, serviceAccount, err)
	}
	path := fmt.Sprintf("%s/%s.%s.kubeconfig", dir, namespace, serviceAccount)
	return config, path, writeKubeconfig(path, config, &clientcmdapi.AuthInfo{Token: token})
}

// token asks for a token of a ServiceAccount; no audiences means the API server's own.
func (s *Stack) token(ctx context.Context, namespace, serviceAccount string, audiences []string) (string, error) {
	seconds := int64(tokenLifetime / time.Second)
	answer, err := s.kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for a token of ServiceAccount %s/%s: %w", namespace, serviceAccount, err)
	}
	return answer.Status.Token, nil
}
