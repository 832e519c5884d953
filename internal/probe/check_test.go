package probe_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/testpki"
)

// The facts that calls can show.
var (
	accepted    = probe.Facts{Outcome: probe.Accepted, Reason: probe.Answered, Asked: true}
	completed   = probe.Facts{Outcome: probe.Accepted, Reason: probe.Completed, Asked: true}
	notAsked    = probe.Facts{Outcome: probe.Accepted, Reason: probe.Answered}
	refused     = probe.Facts{Outcome: probe.Refused, Reason: probe.CertificateRefused, Alert: "unknown_ca", Asked: true, Detail: "after the handshake"}
	unreachable = probe.Facts{Outcome: probe.Unknown, Reason: probe.Unreachable, Detail: "connect: connection refused"}
	closed      = probe.Facts{Outcome: probe.Unknown, Reason: probe.Reset, Detail: "in the handshake"}
	stalled     = probe.Facts{Outcome: probe.Unknown, Reason: probe.Silent, Detail: "after the handshake", Asked: true}
	otherAlert  = probe.Facts{Outcome: probe.Unknown, Reason: probe.OtherAlert, Alert: "internal_error", Detail: "in the handshake"}
	garbage     = probe.Facts{Outcome: probe.Unknown, Reason: probe.Garbage, Detail: `after the handshake: the answer begins with "SSH-2"`}
	nothing     = probe.Facts{}
)

func isMet(message string) probe.Finding { return probe.Finding{Verdict: probe.Met, Message: message} }

func isFailed(reason probe.Reason, message string) probe.Finding {
	return probe.Finding{Verdict: probe.Failed, Reason: reason, Message: message}
}

func isUnknown(reason probe.Reason, message string) probe.Finding {
	return probe.Finding{Verdict: probe.Unknown, Reason: reason, Message: message}
}

func TestCheckOfCallers(t *testing.T) {
	type row struct {
		name  string
		facts probe.Facts
		want  probe.Finding
	}
	// What tells nothing tells nothing about any expectation.
	undecided := []row{
		{"unreachable", unreachable, isUnknown(probe.Unreachable, "the gateway could not be reached (connect: connection refused)")},
		{"closed", closed, isUnknown(probe.Reset, "the gateway closed the connection and sent no alert (in the handshake)")},
		{"stalled", stalled, isUnknown(probe.Silent, "the gateway did not answer in time (after the handshake)")},
		{"other alert", otherAlert, isUnknown(probe.OtherAlert, "the gateway sent the alert internal_error, which is no answer to a certificate (in the handshake)")},
		{"garbage", garbage, isUnknown(probe.Garbage, `the gateway answered with neither TLS nor HTTP (after the handshake: the answer begins with "SSH-2")`)},
		{"nothing", nothing, isUnknown(probe.Pending, "it was not tried yet")},
	}
	negative := func(caller string) []row {
		return []row{
			{"accepted", accepted, isFailed(probe.Accepted, caller+" was accepted")},
			{"completed", completed, isFailed(probe.Accepted, caller+" was accepted")},
			{"not asked", notAsked, isUnknown(probe.NotAsked, "the gateway did not ask for a certificate, so it did not judge "+caller)},
			{"refused", refused, isMet(caller + " was refused: unknown_ca")},
		}
	}
	for e, rows := range map[probe.Expectation][]row{
		probe.ManagedAccepted: {
			{"accepted", accepted, isMet("the managed certificate was accepted")},
			{"completed", completed, isMet("the managed certificate was accepted")},
			{"not asked", notAsked, isUnknown(probe.NotAsked, "the gateway did not ask for a certificate, so it did not judge the managed certificate")},
			{"refused", refused, isFailed(probe.CertificateRefused, "the gateway refused the managed certificate: unknown_ca")},
		},
		probe.AnonymousRefused: {
			{"accepted", accepted, isFailed(probe.Accepted, "a caller without a certificate was accepted")},
			{"completed", completed, isFailed(probe.Accepted, "a caller without a certificate was accepted")},
			{"not asked", notAsked, isFailed(probe.Accepted, "a caller without a certificate was accepted: the gateway did not ask for one")},
			{"refused", refused, isMet("a caller without a certificate was refused: unknown_ca")},
		},
		probe.UnknownAuthorityRefused: negative("a certificate of an unknown authority"),
		probe.RevokedRefused:          negative("a revoked certificate"),
		probe.ExpiredRefused:          negative("an expired certificate"),
		probe.NotAllowedRefused:       negative("a certificate outside the allowed clients"),
	} {
		for _, row := range slices.Concat(rows, undecided) {
			t.Run(string(e)+": "+row.name, func(t *testing.T) {
				if got := probe.Check(e, row.facts, probe.Wanted{}); got != row.want {
					t.Errorf("finding\n%+v, expected\n%+v", got, row.want)
				}
			})
		}
	}
	for _, e := range []probe.Expectation{probe.ServedLeafCurrent, probe.ServedChainTrusted} {
		for _, row := range undecided {
			t.Run(string(e)+": "+row.name, func(t *testing.T) {
				if got := probe.Check(e, row.facts, probe.Wanted{Leaf: []byte{1}, Trusted: []*x509.CertPool{nil}}); got != row.want {
					t.Errorf("finding\n%+v, expected\n%+v", got, row.want)
				}
			})
		}
	}
}

