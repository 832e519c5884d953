package history

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"

	"sallyport.dev/sallyport/pkg/pki"
)

func bigInt(n int64) *big.Int { return big.NewInt(n) }

// twin signs another certificate with the serial number of a leaf, for another key.
func twin(t *testing.T, leaf pki.Certificate) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent := *leaf.X509()
	parent.PublicKey = &key.PublicKey
	der, err := x509.CreateCertificate(rand.Reader, leaf.X509(), &parent, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
