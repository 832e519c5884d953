package localstack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// credentialLifetime outlives any stack, a detached demo of a week too.
const credentialLifetime = 30 * 24 * time.Hour

// credentials are the API server's own keys and certificates: what kubeadm would make.
// They have nothing to do with pkg/pki, which is under test here.
type credentials struct {
	// Paths for the API server's flags.
	caFile, servingCertificate, servingKey, serviceAccountKey string
	// PEM of the CA, and of the administrator's client certificate and key.
	ca, adminCertificate, adminKey []byte
}

// signer is one CA that signs both the API server's and the administrator's certificate.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
	notBefore   time.Time
	notAfter    time.Time
}

func newCredentials(dir string, now time.Time) (credentials, error) {
	ca, err := newSigner(now)
	if err != nil {
		return credentials{}, fmt.Errorf("making the API server's CA: %w", err)
	}
	serving, servingKey, err := ca.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes.default.svc"},
	})
	if err != nil {
		return credentials{}, fmt.Errorf("making the API server's certificate: %w", err)
	}
	admin, adminKey, err := ca.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return credentials{}, fmt.Errorf("making the administrator's certificate: %w", err)
	}
	_, accountKey, err := newKey()
	if err != nil {
		return credentials{}, fmt.Errorf("making the key of ServiceAccount tokens: %w", err)
	}
	c := credentials{ca: ca.pem, adminCertificate: admin, adminKey: adminKey}
	for _, file := range []struct {
		path    *string
		name    string
		content []byte
	}{
		{&c.caFile, "ca.crt", ca.pem},
		{&c.servingCertificate, "apiserver.crt", serving},
		{&c.servingKey, "apiserver.key", servingKey},
		{&c.serviceAccountKey, "service-account.key", accountKey},
	} {
		*file.path = filepath.Join(dir, file.name)
		if err := os.WriteFile(*file.path, file.content, 0o600); err != nil {
			return credentials{}, fmt.Errorf("writing the API server's credentials: %w", err)
		}
	}
	return c, nil
}

func newSigner(now time.Time) (signer, error) {
	key, _, err := newKey()
	if err != nil {
		return signer{}, err
	}
	s := signer{key: key, notBefore: now.Add(-time.Minute), notAfter: now.Add(credentialLifetime)}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "local stack"},
		NotBefore:             s.notBefore,
		NotAfter:              s.notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return signer{}, err
	}
	s.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	s.certificate, err = x509.ParseCertificate(raw)
	return s, err
}

// sign completes the template and answers with certificate and key in PEM.
func (s signer) sign(template *x509.Certificate) (certificate, key []byte, err error) {
	private, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = s.notBefore, s.notAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, s.certificate, private.Public(), s.key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), key, nil
}

// newKey makes a P-256 key and its PEM in SEC 1 form: the API server reads no PKCS#8
// where it looks for the key of ServiceAccount tokens.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), nil
}
