package metrics

// metric is a gauge as it is described. Its series are made at the scrape.
type metric struct {
	name, help string
	labels     []string
	// header begins the metric in a text; opens are what stands before each label's value.
	header string
	opens  []string
}

func newMetric(name, help string, labels ...string) *metric {
	m := &metric{name: name, help: help, labels: labels}
	m.header = "# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n"
	for i, label := range labels {
		open := `",` + label + `="`
		if i == 0 {
			open = name + "{" + label + `="`
		}
		m.opens = append(m.opens, open)
	}
	return m
}

// The kinds of certificates and of objects that are told of, beside those of the API.
const (
	kindEndpoint  = "MutualTLSEndpoint"
	kindClient    = "ClientCertificate"
	kindAuthority = "CertificateAuthority"
	kindPolicy    = "MutualTLSPolicy"
)

// Issuable is a kind of what the agent signs.
type Issuable string

// All that the agent signs.
const (
	// Server is the certificate of a gateway.
	Server Issuable = "Server"
	// Client is that of a caller.
	Client Issuable = "Client"
	// CA is the root of a generation of an authority.
	CA Issuable = "CA"
	// CRL is the revocation list of a generation.
	CRL Issuable = "CRL"
)
