package rotate

import (
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// Revocations are the certificates of callers that are not to be accepted any more.
type Revocations struct {
	// Recorded are those of the record of what was issued.
	Recorded []IssuedSerial
	// Further are serial numbers of which no more is known. Every CRL lists them.
	Further []pki.Serial
	// leftOut are those of the record for which there is no room.
	leftOut map[pki.Serial]bool
}

// Listed are those that the CRLs of a ledger list already: what is left where all of them
// do not fit. To sign what fits keeps gateways from refusing everybody.
func (r Revocations) Listed(l Ledger) Revocations {
	listed := func(s pki.Serial) bool {
		return slices.ContainsFunc(l.generations, func(g Generation) bool { return !g.CRL.IsZero() && g.CRL.Lists(s) })
	}
	return Revocations{
		Recorded: slices.DeleteFunc(slices.Clone(r.Recorded), func(record IssuedSerial) bool { return !listed(record.Serial) }),
		Further:  slices.DeleteFunc(slices.Clone(r.Further), func(s pki.Serial) bool { return !listed(s) }),
	}
}

// caCompromise is the reason code of a CA's certificate whose key somebody else may hold
// (RFC 5280 section 5.3.1).
const caCompromise = 2

// wanted are the entries that the CRL of a generation has to have now: the probe, what is
// recorded of the generation and has not ended, and what is further asked for.
func (r Revocations) wanted(g Generation, now time.Time) []pki.Revoked {
	probe := g.Probe.Leaf()
	entries := []pki.Revoked{{Serial: probe.Serial(), At: probe.NotBefore()}}
	for _, record := range r.Recorded {
		if record.Generation == g.ID && record.counts(now) {
			entries = append(entries, pki.Revoked{Serial: record.Serial, At: record.Revoked.At, Reason: record.Revoked.Reason})
		}
	}
	for _, cross := range g.CrossRevoked {
		if !endsAtGateways(cross.NotAfter).Before(now) {
			entries = append(entries, pki.Revoked{Serial: cross.Serial, At: cross.At, Reason: caCompromise})
		}
	}
	for _, serial := range r.Further {
		entries = append(entries, pki.Revoked{Serial: serial, At: now})
	}
	return entries
}

// listedBy reports whether the CRL of a generation has every entry that it has to have.
func (r Revocations) listedBy(g Generation, now time.Time) bool {
	for serial := range r.leftOut {
		if g.CRL.Lists(serial) {
			return false // it takes the room of another
		}
	}
	return !slices.ContainsFunc(r.wanted(g, now), func(e pki.Revoked) bool { return !g.CRL.Lists(e.Serial) })
}

// entries are those of the next CRL of a generation: what is wanted, and of the CRL before
// what has to appear once more. An entry leaves when a CRL that was made after the end of
// its certificate has listed it (RFC 5280 section 3.3). One whose record is lost stays for as
// long as a certificate may live at the most. What a CRL has said once stays as it was.
func (r Revocations) entries(g Generation, longest time.Duration, now time.Time) []pki.Revoked {
	next := map[pki.Serial]pki.Revoked{}
	for _, entry := range r.wanted(g, now) {
		next[entry.Serial] = entry
	}
	if !g.CRL.IsZero() {
		ends := map[pki.Serial]time.Time{}
		for _, record := range r.Recorded {
			ends[record.Serial] = endsAtGateways(record.NotAfter)
		}
		for _, cross := range g.CrossRevoked {
			ends[cross.Serial] = endsAtGateways(cross.NotAfter)
		}
		for _, entry := range g.CRL.Revoked() {
			if r.leftOut[entry.Serial] {
				continue
			}
			end, known := ends[entry.Serial]
			if !known {
				end = entry.At.Add(longest)
			}
			if _, again := next[entry.Serial]; again || !g.CRL.ThisUpdate().After(end) {
				next[entry.Serial] = entry
			}
		}
	}
	ordered := make([]pki.Revoked, 0, len(next))
	for _, entry := range next {
		ordered = append(ordered, entry)
	}
	slices.SortFunc(ordered, func(a, b pki.Revoked) int {
		return strings.Compare(a.Serial.String(), b.Serial.String())
	})
	return ordered
}