func numbered(serial int64) testpki.Option {
	return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(serial) }
}

func TestCheckOfTheServedLeaf(t *testing.T) {
	now := time.Now()
	ca := testpki.Root(t, "own", testpki.Around(now))
	served, stored := ca.Leaf(t, host, testpki.Around(now), numbered(0x0a01)).X509.Raw, ca.Leaf(t, host, testpki.Around(now), numbered(0xff)).X509.Raw
	long := ca.Leaf(t, host, testpki.Around(now), func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 8*1000-1) })
	for name, test := range map[string]struct {
		chain [][]byte
		leaf  []byte
		want  probe.Finding
	}{
		"the stored one":    {[][]byte{stored, ca.X509.Raw}, stored, isMet("the gateway serves the certificate that is stored")},
		"another one":       {[][]byte{served}, stored, isFailed(probe.LeafDiffers, "the gateway serves certificate 0a01 and ff is stored")},
		"none is stored":    {[][]byte{served}, nil, isUnknown(probe.Pending, "no certificate is stored to compare with")},
		"an unreadable one": {[][]byte{{1}}, stored, isFailed(probe.LeafDiffers, "the gateway serves certificate (unreadable) and ff is stored")},
		"one with a serial number that no issuer may use": {
			[][]byte{long.X509.Raw}, stored,
			isFailed(probe.LeafDiffers, "the gateway serves certificate 80"+strings.Repeat("0", 38)+"... and ff is stored"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Whatever became of the caller, the server has shown its certificate.
			for _, facts := range []probe.Facts{accepted, notAsked, refused, closed, stalled} {
				facts.Chain = test.chain
				if got := probe.Check(probe.ServedLeafCurrent, facts, probe.Wanted{Leaf: test.leaf}); got != test.want {
					t.Errorf("finding\n%+v, expected\n%+v", got, test.want)
				}
			}
		})
	}
}

