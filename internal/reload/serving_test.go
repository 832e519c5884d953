package reload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pairOf is a self-signed pair with this serial number.
func pairOf(t *testing.T, serial int64) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"webhook"}, NotAfter: time.Unix(serial*1000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// handshake connects to a server that serves the pair and returns what the client
// learned: the served serial, or the error.
func handshake(t *testing.T, pair ServingPair, maxVersion uint16) (serial int64, state tls.ConnectionState, err error) {
	t.Helper()
	config := &tls.Config{} // #nosec G402 -- ConfigureTLS is what is under test.
	pair.ConfigureTLS(config)
	clientEnd, serverEnd := net.Pipe()
	defer clientEnd.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer serverEnd.Close()
		_ = tls.Server(serverEnd, config).Handshake()
	}()
	client := tls.Client(clientEnd, &tls.Config{InsecureSkipVerify: true, MaxVersion: maxVersion, NextProtos: []string{"h2"}}) // #nosec G402 -- the leaf is read, not trusted.
	err = client.HandshakeContext(t.Context())
	clientEnd.Close()
	<-served
	if err != nil {
		return 0, tls.ConnectionState{}, err
	}
	state = client.ConnectionState()
	return state.PeerCertificates[0].SerialNumber.Int64(), state, nil
}

func TestTheServingPairFollowsItsMount(t *testing.T) {
	m := newMount(t)
	pair := NewServingPair(m.path, frozen(), nil)
	if _, _, err := handshake(t, pair, 0); err == nil {
		t.Error("a handshake succeeded without a pair")
	}
	if _, err := pair.GetCertificate(nil); !errors.Is(err, ErrNoPair) {
		t.Errorf("GetCertificate: %v", err)
	}
	if _, ok := pair.NotAfter(); ok {
		t.Error("an end without a pair")
	}
	crt1, key1 := pairOf(t, 1)
	crt2, key2 := pairOf(t, 2)
	steps := []struct {
		name     string
		crt, key string
		serial   int64
		err      string
	}{
		{"first pair", crt1, key1, 1, ""},
		{"key of another pair", crt1, key2, 1, "private key does not match public key"},
		{"second pair", crt2, key2, 2, ""},
		{"no certificate", "", key2, 2, "failed to find any PEM data in certificate input"},
		{"no key", crt1, "garbage", 2, "failed to find any PEM data in key input"},
		{"first pair again", crt1, key1, 1, ""},
	}
	for i, step := range steps {
		m.swap(strings.Repeat("i", i+1), map[string]string{"tls.crt": step.crt, "tls.key": step.key})
		pair.Reload()
		serial, state, err := handshake(t, pair, 0)
		if err != nil || serial != step.serial {
			t.Errorf("%s: served %d, %v; want %d", step.name, serial, err, step.serial)
		}
		if state.NegotiatedProtocol != "h2" {
			t.Errorf("%s: negotiated %q", step.name, state.NegotiatedProtocol)
		}
		if got := pair.Status().Err; (got == nil) != (step.err == "") || got != nil && !strings.Contains(got.Error(), step.err) {
			t.Errorf("%s: status %v, want %q", step.name, got, step.err)
		}
		if strings.Contains(errorText(pair.Status().Err), "PRIVATE KEY") {
			t.Errorf("%s: the error carries a key", step.name)
		}
	}
	end, ok := pair.NotAfter()
	if diff := cmp.Diff(time.Unix(1000, 0).UTC(), end); diff != "" || !ok {
		t.Errorf("end (-want +got):\n%s", diff)
	}
}

func TestOldTLSVersionsAreRefused(t *testing.T) {
	m := newMount(t)
	crt, key := pairOf(t, 1)
	m.swap("1", map[string]string{"tls.crt": crt, "tls.key": key})
	pair := NewServingPair(m.path, frozen(), nil)
	pair.Reload()
	if _, _, err := handshake(t, pair, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if _, state, err := handshake(t, pair, tls.VersionTLS12); err != nil || state.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
