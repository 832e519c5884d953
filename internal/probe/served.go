package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// servedTimeout bounds one dial with its handshake.
const servedTimeout = 3 * time.Second

// ServedLeaf is the leaf certificate, in DER, that a server presents for a name. It
// is not verified: the question is which one is served, not whether it is good.
func ServedLeaf(ctx context.Context, address, serverName string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", address, err)
	}
	defer func() { _ = connection.Close() }()
	session := tls.Client(connection, &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // see above
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	presented := session.ConnectionState().PeerCertificates
	if len(presented) == 0 {
		return nil, errors.New("the server presented no certificate")
	}
	return presented[0].Raw, nil
}
