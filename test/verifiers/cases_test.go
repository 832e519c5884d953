package verifiers

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// question is one that every verifier is asked: may the holder of the chain come in
// (a caller), or be talked to under the host (a server), by whom trusts the CAs?
type question struct {
	name       string
	chain, key []byte
	cas, crls  []byte
	// host is the name asked for; empty where the chain is a caller's.
	host string
	// accept is the right answer.
	accept bool
	// lenient is set where GnuTLS is known to say yes, with the reason: it is then
	// held to that, so that a change of it shows.
	lenient string
}

const (
	host  = "pay.example.com"
	below = "eu.shop.example.com"
)

// world is what the questions of one key algorithm are made of.
type world struct {
	t         *testing.T
	algorithm pki.Algorithm
	now       time.Time
	// old is the first generation, next the second, foreign another authority.
	old, next, foreign pki.Authority
	client, server     pki.Pair
}

func newWorld(t *testing.T, algorithm pki.Algorithm, now time.Time) *world {
	w := &world{t: t, algorithm: algorithm, now: now}
	w.old, w.next, w.foreign = w.root("payments g1"), w.root("payments g2"), w.root("foreign g1")
	w.client, w.server = w.caller(w.old, now), w.serverOf(w.old)
	return w
}

func (w *world) key() pki.Key {
	w.t.Helper()
	key, err := pki.GenerateKey(w.algorithm)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// root is a day old: what it signed yesterday has ended by now.
func (w *world) root(name string) pki.Authority {
	w.t.Helper()
	a, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: w.key(), Lifetime: 30 * 24 * time.Hour}, w.now.Add(-24*time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// caller has a certificate of an hour that was issued at an instant.
func (w *world) caller(a pki.Authority, at time.Time) pki.Pair {
	w.t.Helper()
	r := pki.ClientRequest{CommonName: "billing", Identity: "spiffe://cluster.local/ns/shop/sa/billing", DNSNames: []string{"billing.shop.internal"}, Lifetime: time.Hour}
	pair, err := a.IssueClient(r, w.key(), at)
	if err != nil {
		w.t.Fatal(err)
	}
	return pair
}

func (w *world) serverOf(a pki.Authority) pki.Pair {
	w.t.Helper()
	pair, err := a.IssueServer(pki.ServerRequest{Hosts: []string{host, "*.shop.example.com"}, Key: w.key(), Lifetime: time.Hour}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return pair
}

// crl lists pairs, and fills up with strangers' serial numbers to the length.
func (w *world) crl(a pki.Authority, length int, revoked ...pki.Pair) []byte {
	return w.crlAt(a, w.now, w.now.Add(time.Hour), length, revoked...)
}

func (w *world) crlAt(a pki.Authority, at, next time.Time, length int, revoked ...pki.Pair) []byte {
	w.t.Helper()
	r := pki.CRLRequest{Number: big.NewInt(at.UnixNano()), NextUpdate: next}
	for _, pair := range revoked {
		r.Entries = append(r.Entries, pki.Revoked{Serial: pair.Leaf().Serial(), At: at.Add(-time.Minute), Reason: 1})
	}
	for i := len(revoked); i < length; i++ {
		serial, err := pki.ParseSerial(fmt.Sprintf("%032x", 0x1000+i))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Entries = append(r.Entries, pki.Revoked{Serial: serial, At: at.Add(-time.Minute)})
	}
	crl, err := a.SignCRL(r, at)
	if err != nil {
		w.t.Fatal(err)
	}
	return crl.PEM()
}

func pemOf(as ...pki.Authority) []byte {
	var all [][]byte
	for _, a := range as {
		all = append(all, a.Certificate().PEM())
	}
	return bytes.Join(all, nil)
}

func asks(name string, of pki.Pair, cas, crls []byte, accept bool) question {
	return question{name: name, chain: of.CertificatePEM(), key: of.KeyPEM(), cas: cas, crls: crls, accept: accept}
}

func (q question) under(host string) question { q.host = host; return q }

func (q question) lenientIn(reason string) question { q.lenient = reason; return q }

// questions are all shapes of chain and bundle that the product makes, each beside the
// shapes that differ in one point and have to be refused.
func (w *world) questions() []question {
	own, both := pemOf(w.old), pemOf(w.next, w.old)
	empty, nextEmpty := w.crl(w.old, 0), w.crl(w.next, 0)
	list := func(crls ...[]byte) []byte { return bytes.Join(crls, nil) }
	of2 := w.caller(w.next, w.now)
	all := []question{
		asks("a caller", w.client, own, nil, true),
		asks("a caller, empty CRL", w.client, own, empty, true),
		asks("a caller, CRL of a thousand others", w.client, own, w.crl(w.old, 1000), true),
		asks("a revoked caller", w.client, own, w.crl(w.old, 0, w.client), false),
		asks("a revoked caller among a thousand", w.client, own, w.crl(w.old, 1000, w.client), false),
		asks("a caller of another authority", w.caller(w.foreign, w.now), own, nil, false),
		asks("a caller of another authority, with CRLs", w.caller(w.foreign, w.now), own, empty, false),
		asks("a caller whose certificate has ended", w.caller(w.old, w.now.Add(-2*time.Hour)), own, nil, false),
		asks("a caller whose certificate begins later", w.caller(w.old, w.now.Add(2*time.Hour)), own, nil, false),
		asks("a server as a caller", w.server, own, nil, false),
		asks("a caller of the old generation, both trusted", w.client, both, list(nextEmpty, empty), true),
		asks("a caller of the next generation, both trusted", of2, both, list(nextEmpty, empty), true),
		asks("a caller revoked by the old generation, both trusted", w.client, both, list(nextEmpty, w.crl(w.old, 0, w.client)), false),
		asks("a caller whose serial number the other generation revoked", of2, both, list(nextEmpty, w.crl(w.old, 0, of2)), true),
		asks("a caller of the next generation, the old one trusted", of2, own, empty, false),
		asks("a caller, CRL past its next update", w.client, own, w.crlAt(w.old, w.now.Add(-2*time.Hour), w.now.Add(-time.Hour), 0), false).
			lenientIn("certtool's chain verification does not ask when a CRL ends"),
		asks("a caller, CRL not begun", w.client, own, w.crlAt(w.old, w.now.Add(2*time.Hour), w.now.Add(3*time.Hour), 0), false).
			lenientIn("certtool's chain verification does not ask when a CRL begins"),
		asks("a server", w.server, own, nil, true).under(host),
		asks("a server under its wildcard", w.server, own, nil, true).under(below),
		asks("a server under another name", w.server, own, nil, false).under("evil.example.com"),
		asks("a server two labels below its wildcard", w.server, own, nil, false).under("a." + below),
		asks("a caller as a server", w.client, own, nil, false).under("billing.shop.internal"),
		asks("a server of another authority", w.serverOf(w.foreign), own, nil, false).under(host),
	}
	return append(all, w.intermediate()...)
}

// intermediate are the questions about a provided authority below a corporate root, and
// about a leaf that the next generation signed and the old one vouches for.
func (w *world) intermediate() []question {
	span := testpki.Span{From: w.now.Add(-24 * time.Hour), To: w.now.Add(24 * time.Hour)}
	corporate := testpki.RootWith(w.t, w.signer(w.key()), "corporate root", span)
	issuing := corporate.CAWith(w.t, w.signer(w.key()), "corporate issuing", span)
	provided, err := pki.ParseAuthority(issuing.PEM(), issuing.KeyPEM(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	hour := testpki.Span{From: w.now.Add(-time.Minute), To: w.now.Add(time.Hour)}
	rootCRL, revoking := corporate.CRL(w.t, 1, hour), corporate.CRL(w.t, 2, hour, issuing.X509.SerialNumber)
	client, server, crl := w.caller(provided, w.now), w.serverOf(provided), w.crl(provided, 0)
	cas := slices.Concat(corporate.PEM(), issuing.PEM())
	questions := []question{
		asks("a caller of a provided authority, its root trusted", client, corporate.PEM(), nil, true),
		asks("a caller of a provided authority, only that trusted", client, issuing.PEM(), nil, true),
		asks("a caller of a provided authority, both with CRLs", client, cas, slices.Concat(rootCRL, crl), true),
		asks("a caller revoked by a provided authority", client, cas, slices.Concat(rootCRL, w.crl(provided, 0, client)), false),
		asks("a caller of a provided authority that its root revoked", client, cas, slices.Concat(revoking, crl), false),
		asks("a caller of a provided authority without CRL, its root has one", client, corporate.PEM(), rootCRL, false).
			lenientIn("GnuTLS wants no CRL of every issuer"),
		asks("a server of a provided authority", server, corporate.PEM(), nil, true).under(host),
	}
	return append(questions, w.vouched()...)
}

// cross is the certificate with which the old generation vouches for the next.
func (w *world) cross() pki.Certificate {
	w.t.Helper()
	cross, err := w.old.CrossSign(w.next.Certificate(), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return cross
}

// vouched are the questions about leaves of the next generation that come with what the old one says
// of it: during a rotation, and after the next one was thrown out.
func (w *world) vouched() []question {
	cross := w.cross()
	through, err := w.next.Through(cross)
	if err != nil {
		w.t.Fatal(err)
	}
	server, client := w.serverOf(through), w.caller(through, w.now)
	both, crls := pemOf(w.next, w.old), slices.Concat(w.crl(w.next, 0), w.crl(w.old, 0))
	thrown, err := w.old.SignCRL(pki.CRLRequest{
		Number: big.NewInt(w.now.UnixNano()), NextUpdate: w.now.Add(time.Hour), Entries: []pki.Revoked{{Serial: cross.Serial(), At: w.now.Add(-time.Minute), Reason: 2}},
	}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return []question{
		asks("a server whose issuer the old generation vouches for, that alone known", server, pemOf(w.old), nil, true).under(host),
		asks("a server whose issuer the old generation vouches for, its issuer known", server, pemOf(w.next), nil, true).under(host),
		asks("a server whose issuer the old generation vouches for, both known", server, both, nil, true).under(host),
		asks("a server whose issuer somebody vouches for whom nobody knows", server, pemOf(w.foreign), nil, false).under(host),
		asks("a caller whose issuer the old generation vouches for, both trusted", client, both, crls, true),
		asks("a caller whose issuer the old generation vouches for, the old one withdrawn", client, pemOf(w.next), w.crl(w.next, 0), true),
		asks("a revoked caller whose issuer the old generation vouches for", client, both, slices.Concat(w.crl(w.next, 0, client), w.crl(w.old, 0)), false),
		asks("a caller whose issuer was thrown out", client, pemOf(w.old), thrown.PEM(), false),
	}
}

func (w *world) signer(k pki.Key) crypto.Signer {
	w.t.Helper()
	block, _ := pem.Decode(k.PEM())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return key.(crypto.Signer)
}
