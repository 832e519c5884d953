package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// trustDomain is that of the callers, of which the target refuses those that are revoked
// and those that are on no list.
const trustDomain = "example.com"

// material is what the children need.
type material struct {
	// CA is who issues, for servers and for callers.
	CA pair
	// Servers are the certificates of the target, by host.
	Servers map[string]pair
	// Managed, Foreign and Revoked are callers: one to be accepted and two to be refused.
	Managed, Foreign, Revoked pair
	// Address is where the target listens, for those who call it.
	Address string
	// Handshakes is how many a Prover makes with each replica in each round.
	Handshakes int
}

// pair is a certificate with its key, in PEM.
type pair struct{ Certificate, Key []byte }

func pairOf(p pki.Pair) pair { return pair{Certificate: p.CertificatePEM(), Key: p.KeyPEM()} }

func (p pair) forTLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Certificate, p.Key) }

// host is the name of one of the target's servers.
func host(n int) string { return fmt.Sprintf("h%d.example.com", n) }

// newMaterial makes a CA with its callers, and certificates for so many hosts.
func newMaterial(b *testing.B, hosts int) material {
	b.Helper()
	now := time.Now()
	key := newKey(b)
	ca := newCA(b, "fleet", now)
	caller := func(of pki.Authority, identity string) pair {
		p, err := of.IssueClient(pki.ClientRequest{CommonName: "caller", Identity: identity, Lifetime: 24 * time.Hour}, key, now)
		if err != nil {
			b.Fatal(err)
		}
		return pairOf(p)
	}
	probe := intent.ProbeIdentity(trustDomain)
	m := material{
		CA:      pair{Certificate: ca.Certificate().PEM(), Key: ca.Key().PEM()},
		Servers: map[string]pair{},
		Managed: caller(ca, probe), Foreign: caller(newCA(b, "foreign", now), probe), Revoked: caller(ca, probe+"/revoked"),
	}
	for n := range hosts {
		p, err := ca.IssueServer(pki.ServerRequest{Hosts: []string{host(n)}, Key: newKey(b), Lifetime: 24 * time.Hour}, now)
		if err != nil {
			b.Fatal(err)
		}
		m.Servers[host(n)] = pairOf(p)
	}
	return m
}

func newKey(b *testing.B) pki.Key {
	b.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func newCA(b *testing.B, name string, now time.Time) pki.Authority {
	b.Helper()
	ca, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: newKey(b), Lifetime: 240 * time.Hour}, now)
	if err != nil {
		b.Fatal(err)
	}
	return ca
}

func readMaterial(file string) (material, error) {
	var m material
	content, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	return m, err
}

// startTarget starts the server that everybody calls, and tells the material where.
func startTarget(b *testing.B, m *material) {
	b.Helper()
	m.Address = startChild(b, "target", *m).hear(b)
}

// serveTarget is a server of mutual TLS in the place of a gateway: it says its address,
// and answers as HTTP/1.1 has it, a request that has no Host with 400.
func serveTarget(m material, input io.Reader, output io.Writer) error {
	certificates := map[string]*tls.Certificate{}
	for name, p := range m.Servers {
		certificate, err := p.forTLS()
		if err != nil {
			return err
		}
		certificates[name] = &certificate
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(m.CA.Certificate)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		NextProtos: []string{"http/1.1"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if certificate := certificates[hello.ServerName]; certificate != nil {
				return certificate, nil
			}
			return nil, errors.New("nobody of that name")
		},
		VerifyConnection: refuseListed,
	})
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
		// Left to itself, a callback would be called for each connection of h2.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if _, err := io.WriteString(output, listener.Addr().String()+"\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, input)
	return err
}

// refuseListed refuses those of the callers that a gateway refuses by its CRL and by its
// list. What is said of them goes to nobody.
func refuseListed(state tls.ConnectionState) error {
	for _, identity := range state.PeerCertificates[0].URIs {
		if strings.HasSuffix(identity.Path, "/revoked") || strings.HasSuffix(identity.Path, "/stranger") {
			return errors.New("not this one")
		}
	}
	return nil
}

// median of some figures; it sorts them.
func median(figures []float64) float64 {
	slices.Sort(figures)
	return (figures[(len(figures)-1)/2] + figures[len(figures)/2]) / 2
}

// awaitServer waits until somebody listens.
func awaitServer(b *testing.B, address string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for dialer := (net.Dialer{}); ; {
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			connection.Close()
			return
		}
		if ctx.Err() != nil {
			b.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
