package probe

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Expectation is what a server of mutual TLS has to meet.
type Expectation string

// The expectations.
const (
	// ManagedAccepted is that a certificate of the managed authority is accepted.
	ManagedAccepted Expectation = "ManagedAccepted"
	// AnonymousRefused is that nobody is let in without a certificate.
	AnonymousRefused Expectation = "AnonymousRefused"
	// UnknownAuthorityRefused is that no certificate of another authority is accepted.
	UnknownAuthorityRefused Expectation = "UnknownAuthorityRefused"
	// RevokedRefused is that no certificate is accepted that was revoked.
	RevokedRefused Expectation = "RevokedRefused"
	// ExpiredRefused is that no certificate is accepted that has ended.
	ExpiredRefused Expectation = "ExpiredRefused"
	// NotAllowedRefused is that nobody is let in who is not on the list of callers.
	NotAllowedRefused Expectation = "NotAllowedRefused"
	// NextAccepted is that a certificate of the authority's next generation is accepted.
	NextAccepted Expectation = "NextAccepted"
	// WithdrawnRefused is that no certificate is accepted of a generation that left the trust.
	WithdrawnRefused Expectation = "WithdrawnRefused"
	// ServedLeafCurrent is that the stored certificate is the one that is served.
	ServedLeafCurrent Expectation = "ServedLeafCurrent"
	// ServedChainTrusted is that every caller trusts what is served.
	ServedChainTrusted Expectation = "ServedChainTrusted"
)

// Expectations are all there are.
func Expectations() []Expectation {
	return []Expectation{
		ManagedAccepted, AnonymousRefused, UnknownAuthorityRefused, RevokedRefused,
		ExpiredRefused, NotAllowedRefused, NextAccepted, WithdrawnRefused, ServedLeafCurrent, ServedChainTrusted,
	}
}

// Negative reports whether the expectation is that somebody is refused: not to meet it
// is an open door.
func (e Expectation) Negative() bool {
	return slices.Contains([]Expectation{AnonymousRefused, UnknownAuthorityRefused, RevokedRefused, ExpiredRefused, NotAllowedRefused, WithdrawnRefused}, e)
}

// caller names who calls for an expectation that is met by what becomes of him.
func (e Expectation) caller() string {
	switch e {
	case ManagedAccepted:
		return "the managed certificate"
	case AnonymousRefused:
		return "a caller without a certificate"
	case UnknownAuthorityRefused:
		return "a certificate of an unknown authority"
	case RevokedRefused:
		return "a revoked certificate"
	case ExpiredRefused:
		return "an expired certificate"
	case NotAllowedRefused:
		return "a certificate outside the allowed clients"
	case NextAccepted:
		return "a certificate of the next generation"
	case WithdrawnRefused:
		return "a certificate of a withdrawn generation"
	}
	return "a caller"
}

// Verdict is what is known of an expectation: Met, Failed or Unknown.
type Verdict string

// The verdicts, beside Unknown.
const (
	Met    Verdict = "Met"
	Failed Verdict = "Failed"
)

// Finding is the result of a check.
type Finding struct {
	Verdict Verdict
	// Reason why it was not met; empty if it was.
	Reason Reason
	// Message for people. It names neither the server nor the host.
	Message string
}

// Wanted is what facts are compared with.
type Wanted struct {
	// Leaf is the certificate that ought to be served, in DER.
	Leaf []byte
	// Trusted are the bundles that callers may hold. All of them have to do.
	Trusted []*x509.CertPool
	// Host is the name that callers know the server by.
	Host string
	// Now is when.
	Now time.Time
}

// Check judges facts by an expectation.
func Check(e Expectation, f Facts, w Wanted) Finding {
	switch e {
	case ServedLeafCurrent:
		return checkLeaf(f, w)
	case ServedChainTrusted:
		return checkChain(f, w)
	case AnonymousRefused:
		return checkAnonymous(f)
	}
	return checkCertificate(e, f)
}

// checkAnonymous judges what became of somebody who has no certificate. A server that
// asks for none has let him in all the same.
func checkAnonymous(f Facts) Finding {
	caller := AnonymousRefused.caller()
	switch {
	case f.Outcome == Refused:
		return met("%s was refused: %s", caller, f.Alert)
	case f.Outcome == Accepted && f.Asked:
		return failed(Accepted, "%s was accepted", caller)
	case f.Outcome == Accepted:
		return failed(Accepted, "%s was accepted: the gateway did not ask for one", caller)
	}
	return undecided(f)
}

