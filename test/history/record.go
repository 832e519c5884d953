package history

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// pairs holds every TLS Secret to a key that is its certificate's (I4).
func (c *checker) pairs() {
	for _, s := range c.spans {
		if s.Key.Kind == Secret && (isServer(s) || len(s.Data["tls.crt"]) > 0) {
			if _, err := pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"]); err != nil {
				c.violate("I4", s, "%v", err)
			}
		}
		if s.Key.Kind == ClientCertificate && len(s.Data[CertificateKey]) > 0 {
			if _, err := s.chain(); err != nil {
				c.violate("I4", s, "%v", err)
			}
		}
	}
}

// generations hold the record to going on only (I5).
func (c *checker) generations() {
	newest, active, gone := map[Key]string{}, map[Key]string{}, map[Key]map[string]bool{}
	for _, s := range c.of(isLedger) {
		ledger, err := s.ledger()
		if err != nil {
			c.violate("I5", s, "%v", err)
			continue
		}
		if rotate.Earlier(ledger.Newest(), newest[s.Key]) && newest[s.Key] != "" {
			c.violate("I5", s, "its newest generation is %s, and there was a %s", ledger.Newest(), newest[s.Key])
		}
		newest[s.Key] = ledger.Newest()
		there := map[string]bool{}
		for _, g := range ledger.Generations() {
			there[g.ID] = true
			if gone[s.Key][g.ID] {
				c.violate("I5", s, "generation %s was gone, and is back", g.ID)
			}
			if g.State != rotate.Active {
				continue
			}
			if rotate.Earlier(g.ID, active[s.Key]) && active[s.Key] != "" {
				c.violate("I5", s, "%s issues, and %s did", g.ID, active[s.Key])
			}
			active[s.Key] = g.ID
		}
		if gone[s.Key] == nil {
			gone[s.Key] = map[string]bool{}
		}
		for n := 1; ; n++ {
			id := fmt.Sprintf("g%d", n)
			if rotate.Earlier(ledger.Newest(), id) {
				break
			}
			gone[s.Key][id] = !there[id]
		}
	}
}

// minSerialBits is the entropy that a serial number has at least (CA/Browser Forum Baseline
// Requirements, section 7.1).
const minSerialBits = 64

// serials hold certificates to numbers of their own, and to the life of their issuer (I6).
func (c *checker) serials() {
	owners, cas := map[pki.Serial]pki.Certificate{}, map[string]pki.Certificate{}
	for _, s := range c.of(isLedger) {
		if ledger, err := s.ledger(); err == nil {
			for _, g := range ledger.Generations() {
				cas[g.Authority.Certificate().SubjectKeyID()] = g.Authority.Certificate()
			}
		}
	}
	for _, s := range c.spans {
		if !isServer(s) && !isCaller(s) {
			continue
		}
		chain, err := s.chain()
		if err != nil {
			continue // I4 tells
		}
		leaf := chain.Leaf()
		if other, known := owners[leaf.Serial()]; known && !other.Equal(leaf) {
			c.violate("I6", s, "serial number %s is another certificate's too", leaf.Serial())
		}
		owners[leaf.Serial()] = leaf
		if bits := leaf.X509().SerialNumber.BitLen(); bits < minSerialBits-8 { // leading zeros are chance
			c.violate("I6", s, "serial number %s has %d bits", leaf.Serial(), bits)
		}
		if ca, known := cas[leaf.AuthorityKeyID()]; known && leaf.NotAfter().After(ca.NotAfter()) {
			c.violate("I6", s, "it ends at %s, and its issuer at %s", leaf.NotAfter().Format(time.RFC3339), ca.NotAfter().Format(time.RFC3339))
		}
	}
}

// mutual holds Gateways to asking for certificates (I7).
func (c *checker) mutual() {
	for _, s := range c.of(func(s span) bool { return s.Key.Kind == Gateway }) {
		var spec struct {
			Servers []struct {
				TLS *struct{ Mode, CredentialName string } `json:"tls"`
			} `json:"servers"`
		}
		if err := json.Unmarshal(s.Data[SpecKey], &spec); err != nil {
			c.violate("I7", s, "its spec cannot be read: %v", err)
			continue
		}
		for i, server := range spec.Servers {
			if server.TLS == nil || server.TLS.Mode != "MUTUAL" || server.TLS.CredentialName == "" {
				c.violate("I7", s, "server %d is not mutual: %+v", i, server.TLS)
			}
		}
	}
}

// keys looks for private keys outside of Secrets (I8).
func (c *checker) keys() {
	var bodies [][]byte
	for _, s := range c.spans {
		for _, value := range s.Data {
			for block, rest := pem.Decode(value); s.Key.Kind == Secret && block != nil; block, rest = pem.Decode(rest) {
				if bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
					encoded := bytes.Split(pem.EncodeToMemory(block), []byte("\n"))
					bodies = append(bodies, encoded[len(encoded)-3]) // its last whole line: the head is the same in all
				}
			}
		}
	}
	for _, s := range c.spans {
		if s.Key.Kind == Secret {
			continue
		}
		for key, value := range s.Data {
			if bytes.Contains(value, []byte("PRIVATE KEY")) {
				c.violate("I8", s, "%s holds a private key", key)
			}
			for _, body := range bodies {
				if len(body) > 16 && bytes.Contains(value, body) {
					c.violate("I8", s, "%s holds a part of a private key", key)
				}
			}
		}
	}
}

// revocations hold CRLs to numbers that rise, and entries to staying (I9).
func (c *checker) revocations() {
	last, ends := map[string]pki.CRL{}, c.ends()
	for _, s := range c.of(isLedger) {
		ledger, err := s.ledger()
		if err != nil {
			continue // I5 tells
		}
		for _, g := range ledger.Generations() {
			before, known := last[g.Authority.Certificate().SubjectKeyID()]
			if g.CRL.IsZero() || known && bytes.Equal(before.PEM(), g.CRL.PEM()) {
				continue
			}
			last[g.Authority.Certificate().SubjectKeyID()] = g.CRL
			if !known {
				continue
			}
			c.follows(s, g, before, ends)
		}
	}
}

// follows holds a CRL to the one before it.
func (c *checker) follows(s span, g rotate.Generation, before pki.CRL, ends map[pki.Serial]time.Time) {
	if g.CRL.Number().Cmp(before.Number()) <= 0 {
		c.violate("I9", s, "the CRL of %s has number %s after %s", g.ID, g.CRL.Number(), before.Number())
	}
	for _, entry := range before.Revoked() {
		end, found := ends[entry.Serial]
		if !g.CRL.Lists(entry.Serial) && (!found || !before.ThisUpdate().After(end)) {
			c.violate("I9", s, "the CRL of %s lists %s no more", g.ID, entry.Serial)
		}
	}
}

// ends are those of all leaves.
func (c *checker) ends() map[pki.Serial]time.Time {
	ends := map[pki.Serial]time.Time{}
	for _, s := range c.spans {
		if chain, err := s.chain(); (isServer(s) || isCaller(s)) && err == nil {
			ends[chain.Leaf().Serial()] = chain.Leaf().NotAfter()
		}
	}
	return ends
}
