package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// The workload learns who called from headers that only the edge writes: a caller's own
// never arrive, in whatever case and however often.
func TestACallersOwnIdentityHeadersNeverArrive(t *testing.T) {
	const ns, host = "identity", "identity.example.com"
	namespace(t, ns)
	apply(t, ruleYAML("v2", ns, "orders", host, annotated+`, mtls.sallyport.dev/client-headers: "uri,subject"`, ""))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	friend := byRequest(t, ns, "caller", "default")
	checkThreeAnswers(t, friend, host)
	const forged = "spiffe://example.com/ns/identity/client/admin"
	names := []string{"Subject", "Issuer", "Uri", "Dns", "Serial", "Certificate"}
	identity := fmt.Sprintf("spiffe://%s/ns/%s/client/caller", trustDomain, ns)
	for _, spelling := range []func(string) string{strings.ToLower, strings.ToUpper, func(s string) string { return s }} {
		header := http.Header{"X-Forwarded-Client-Cert": {"URI=" + forged}}
		for _, name := range names {
			header[spelling("X-Client-Cert-"+name)] = []string{forged, "uri=" + forged}
		}
		arrived := headersAtTheWorkload(t, friend.Certificates, host, header)
		if text := fmt.Sprint(arrived); strings.Contains(text, forged) {
			t.Errorf("a header that the caller wrote reaches the workload: %s", text)
		}
		for name, want := range map[string]string{
			"Uri": "uri=" + identity, "Subject": "subject=CN=caller", "Issuer": "issuer=", "Dns": "dns=", "Serial": "serial=", "Certificate": "certificate=",
		} {
			if got := arrived["X-Client-Cert-"+name]; len(got) != 1 || got[0] != want {
				t.Errorf("header X-Client-Cert-%s is %q at the workload, expected %q once", name, got, want)
			}
		}
	}
}

// headersAtTheWorkload sends headers as they are spelt, and returns those that the
// workload got.
func headersAtTheWorkload(t *testing.T, certificates []tls.Certificate, host string, header http.Header) http.Header {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{
			ServerName: host, Certificates: certificates, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // what arrives is the question
		}}).DialContext(ctx, network, shared.stack.Gateways()[0].HTTPS)
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/headers", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var echoed struct{ Headers http.Header }
	if err := json.Unmarshal(body, &echoed); err != nil {
		t.Fatalf("reading %q: %v", body, err)
	}
	return echoed.Headers
}
