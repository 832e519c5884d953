package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

func authority(t *testing.T) pki.Authority {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: t.Name(), Key: key, Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func client(t *testing.T, of pki.Authority) tls.Certificate {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := of.IssueClient(pki.ClientRequest{CommonName: "a", Identity: "spiffe://b/c", Lifetime: time.Hour}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestCallTellsAResponseFromARefusal(t *testing.T) {
	own, foreign := authority(t), authority(t)
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := own.IssueServer(pki.ServerRequest{Hosts: []string{"a.example.com"}, Key: key, Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	served, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(own.Certificate().X509())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, Certificates: []tls.Certificate{served}}
	server.StartTLS()
	t.Cleanup(server.Close)

	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, test := range map[string]struct {
			certificates []tls.Certificate
			want         string
		}{
			"issued":  {[]tls.Certificate{client(t, own)}, "418 I'm a teapot"},
			"none":    {nil, map[uint16]string{tls.VersionTLS12: "refused: tls: handshake failure", tls.VersionTLS13: "refused: tls: certificate required"}[version]},
			"foreign": {[]tls.Certificate{client(t, foreign)}, "refused: tls: unknown certificate authority"},
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				caller := edge.Caller{Certificates: test.certificates, Roots: roots, MaxVersion: version}
				answer := caller.Call(context.Background(), server.Listener.Addr().String(), "a.example.com", "a.example.com", "/", nil)
				if got := answer.String(); len(got) < len(test.want) || got[:len(test.want)] != test.want {
					t.Errorf("answer %q, expected %q", got, test.want)
				}
			})
		}
	}
	answer := edge.Caller{Roots: roots}.Call(context.Background(), "127.0.0.1:1", "a.example.com", "a.example.com", "/", nil)
	if answer.Status != 0 || answer.Refusal != "" || answer.Other == nil {
		t.Errorf("nobody listens, and the answer is %q", answer)
	}
}
