package pki

import (
	"fmt"
	"time"
)

// nobodyLifetime is that of the CA that nobody is signed by.
const nobodyLifetime = 87600 * time.Hour

// TrustNobody is a bundle that no caller can satisfy: a new root whose key is forgotten. For a gateway that must
// refuse everybody, because without a CA Secret it would go on with the one it has. It has no CRL: there is
// nothing that could be revoked.
func TrustNobody(now time.Time) (Bundle, error) {
	key, err := GenerateKey(ECDSAP256)
	if err != nil {
		return Bundle{}, err
	}
	root, err := NewRoot(RootRequest{CommonName: "Sallyport: nobody is trusted", Key: key, Lifetime: nobodyLifetime}, now)
	if err != nil {
		return Bundle{}, fmt.Errorf("making a bundle of nobody: %w", err)
	}
	return NewBundle([]BundleEntry{{CA: root.Certificate()}}, now)
}
