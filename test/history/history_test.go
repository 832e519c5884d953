package history

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

var settings = rotate.AuthoritySettings{
	Name: "bank/default", RootLifetime: 2 * time.Hour, RootAlgorithm: pki.ECDSAP256, LongestLeaf: 20 * time.Minute,
	Revocation: true, CRLValidity: 2 * time.Hour, CRLRefresh: time.Hour, ProbeIdentity: "spiffe://example.com/probe",
}

var (
	serverKey = Key{Secret, "istio-system", "bank.front.mtls"}
	caKey     = Key{Secret, "istio-system", "bank.front.mtls-cacert"}
	trustKey  = Key{ConfigMap, "bank", "default-mtls-trust"}
	callerKey = Key{Secret, "bank", "caller"}
	csrKey    = Key{ClientCertificate, "bank", "own-key"}
	ledgerKey = Key{Secret, "sallyport-system", "ledger-1"}
)

// maker writes a history down.
type maker struct {
	t         *testing.T
	ledger    rotate.Ledger
	revisions []Revision
}

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) store(when time.Time, key Key, data map[string][]byte) {
	r := Revision{Number: int64(len(m.revisions) + 1), At: when, Key: key, Data: data}
	if key == ledgerKey {
		r.Labels = map[string]string{"mtls.sallyport.dev/ledger": "keys"}
	}
	m.revisions = append(m.revisions, r)
}

// step takes steps in the record, and stores it.
func (m *maker) step(when time.Time, steps ...rotate.Step) {
	var err error
	m.ledger, err = rotate.MaterializeAuthority(m.ledger, rotate.Plan{Steps: steps}, settings, when)
	m.must(err)
	data, err := m.ledger.Encode()
	m.must(err)
	m.store(when, ledgerKey, data)
}

func (m *maker) bundle(when time.Time) pki.Bundle {
	bundle, err := m.ledger.Bundle(true, when)
	m.must(err)
	return bundle
}

// trust stores what gateways and callers trust.
func (m *maker) trust(when time.Time) {
	bundle := m.bundle(when)
	m.store(when, caKey, map[string][]byte{"ca.crt": bundle.CertificatesPEM(), "ca.crl": bundle.CRLsPEM()})
	m.store(when, trustKey, map[string][]byte{"ca.crt": bundle.CertificatesPEM()})
}

// issue stores certificates of a server and of two callers.
func (m *maker) issue(when time.Time) {
	signer, _, err := m.ledger.Signer(when)
	m.must(err)
	leaf := rotate.LeafSettings{Lifetime: 20 * time.Minute, RenewBefore: 33, Algorithm: pki.ECDSAP256, Object: "x"}
	server, err := rotate.MaterializeServer(signer, m.bundle(when), []string{"front.example.com"}, leaf, when)
	m.must(err)
	names := rotate.ClientNames{CommonName: "caller", Identity: "spiffe://example.com/caller"}
	caller, err := rotate.MaterializeClient(signer, m.bundle(when), names, leaf, when)
	m.must(err)
	own, err := rotate.MaterializeClient(signer, m.bundle(when), names, leaf, when)
	m.must(err)
	m.store(when, serverKey, map[string][]byte{"tls.crt": server.CertificatePEM(), "tls.key": server.KeyPEM()})
	m.store(when, callerKey, map[string][]byte{"tls.crt": caller.CertificatePEM(), "tls.key": caller.KeyPEM(), "ca.crt": m.bundle(when).CertificatesPEM()})
	m.store(when, csrKey, map[string][]byte{CertificateKey: own.CertificatePEM()})
}

// end is the end of a good history.
var end = at(73)

