package rotate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// What a CRL takes, in bytes of DER, rounded up: without its entries (the names, the extensions and a signature by the largest
// key), and for each entry beside its number (the number's own head, the moment, the reason, and what holds them together).
const (
	crlFrame   = 4 << 10
	entryFrame = 36
)

// In PEM 48 bytes make a line of 64 characters and its end.
const pemBytes, pemLine = 48, 65

// Fitting are those for which the CRLs of a ledger have room, where it is not enough for all. The namespaces of callers share it
// evenly, so that none that has many revoked takes the room of another's; of a namespace come first the longest-lived certificate
// of each caller, of these the ones revoked last. To sign what fits keeps gateways from refusing everybody. The number is of those
// that have not ended and are left out.
func (r Revocations) Fitting(l Ledger, now time.Time) (Revocations, int) {
	room := r.room(l, now)
	fitting := Revocations{Further: r.Further, leftOut: map[pki.Serial]bool{}}
	for _, record := range r.Recorded {
		fitting.leftOut[record.Serial] = true
	}
	candidates := takeTurns(r.candidates(l, now))
	for _, record := range candidates {
		if room -= entryLength(record.Serial); room < 0 {
			break
		}
		fitting.Recorded = append(fitting.Recorded, record)
		delete(fitting.leftOut, record.Serial)
	}
	return fitting, len(candidates) - len(fitting.Recorded)
}

// room is what is left for entries of the record, in bytes of DER: the CRLs of CAs above, the probes, and what CRLs list that is in no
// record stay.
func (r Revocations) room(l Ledger, now time.Time) int {
	lines := pki.MaxCRLs / pemLine
	recorded := map[pki.Serial]bool{}
	for _, record := range r.Recorded {
		recorded[record.Serial] = true
	}
	taken := 0
	for _, g := range l.generations {
		for _, e := range g.Above {
			if !e.CRL.IsZero() {
				lines -= len(e.CRL.PEM()) / pemLine
			}
		}
		stay := map[pki.Serial]bool{}
		for _, e := range (Revocations{Further: r.Further}).wanted(g, now) {
			stay[e.Serial] = true
		}
		if !g.CRL.IsZero() {
			for _, e := range g.CRL.Revoked() {
				if !recorded[e.Serial] {
					stay[e.Serial] = true
				}
			}
		}
		taken += crlFrame
		for serial := range stay {
			taken += entryLength(serial)
		}
	}
	return lines*pemBytes - taken
}

// entryLength is what an entry takes at most, in bytes of DER.
func entryLength(s pki.Serial) int { return entryFrame + len(s.String())/2 }

// candidates are those of the record that a CRL of the ledger has to list now.
func (r Revocations) candidates(l Ledger, now time.Time) []IssuedSerial {
	wanted := map[pki.Serial]bool{}
	for _, g := range l.generations {
		for _, e := range (Revocations{Recorded: r.Recorded}).wanted(g, now) {
			wanted[e.Serial] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(r.Recorded), func(record IssuedSerial) bool { return !wanted[record.Serial] })
}

// takeTurns puts records in an order in which every namespace has its turn before one has its second. The order does not depend on
// that of the records, so that what is listed does not change from pass to pass.
func takeTurns(records []IssuedSerial) []IssuedSerial {
	slices.SortFunc(records, func(a, b IssuedSerial) int {
		if a.NotAfter.Equal(b.NotAfter) {
			return strings.Compare(a.Serial.String(), b.Serial.String())
		}
		return b.NotAfter.Compare(a.NotAfter)
	})
	type ranked struct {
		IssuedSerial
		rank int // among the certificates of its caller
	}
	of, namespaces := map[string]int{}, map[string][]ranked{}
	for _, record := range records {
		namespace, _, _ := strings.Cut(record.Caller, "/")
		namespaces[namespace] = append(namespaces[namespace], ranked{record, of[record.Caller]})
		of[record.Caller]++
	}
	names := slices.Sorted(maps.Keys(namespaces))
	for _, name := range names {
		slices.SortStableFunc(namespaces[name], func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), b.Revoked.At.Compare(a.Revoked.At), strings.Compare(a.Caller, b.Caller))
		})
	}
	turns := make([]IssuedSerial, 0, len(records))
	for turn := 0; len(turns) < len(records); turn++ {
		for _, name := range names {
			if of := namespaces[name]; turn < len(of) {
				turns = append(turns, of[turn].IssuedSerial)
			}
		}
	}
	return turns
}
