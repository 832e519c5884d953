package probe

import (
	"context"
	"fmt"
	"time"
)

// servedTimeout bounds one dial with its handshake.
const servedTimeout = 3 * time.Second

// ServedLeaf is the leaf certificate, in DER, that a server presents for a name. It
// is not verified: the question is which one is served, not whether it is good.
func ServedLeaf(ctx context.Context, address, serverName string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	c, err := dial(ctx, Target{Address: address, ServerName: serverName}, nil)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", address, err)
	}
	defer c.close()
	if err := c.handshake(); err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	return c.facts.Chain[0], nil // crypto/tls refuses a server that shows none
}
