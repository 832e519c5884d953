package probe

import "strings"

// Target is a server to call.
type Target struct {
	// Address is <IP>:<port>.
	Address string
	// ServerName is what is asked for in the handshake (SNI).
	ServerName string
	// ProxyProtocol says that the server expects the PROXY protocol before TLS.
	ProxyProtocol bool
	// Opaque says that what arrives is led on to somebody who may not speak HTTP:
	// nothing is sent after the handshake. Then a server of TLS 1.3 that issues no
	// session tickets does not tell whom it accepted.
	Opaque bool
	// MaxVersion of TLS; 0 is the newest.
	MaxVersion uint16
}

// Outcome is what became of the caller: Accepted, Refused or Unknown.
type Outcome string

// Words of more than one type: an Outcome and a Reason can be Accepted, an Outcome and a
// Verdict Unknown.
const (
	Accepted = "Accepted"
	Unknown  = "Unknown"
)

// Refused says that the server sent an alert about the caller's certificate.
const Refused Outcome = "Refused"

// Reason is how an outcome was recognised, or why a finding is not what was expected.
type Reason string

// The reasons of facts.
const (
	// Answered says that the server answered with HTTP.
	Answered Reason = "Answered"
	// Completed says that the handshake was completed by an opaque server too.
	Completed Reason = "Completed"
	// CertificateRefused says that the server sent an alert about the certificate.
	CertificateRefused Reason = "CertificateRefused"
	// Unreachable says that there was no connection.
	Unreachable Reason = "Unreachable"
	// Reset says that the server closed the connection and sent no alert.
	Reset Reason = "Reset"
	// Silent says that the server took the connection and did not answer in time.
	Silent Reason = "Silent"
	// OtherAlert says that the server sent an alert that is no answer to a certificate.
	OtherAlert Reason = "OtherAlert"
	// Garbage says that the server answered with neither TLS nor HTTP.
	Garbage Reason = "Garbage"
)

// The reasons of findings, beside those of facts and Accepted: somebody was let in who
// was to be refused.
const (
	// NotAsked says that the server wanted no certificate, so that none was judged.
	NotAsked Reason = "NotAsked"
	// LeafDiffers says that another certificate is served than the stored one.
	LeafDiffers Reason = "LeafDiffers"
	// ChainUntrusted says that callers do not trust what is served.
	ChainUntrusted Reason = "ChainUntrusted"
	// Pending says that it was not tried yet, or that there is nothing to compare with.
	Pending Reason = "Pending"
	// NoIdentity says that there is no certificate to try it with.
	NoIdentity Reason = "NoIdentity"
	// AddressRefused says that the address is one that is not called.
	AddressRefused Reason = "AddressRefused"
)

// Facts are what one call showed. They say nothing of the server if the caller's context
// was cancelled meanwhile.
type Facts struct {
	// Outcome and the reason for it.
	Outcome Outcome
	Reason  Reason
	// Alert is the name of the alert that the server sent (RFC 8446 section 6), or what
	// crypto/tls calls it; empty if it sent none.
	Alert string
	// Asked is whether the server asked for a certificate. By then it has proved that it
	// holds the key of its own.
	Asked bool
	// Version of TLS; 0 if the server showed no certificate.
	Version uint16
	// Chain is what the server showed, in DER, its leaf first. It is not verified.
	Chain [][]byte
	// Detail says more, for people: at most 200 bytes of printable ASCII.
	Detail string
}

// maxDetail bounds Facts.Detail, and what a message quotes of a server.
const maxDetail = 200

// printable makes text fit for a condition and a terminal, whoever wrote it.
func printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(clean) > maxDetail {
		const ellipsis = "..."
		clean = clean[:maxDetail-len(ellipsis)] + ellipsis
	}
	return clean
}
