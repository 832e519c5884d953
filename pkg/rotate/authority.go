package rotate

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// AuthoritySettings are what is asked of an authority.
type AuthoritySettings struct {
	// Name goes into the subject of each generation, cut to 40 bytes.
	Name string
	// RootLifetime is the life of one generation.
	RootLifetime time.Duration
	// RootAlgorithm is that of a generation's key.
	RootAlgorithm pki.Algorithm
	// Revocation is whether gateways get CRLs.
	Revocation bool
	// CRLValidity is the time from a CRL's signature to its next update.
	CRLValidity time.Duration
	// CRLRefresh is the time between two signatures of a CRL.
	CRLRefresh time.Duration
	// ProbeIdentity is the URI of the revoked probe certificate.
	ProbeIdentity string
	// Revocations are the certificates of callers that CRLs have to list.
	Revocations Revocations
}

// PlanAuthority says which generations and CRLs to make now. An authority without
// any generation gets its first. One whose active generation has ended gets
// nothing: who trusted it must be asked.
func PlanAuthority(ledger Ledger, s AuthoritySettings, now time.Time) Plan {
	if len(ledger.generations) == 0 {
		plan := Plan{Steps: []Step{{Action: CreateGeneration, Generation: generationID(1), Reason: ReasonMissing}}}
		if s.Revocation {
			plan.Steps = append(plan.Steps, Step{Action: SignCRL, Generation: generationID(1), Reason: ReasonMissing})
			plan.Next = now.Add(s.CRLRefresh)
		}
		return plan
	}
	var plan Plan
	for _, g := range ledger.generations {
		if !s.Revocation || now.After(g.Authority.Certificate().NotAfter()) {
			continue
		}
		due, reason := crlDue(g, s, now)
		if !due.After(now) {
			plan.Steps = append(plan.Steps, Step{Action: SignCRL, Generation: g.ID, Reason: reason})
			due = now.Add(s.CRLRefresh)
		}
		plan.Next = earlier(plan.Next, due)
	}
	return plan
}

// crlDue is when the generation needs its next CRL, and why.
func crlDue(g Generation, s AuthoritySettings, now time.Time) (time.Time, Reason) {
	switch {
	case g.CRL.IsZero():
		return now, ReasonMissing
	case !s.Revocations.listedBy(g, now):
		return now, ReasonRevocation
	case g.CRL.NextUpdate().After(now.Add(s.CRLValidity)):
		return now, ReasonLifetime // a shorter validity is asked for than when it was signed
	}
	return g.CRL.NextUpdate().Add(s.CRLRefresh - s.CRLValidity), ReasonDue
}

// MaterializeAuthority takes a plan's steps and returns the ledger after them. It
// changes nothing of the ledger it was given.
func MaterializeAuthority(ledger Ledger, plan Plan, s AuthoritySettings, now time.Time) (Ledger, error) {
	after := Ledger{generations: slices.Clone(ledger.generations)}
	for _, step := range plan.Steps {
		var err error
		switch step.Action {
		case CreateGeneration:
			err = after.create(step.Generation, s, now)
		case SignCRL:
			err = after.signCRL(step.Generation, s, now)
		}
		if err != nil {
			return Ledger{}, fmt.Errorf("taking step %s of generation %s: %w", step.Action, step.Generation, err)
		}
	}
	if size := after.crlSize(); len(plan.Steps) > 0 && size > pki.MaxCRLs {
		return Ledger{}, fmt.Errorf("signing CRLs: %w: %d bytes, at most %d", ErrCRLsTooLarge, size, pki.MaxCRLs)
	}
	return after, after.check()
}

// ErrCRLsTooLarge says that the CRLs of an authority do not fit beside its CAs into the
// Secret of a gateway any more.
var ErrCRLsTooLarge = errors.New("the CRLs take more than fits")

// crlSize is what all CRLs take, in bytes of PEM.
func (l Ledger) crlSize() int {
	size := 0
	for _, g := range l.generations {
		if !g.CRL.IsZero() {
			size += len(g.CRL.PEM())
		}
	}
	return size
}

// leafDivisor bounds the life of a certificate: a sixth of its authority's.
const leafDivisor = 6

// maxNameInSubject leaves room for the generation and the key in 64 bytes.
const maxNameInSubject = 40

// create makes a generation and makes it active: it is the first. Its subject has
// the number of the generation and the beginning of its key id, so that no two
// keys ever share a subject, not even if a ledger is lost and an authority begins
// anew under its old name.
func (l *Ledger) create(id string, s AuthoritySettings, now time.Time) error {
	key, err := pki.GenerateKey(s.RootAlgorithm)
	if err != nil {
		return err
	}
	keyID, err := key.ID()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s %s %s", s.Name[:min(len(s.Name), maxNameInSubject)], id, keyID[:12])
	root, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: s.RootLifetime}, now)
	if err != nil {
		return err
	}
	probeKey, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return err
	}
	probe, err := root.IssueClient(pki.ClientRequest{CommonName: "revoked probe", Identity: s.ProbeIdentity + "/revoked", Lifetime: s.RootLifetime}, probeKey, now)
	if err != nil {
		return err
	}
	l.generations = append(l.generations, Generation{ID: id, State: Active, CreatedAt: now, Authority: root, Probe: probe})
	return nil
}

// signCRL signs the next CRL. Its number is the time in milliseconds, and rises
// even if the clock went back (RFC 5280 section 5.2.3).
func (l *Ledger) signCRL(id string, s AuthoritySettings, now time.Time) error {
	i := slices.IndexFunc(l.generations, func(g Generation) bool { return g.ID == id })
	if i < 0 {
		return fmt.Errorf("the ledger has no generation %s", id)
	}
	g := &l.generations[i]
	number := big.NewInt(now.UnixMilli())
	if !g.CRL.IsZero() && number.Cmp(g.CRL.Number()) <= 0 {
		number = new(big.Int).Add(g.CRL.Number(), big.NewInt(1))
	}
	crl, err := g.Authority.SignCRL(pki.CRLRequest{
		Number:     number,
		Entries:    s.Revocations.entries(*g, s.RootLifetime/leafDivisor, now),
		NextUpdate: now.Add(s.CRLValidity),
	}, now)
	if err != nil {
		return err
	}
	g.CRL = crl
	return nil
}