// good is one rotation as it has to be.
func good(t *testing.T) *maker {
	t.Helper()
	m := &maker{t: t}
	m.store(at(0), Key{Gateway, "bank", "front"}, map[string][]byte{SpecKey: []byte(`{"servers": [{"tls": {"mode": "MUTUAL", "credentialName": "bank.front.mtls"}}]}`)})
	m.step(at(0), rotate.Step{Action: rotate.CreateGeneration, Generation: "g1"}, rotate.Step{Action: rotate.SignCRL, Generation: "g1"})
	m.trust(at(0))
	m.issue(at(0))
	m.issue(at(14))
	m.step(at(20), rotate.Step{Action: rotate.CreateGeneration, Generation: "g2"}, rotate.Step{Action: rotate.SignCRL, Generation: "g2"})
	m.step(at(21), rotate.Step{Action: rotate.Trust, Generation: "g2"})
	m.trust(at(21))
	m.step(at(25), rotate.Step{Action: rotate.Activate, Generation: "g2"})
	m.issue(at(26))
	m.issue(at(40))
	m.step(at(50), rotate.Step{Action: rotate.Withdraw, Generation: "g1"}, rotate.Step{Action: rotate.SignCRL, Generation: "g2"})
	m.trust(at(50))
	m.step(at(51), rotate.Step{Action: rotate.Remove, Generation: "g1"})
	m.issue(at(54))
	return m
}

func TestAGoodHistoryHolds(t *testing.T) {
	m := good(t)
	for _, v := range Check(m.revisions, end) {
		t.Error(v)
	}
	t.Run("in any order, and told twice", func(t *testing.T) {
		shuffled := append(slices.Clone(m.revisions), m.revisions...)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, v := range Check(shuffled, end) {
			t.Error(v)
		}
	})
	if found := Check(nil, end); len(found) != 0 {
		t.Errorf("in no history there is %v", found)
	}
}

// nth is where the n-th revision of an object is, from 0.
func (m *maker) nth(key Key, n int) *Revision {
	for i := range m.revisions {
		if m.revisions[i].Key == key {
			if n == 0 {
				m.revisions[i].Data = maps.Clone(m.revisions[i].Data)
				return &m.revisions[i]
			}
			n--
		}
	}
	m.t.Fatalf("there is no revision %d of %s", n, key)
	return nil
}