func TestCheckOfTheServedChain(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	around := testpki.Around(now)
	current, next, foreign := testpki.Root(t, "current", around), testpki.Root(t, "next", around), testpki.Root(t, "foreign", around)
	crossed := current.CAWith(t, next.Key, "next", around)
	leaf := next.Leaf(t, host, around)
	ended := next.Leaf(t, host, testpki.Span{From: around.From, To: now.Add(-time.Minute)}, numbered(0x0a01))
	early := next.Leaf(t, host, testpki.Span{From: now.Add(time.Minute), To: around.To}, numbered(0x0a02))
	clientOnly := next.Leaf(t, host, around, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	wide := next.Leaf(t, host, around, func(c *x509.Certificate) {
		for i := range 1000 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example.com", i))
		}
	})
	ders := func(chain ...testpki.Issued) (raw [][]byte) {
		for _, c := range chain {
			raw = append(raw, c.X509.Raw)
		}
		return raw
	}
	both := []*x509.CertPool{pool(current), pool(next)}
	// What the machine trusts does not matter.
	system := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(system, slices.Concat(current.PEM(), next.PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", system)
	untrusted := func(of string, why string) probe.Finding {
		return isFailed(probe.ChainUntrusted, "the served chain does not verify under "+of+" bundles that callers may hold: "+why)
	}
	trusted := isMet("the served chain verifies under every bundle that callers may hold")
	for name, test := range map[string]struct {
		chain   [][]byte
		bundles []*x509.CertPool
		host    string
		want    probe.Finding
	}{
		"the CA of the leaf is trusted":             {ders(leaf), both[1:], host, trusted},
		"the cross-signed CA serves those who wait": {ders(leaf, crossed), both, host, trusted},
		"one bundle has both CAs":                   {ders(leaf), []*x509.CertPool{pool(current, next)}, host, trusted},
		"the cross-signed CA is missing":            {ders(leaf), both, host, untrusted("1 of 2", "it leads to no CA of the bundle")},
		"nobody trusts it":                          {ders(foreign.Leaf(t, host, around)), both, host, untrusted("2 of 2", "it leads to no CA of the bundle")},
		"it is for another host":                    {ders(leaf, crossed), both, "other.example.com", untrusted("2 of 2", "it is not for the host")},
		"it is for a thousand other hosts":          {ders(wide), both[1:], "other.example.com", untrusted("1 of 1", "it is not for the host")},
		"it has ended": {
			ders(ended, crossed), both, host, untrusted("2 of 2", "certificate 0a01 is valid from 2026-03-01T11:00:00Z to 2026-03-01T11:59:00Z"),
		},
		"it is not valid yet": {
			ders(early), both[1:], host, untrusted("1 of 1", "certificate 0a02 is valid from 2026-03-01T12:01:00Z to 2026-03-02T12:00:00Z"),
		},
		"it is for callers": {
			ders(clientOnly), both[1:], host, untrusted("1 of 1", "x509: certificate specifies an incompatible key usage"),
		},
		"no bundle is known":    {ders(leaf), nil, host, isUnknown(probe.Pending, "no bundle of callers is known to verify with")},
		"a bundle is missing":   {ders(leaf), []*x509.CertPool{nil, both[1]}, host, untrusted("1 of 2", "it leads to no CA of the bundle")},
		"it cannot be read":     {[][]byte{[]byte("junk")}, both, host, isFailed(probe.ChainUntrusted, "the served chain cannot be read: x509: malformed certificate")},
		"one cannot be read":    {append(ders(leaf), []byte("junk")), both, host, isFailed(probe.ChainUntrusted, "the served chain cannot be read: x509: malformed certificate")},
		"nothing is in the way": {ders(leaf, foreign, crossed), both, host, trusted},
	} {
		t.Run(name, func(t *testing.T) {
			for _, facts := range []probe.Facts{accepted, notAsked, refused, closed, stalled} {
				facts.Chain = test.chain
				wanted := probe.Wanted{Trusted: test.bundles, Host: test.host, Now: now}
				if got := probe.Check(probe.ServedChainTrusted, facts, wanted); got != test.want {
					t.Errorf("finding\n%+v, expected\n%+v", got, test.want)
				}
			}
		})
	}
}

func TestExpectationsAreOpenDoorsOrNot(t *testing.T) {
	var negative []probe.Expectation
	seen := map[probe.Expectation]bool{}
	for _, e := range probe.Expectations() {
		if seen[e] {
			t.Errorf("%s is there twice", e)
		}
		seen[e] = true
		if e.Negative() {
			negative = append(negative, e)
		}
	}
	want := []probe.Expectation{probe.AnonymousRefused, probe.UnknownAuthorityRefused, probe.RevokedRefused, probe.ExpiredRefused, probe.NotAllowedRefused, probe.WithdrawnRefused}
	if !slices.Equal(negative, want) || len(seen) != 10 {
		t.Errorf("of %d expectations the negative ones are %q, expected %q", len(seen), negative, want)
	}
	for _, e := range negative {
		if probe.Check(e, accepted, probe.Wanted{}).Verdict != probe.Failed {
			t.Errorf("%s does not fail where somebody is let in", e)
		}
	}
}

func TestCheckKeepsMessagesShort(t *testing.T) {
	long := strings.Repeat("\xff", 1<<18)
	junk := bytes.Repeat([]byte{0x30}, 1<<18)
	for _, e := range probe.Expectations() {
		for _, facts := range []probe.Facts{{Chain: [][]byte{junk}}, {Outcome: probe.Unknown, Reason: probe.Garbage, Detail: long[:200]}} {
			wanted := probe.Wanted{Leaf: junk, Trusted: []*x509.CertPool{nil}, Host: long}
			if got := probe.Check(e, facts, wanted); len(got.Message) > 350 {
				t.Errorf("%s: a message of %d bytes", e, len(got.Message))
			}
		}
	}
}
