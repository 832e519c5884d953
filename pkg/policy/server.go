package policy

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/pkg/intent"
)

// strength is how much a server asks of a caller before it passes a request on, from the least to the most.
type strength int

const (
	// sendsOn only redirects to HTTPS.
	sendsOn strength = iota
	// passesOn leads TLS on as it is: what the workload asks of callers is not known here.
	passesOn
	// plain has no TLS.
	plain
	// open has TLS and accepts every caller.
	open
	// optional verifies a certificate where there is one.
	optional
	// mutual refuses callers without a certificate.
	mutual
)

// String is how a message calls it.
func (s strength) String() string {
	return [...]string{"only redirects", "leads TLS on unread", "has no TLS", "asks for no certificate", "lets callers without a certificate in", "demands certificates"}[s]
}

// isWayIn reports whether requests get in without a verified certificate.
func (s strength) isWayIn() bool { return s >= plain && s < mutual }

// server is one of a Gateway, read.
type server struct {
	raw      map[string]any
	strength strength
	// bytes is whether it leads bytes on by spec.tcp, and not requests by spec.http.
	bytes  bool
	port   uint32
	bind   string
	places []Place
	// hosts of it that can be compared.
	hosts []scopedHost
}

// readServer reads a server. Istio reads the protocol in any case and ignores tls on one that has no TLS
// (istio/istio:pkg/config/gateway/gateway.go, pkg/config/protocol/instance.go).
func readServer(raw map[string]any, namespace string, index int, forwardedProto bool) server {
	s := server{raw: raw, port: intent.PortNumber(object(raw["port"])["number"]), bind: text(raw["bind"])}
	switch name := protocol(raw); {
	case encrypted(raw):
		s.strength, s.bytes = strengthOfTLS(object(raw["tls"])), name == "tls"
	case redirects(raw) && !forwardedProto:
		s.strength = sendsOn
	default:
		s.strength = plain
		s.bytes = !slices.Contains([]string{"http", "http2", "http_proxy", "grpc", "grpc-web"}, name)
	}
	for i, h := range list(raw["hosts"]) {
		if host := scoped(text(h), namespace); host.name != "" && len(host.name) <= maxHost {
			host.server, host.place = index, i
			s.hosts = append(s.hosts, host)
		}
	}
	return s
}

func strengthOfTLS(tls map[string]any) strength {
	skips, _ := tls["insecureSkipVerify"].(bool)
	switch mode := text(tls["mode"]); {
	case strings.HasSuffix(mode, "PASSTHROUGH"):
		return passesOn
	case skips: // the certificate is looked at, and the caller let in whatever it is (istio/api:networking/v1alpha3/gateway.proto)
		return open
	case mode == "MUTUAL", mode == "ISTIO_MUTUAL":
		return mutual
	case mode == "OPTIONAL_MUTUAL":
		return optional
	}
	return open
}