func TestEachInvariantCatchesABrokenHistory(t *testing.T) {
	leafAlone := func(chain []byte) []byte { return chain[:bytes.Index(chain, []byte("-----END CERTIFICATE-----\n"))+26] }
	for name, test := range map[string]struct {
		invariant string
		spoil     func(*maker)
		message   string
	}{
		"a server without what vouches for its issuer": {"I1", func(m *maker) {
			r := m.nth(serverKey, 2)
			r.Data["tls.crt"] = leafAlone(r.Data["tls.crt"])
		}, "a caller that took the trust of revision"},
		"a leaf of a CA that no gateway trusts yet": {"I2", func(m *maker) {
			r := m.nth(caKey, 1)
			r.Data = m.nth(caKey, 0).Data
		}, "is not trusted at revision"},
		"a CA that leaves while a caller holds its certificate": {"I2", func(m *maker) {
			ledger, err := rotate.DecodeLedger(m.nth(ledgerKey, 3).Data)
			m.must(err)
			g := ledger.Generations()[1]
			m.revisions = append(m.revisions, Revision{
				Number: m.nth(serverKey, 2).Number, At: at(33), Key: caKey,
				Data: map[string][]byte{"ca.crt": g.Authority.Certificate().PEM(), "ca.crl": g.CRL.PEM()},
			})
		}, "is good until"},
		"a CA without its CRL": {"I3", func(m *maker) {
			r := m.nth(caKey, 1)
			r.Data["ca.crl"] = m.nth(caKey, 0).Data["ca.crl"]
		}, "found 1 CRLs for 2 CAs"},
		"a CRL that ends before it is replaced": {"I3", func(m *maker) { m.revisions[len(m.revisions)-1].At = at(55) }, "a CRL ended at"},
		"a key of another certificate": {"I4", func(m *maker) {
			m.nth(serverKey, 1).Data["tls.key"] = m.nth(serverKey, 0).Data["tls.key"]
		}, "does not belong to certificate"},
		"a record that goes back": {"I5", func(m *maker) { m.nth(ledgerKey, 4).Data = m.nth(ledgerKey, 0).Data }, "and there was a g2"},
		"a generation that comes back": {"I5", func(m *maker) {
			m.store(at(60), ledgerKey, m.nth(ledgerKey, 3).Data)
		}, "generation g1 was gone, and is back"},
		"two certificates of one number": {"I6", func(m *maker) {
			m.nth(callerKey, 1).Data = map[string][]byte{"tls.crt": m.twin(m.nth(callerKey, 0).Data["tls.crt"])}
		}, "is another certificate's too"},
		"a Gateway that asks for nothing": {"I7", func(m *maker) {
			m.store(at(30), Key{Gateway, "bank", "front"}, map[string][]byte{SpecKey: []byte(`{"servers": [{"tls": {"mode": "SIMPLE", "credentialName": "x"}}]}`)})
		}, "server 0 is not mutual"},
		"a key in a ConfigMap": {"I8", func(m *maker) {
			m.nth(trustKey, 0).Data["note"] = m.nth(serverKey, 0).Data["tls.key"]
		}, "note holds a private key"},
		"a CRL number that falls":                  {"I9", func(m *maker) { m.nth(ledgerKey, 4).Data["g2.crl"] = m.crl(-1) }, "the CRL of g2 has number"},
		"a revoked certificate that is good again": {"I9", func(m *maker) { m.nth(ledgerKey, 4).Data["g2.crl"] = m.crl(1) }, "lists"},
	} {
		t.Run(name, func(t *testing.T) {
			m := good(t)
			until := end
			if strings.HasPrefix(name, "a CRL that ends") {
				until = at(200)
			}
			test.spoil(m)
			found := Check(m.revisions, until)
			if !slices.ContainsFunc(found, func(v Violation) bool {
				return v.Invariant == test.invariant && strings.Contains(v.Message, test.message)
			}) {
				t.Errorf("found %v, expected %s with %q", found, test.invariant, test.message)
			}
		})
	}
}

// twin is another certificate with the serial number of one.
func (m *maker) twin(of []byte) []byte {
	chain, err := pki.ParseChain(of)
	m.must(err)
	return twin(m.t, chain.Leaf())
}

// crl is a CRL of the second generation that lists nothing, with a number beside that of the first.
func (m *maker) crl(beside int64) []byte {
	ledger, err := rotate.DecodeLedger(m.nth(ledgerKey, 3).Data)
	m.must(err)
	g := ledger.Generations()[1]
	number := g.CRL.Number()
	crl, err := g.Authority.SignCRL(pki.CRLRequest{Number: number.Add(number, bigInt(beside)), NextUpdate: at(150)}, at(50))
	m.must(err)
	return crl.PEM()
}

func TestGarbageIsAViolationAndNoPanic(t *testing.T) {
	for _, garbage := range [][]byte{nil, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), bytes.Repeat([]byte("x"), 1<<20)} {
		var revisions []Revision
		for i, key := range []Key{serverKey, caKey, trustKey, callerKey, csrKey, ledgerKey, {Gateway, "bank", "front"}} {
			r := Revision{Number: int64(i), At: start, Key: key, Data: map[string][]byte{"tls.crt": garbage, "tls.key": garbage, "ca.crt": garbage, CertificateKey: garbage, SpecKey: garbage, "generations.json": garbage}}
			if key == ledgerKey {
				r.Labels = map[string]string{"mtls.sallyport.dev/ledger": "keys"}
			}
			revisions = append(revisions, r)
		}
		if found := Check(revisions, end); len(found) == 0 {
			t.Error("nothing is found in garbage of " + fmt.Sprint(len(garbage)) + " bytes")
		}
	}
}
