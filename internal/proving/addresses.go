package proving

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// Addresses says which addresses are never dialled. Those that are dialled come from
// the Pods of the ingresses alone; whoever can write the status of a Pod should not
// reach with the agent's help what he cannot reach himself.
type Addresses struct {
	// Local allows loopback and link-local addresses, for stacks on one machine.
	Local bool
	// APIServer are the addresses of the API server.
	APIServer []netip.Addr
}

// APIServerAddresses are those of the host in a URL, or of host:port; none if it is a
// name.
func APIServerAddresses(host string) []netip.Addr {
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		host = u.Host
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return []netip.Addr{address.Unmap()}
}

// Check says why an address is not dialled, nil if it is.
func (a Addresses) Check(ip string) error {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return fmt.Errorf("its address cannot be read: %w", err)
	}
	address = address.Unmap()
	switch {
	case address.IsUnspecified() || address.IsMulticast():
		return fmt.Errorf("its address %s is no host's", address)
	case !a.Local && (address.IsLoopback() || address.IsLinkLocalUnicast()):
		return fmt.Errorf("its address %s is local to the agent's own machine", address)
	}
	for _, apiServer := range a.APIServer {
		if address == apiServer && !a.Local {
			return fmt.Errorf("its address %s is the API server's", address)
		}
	}
	return nil
}
