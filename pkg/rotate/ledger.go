package rotate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// State says what a generation is used for.
type State string

// The states, in the order a generation passes through them.
const (
	// Prepared exists, and nobody sees it.
	Prepared State = "Prepared"
	// Trusted is trusted by gateways and published, and issues nothing.
	Trusted State = "Trusted"
	// Active issues.
	Active State = "Active"
	// Retiring issues nothing any more and is trusted until its last certificate has ended.
	Retiring State = "Retiring"
)

// Generation is one key of an authority.
type Generation struct {
	// ID is g1, g2 and so on.
	ID string
	// State says what it is used for.
	State State
	// CreatedAt is when it was made. Its life counts from here.
	CreatedAt time.Time
	// Authority is its certificate and key.
	Authority pki.Authority
	// Probe is a client certificate that the CRL lists from the first day, so that
	// a handshake with it shows whether the edge heeds revocation. Its life is the
	// generation's own.
	Probe pki.Pair
	// CRL is the newest one; zero while the authority works without revocation.
	CRL pki.CRL
}

// Ledger is the record of one authority's generations. The zero Ledger is that of
// an authority that has none yet.
type Ledger struct {
	generations []Generation
}

// Generations are all of them, oldest first. Callers must not change the slice.
func (l Ledger) Generations() []Generation { return l.generations }

// Active is the generation that issues; false if there is none.
func (l Ledger) Active() (Generation, bool) {
	for _, g := range l.generations {
		if g.State == Active {
			return g, true
		}
	}
	return Generation{}, false
}

// Bundle is what gateways trust at now: the active generation first, then the
// others that are trusted, each with its CRL if revocation is asked for.
func (l Ledger) Bundle(revocation bool, now time.Time) (pki.Bundle, error) {
	var first, others []pki.BundleEntry
	for _, g := range l.generations {
		entry := pki.BundleEntry{CA: g.Authority.Certificate()}
		if revocation {
			if g.CRL.IsZero() {
				return pki.Bundle{}, fmt.Errorf("making bundle: generation %s has no CRL", g.ID)
			}
			entry.CRL = g.CRL
		}
		switch g.State {
		case Active:
			first = append(first, entry)
		case Trusted, Retiring:
			others = append(others, entry)
		case Prepared:
		}
	}
	return pki.NewBundle(append(first, others...), now)
}

// check holds a ledger to what every reader relies on: ids that rise, and one
// active generation at most.
func (l Ledger) check() error {
	last, active := 0, 0
	for _, g := range l.generations {
		n, err := generationNumber(g.ID)
		if err != nil {
			return err
		}
		if n <= last {
			return fmt.Errorf("generation %s comes after g%d, expected rising numbers", g.ID, last)
		}
		last = n
		switch g.State {
		case Active:
			active++
		case Prepared, Trusted, Retiring:
		default:
			return fmt.Errorf("generation %s is in state %.32q, expected Prepared, Trusted, Active or Retiring", g.ID, g.State)
		}
	}
	if active > 1 {
		return fmt.Errorf("%d generations are active, expected one", active)
	}
	return nil
}

func generationID(n int) string { return "g" + strconv.Itoa(n) }

func generationNumber(id string) (int, error) {
	digits, ok := strings.CutPrefix(id, "g")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || generationID(n) != id {
		return 0, fmt.Errorf("generation is called %.32q, expected g1, g2 and so on", id)
	}
	return n, nil
}
