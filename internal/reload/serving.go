package reload

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
)

// The file names of a mounted Secret of type kubernetes.io/tls.
const (
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
)

// ErrNoPair is the answer to a handshake as long as no good pair was ever read.
var ErrNoPair = errors.New("no serving certificate yet: the pair is not mounted, or was never readable")

// ServingPair is a server's own certificate and key, as they are mounted.
type ServingPair struct {
	*Directory[tls.Certificate]
}

// NewServingPair watches a directory for tls.crt and tls.key. A pair whose halves
// do not match is refused like any broken file.
func NewServingPair(directory string, c clock.WithTicker, observe func(error)) ServingPair {
	return ServingPair{New(Config[tls.Certificate]{
		Directory: directory,
		Files:     []string{certificateFile, keyFile},
		Parse:     parsePair,
		Clock:     c,
		Observe:   observe,
	})}
}

func parsePair(files map[string][]byte) (tls.Certificate, error) {
	// X509KeyPair compares the public halves and parses the leaf.
	pair, err := tls.X509KeyPair(files[certificateFile], files[keyFile])
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pairing %s with %s: %w", certificateFile, keyFile, err)
	}
	return pair, nil
}

// GetCertificate serves the last good pair to a handshake.
func (p ServingPair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	pair := p.Current()
	if pair == nil {
		return nil, ErrNoPair
	}
	return pair, nil
}

// NotAfter is when the served certificate ends; false while none is served.
func (p ServingPair) NotAfter() (time.Time, bool) {
	pair := p.Current()
	if pair == nil || pair.Leaf == nil {
		return time.Time{}, false
	}
	return pair.Leaf.NotAfter, true
}

// ConfigureTLS makes a server's configuration serve this pair. Session tickets are
// off: a resumed session would go on with the certificate of the day before.
func (p ServingPair) ConfigureTLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.NextProtos = []string{"h2", "http/1.1"}
	config.SessionTicketsDisabled = true
	config.GetCertificate = p.GetCertificate
}