// checkCertificate judges what became of somebody who has a certificate. A server that
// did not ask for it did not judge it.
func checkCertificate(e Expectation, f Facts) Finding {
	switch {
	case f.Outcome == Refused && e.Negative():
		return met("%s was refused: %s", e.caller(), f.Alert)
	case f.Outcome == Refused:
		return failed(CertificateRefused, "the gateway refused %s: %s", e.caller(), f.Alert)
	case f.Outcome != Accepted:
		return undecided(f)
	case !f.Asked:
		return unknown(NotAsked, "the gateway did not ask for a certificate, so it did not judge %s", e.caller())
	case e.Negative():
		return failed(Accepted, "%s was accepted", e.caller())
	}
	return met("%s was accepted", e.caller())
}

// checkLeaf compares what is served with what is stored.
func checkLeaf(f Facts, w Wanted) Finding {
	switch {
	case len(f.Chain) == 0:
		return undecided(f)
	case len(w.Leaf) == 0:
		return unknown(Pending, "no certificate is stored to compare with")
	case bytes.Equal(f.Chain[0], w.Leaf):
		return met("the gateway serves the certificate that is stored")
	}
	return failed(LeafDiffers, "the gateway serves certificate %s and %s is stored", serialOf(f.Chain[0]), serialOf(w.Leaf))
}

// checkChain verifies what is served as each caller would.
func checkChain(f Facts, w Wanted) Finding {
	switch {
	case len(f.Chain) == 0:
		return undecided(f)
	case len(w.Trusted) == 0:
		return unknown(Pending, "no bundle of callers is known to verify with")
	}
	chain, err := x509.ParseCertificates(slices.Concat(f.Chain...))
	if err != nil {
		return failed(ChainUntrusted, "the served chain cannot be read: %s", printable(err.Error()))
	}
	var distrust []string
	for _, bundle := range w.Trusted {
		if err := verify(chain, bundle, w); err != nil {
			distrust = append(distrust, why(err))
		}
	}
	if len(distrust) > 0 {
		return failed(ChainUntrusted, "the served chain does not verify under %d of %d bundles that callers may hold: %s", len(distrust), len(w.Trusted), distrust[0])
	}
	return met("the served chain verifies under every bundle that callers may hold")
}

// verify verifies a chain as a caller who holds one bundle.
func verify(chain []*x509.Certificate, bundle *x509.CertPool, w Wanted) error {
	if bundle == nil {
		bundle = x509.NewCertPool() // nil would be the system's
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: bundle, Intermediates: intermediates, DNSName: w.Host, CurrentTime: w.Now})
	return err
}

// why says why a chain does not verify. The texts of crypto/x509 name the host, the
// clock, or whatever the chain says.
func why(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "it leads to no CA of the bundle"
	case errors.As(err, &host):
		return "it is not for the host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		return fmt.Sprintf("certificate %s is valid from %s to %s", serial(c), c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	return printable(err.Error())
}

// serialOf is the serial number of a certificate in DER.
func serialOf(der []byte) string {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return "(unreadable)"
	}
	return serial(c)
}

// maxSerial bounds serial numbers to what an issuer may use (RFC 5280 section 4.1.2.2).
const maxSerial = 20

func serial(c *x509.Certificate) string {
	octets := c.SerialNumber.Bytes()
	if len(octets) > maxSerial {
		return hex.EncodeToString(octets[:maxSerial]) + "..."
	}
	return hex.EncodeToString(octets)
}

func met(format string, a ...any) Finding {
	return Finding{Verdict: Met, Message: fmt.Sprintf(format, a...)}
}

func failed(r Reason, format string, a ...any) Finding {
	return Finding{Verdict: Failed, Reason: r, Message: fmt.Sprintf(format, a...)}
}

func unknown(r Reason, format string, a ...any) Finding {
	return Finding{Verdict: Unknown, Reason: r, Message: fmt.Sprintf(format, a...)}
}

// undecided is the finding of a call that showed nothing to judge.
func undecided(f Facts) Finding {
	var message string
	switch f.Reason {
	case "":
		return unknown(Pending, "it was not tried yet")
	case Unreachable:
		message = "the gateway could not be reached"
	case Reset:
		message = "the gateway closed the connection and sent no alert"
	case Silent:
		message = "the gateway did not answer in time"
	case OtherAlert:
		message = "the gateway sent the alert " + f.Alert + ", which is no answer to a certificate"
	case Garbage:
		message = "the gateway answered with neither TLS nor HTTP"
	default:
		message = "the gateway showed nothing to judge"
	}
	if f.Detail != "" {
		message += " (" + f.Detail + ")"
	}
	return unknown(f.Reason, "%s", message)
}
