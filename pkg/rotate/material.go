package rotate

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// MaterializeAuthority takes a plan's steps and returns the ledger after them. It
// changes nothing of the ledger it was given.
func MaterializeAuthority(ledger Ledger, plan Plan, s AuthoritySettings, now time.Time) (Ledger, error) {
	after := Ledger{generations: slices.Clone(ledger.generations), last: ledger.last}
	for _, step := range plan.Steps {
		if err := after.take(step, s, now); err != nil {
			return Ledger{}, fmt.Errorf("taking step %s of generation %s: %w", step.Action, step.Generation, err)
		}
	}
	if size := after.crlSize(); len(plan.Steps) > 0 && size > pki.MaxCRLs {
		return Ledger{}, fmt.Errorf("signing CRLs: %w: %d bytes, at most %d", ErrCRLsTooLarge, size, pki.MaxCRLs)
	}
	return after, after.check()
}

func (l *Ledger) take(step Step, s AuthoritySettings, now time.Time) error {
	if step.Action == CreateGeneration {
		return l.create(step.Generation, s, now)
	}
	i := slices.IndexFunc(l.generations, func(g Generation) bool { return g.ID == step.Generation })
	if i < 0 {
		return fmt.Errorf("the ledger has no generation %s", step.Generation)
	}
	switch step.Action {
	case SignCRL:
		return l.generations[i].signCRL(s, now)
	case Trust:
		l.generations[i].enter(Trusted, now)
	case Activate:
		l.activate(i, now)
	case Renew:
		l.generations[i].renew(s.Brought)
	case NoteReplaced:
		l.generations[i].Replaced = now
	case Withdraw:
		l.generations[i].enter(Withdrawn, now)
	case Remove:
		l.generations = slices.Delete(l.generations, i, i+1)
	case ThrowOut:
		l.throwOut(i, now)
	default:
		return fmt.Errorf("no such action as %.32q", step.Action)
	}
	return nil
}

func (g *Generation) enter(s State, now time.Time) { g.State, g.Since = s, now }

// activate has a generation issue, and the one that did retire.
func (l *Ledger) activate(i int, now time.Time) {
	for j := range l.generations {
		if l.generations[j].State == Active {
			l.generations[j].enter(Retiring, now)
		}
	}
	l.generations[i].enter(Active, now)
}

// throwOut drops a generation. What vouches for it is revoked, and what it vouches for is not
// handed out any more.
func (l *Ledger) throwOut(i int, now time.Time) {
	bad := l.generations[i]
	l.generations = slices.Delete(l.generations, i, i+1)
	for j := range l.generations {
		g := &l.generations[j]
		if g.crossedBy(bad) {
			g.Cross, g.Before = pki.Certificate{}, pki.Certificate{}
		}
		if bad.crossedBy(*g) {
			g.CrossRevoked = append(slices.Clone(g.CrossRevoked), CrossRevoked{
				Serial: bad.Cross.Serial(), At: now.Truncate(time.Second), NotAfter: bad.Cross.NotAfter(),
			})
		}
	}
}

// ErrCRLsTooLarge says that the CRLs of an authority do not fit beside its CAs into the
// Secret of a gateway any more.
var ErrCRLsTooLarge = errors.New("the CRLs take more than fits")

// crlSize is what all CRLs take, in bytes of PEM.
func (l Ledger) crlSize() int {
	size := 0
	for _, g := range l.generations {
		for _, e := range append(slices.Clone(g.Above), pki.BundleEntry{CRL: g.CRL}) {
			if !e.CRL.IsZero() {
				size += len(e.CRL.PEM())
			}
		}
	}
	return size
}

// maxNameInSubject leaves room for the generation and the key in 64 bytes.
const maxNameInSubject = 40

// create makes a generation: the first is active, any other is prepared, and vouched for by
// the active one where there is one. Its subject has the number of the generation and the
// beginning of its key id, so that no two keys ever share a subject, not even if a ledger is
// lost and an authority begins anew under its old name.
func (l *Ledger) create(id string, s AuthoritySettings, now time.Time) error {
	number, err := generationNumber(id)
	if err != nil {
		return err
	}
	root, above, err := s.ca(id, now)
	if err != nil {
		return err
	}
	probeKey, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return err
	}
	life := root.Certificate().NotAfter().Sub(now)
	probe, err := root.IssueClient(pki.ClientRequest{CommonName: "revoked probe", Identity: s.ProbeIdentity + "/revoked", Lifetime: life}, probeKey, now)
	if err != nil {
		return err
	}
	made := Generation{ID: id, State: Prepared, Since: now, CreatedAt: now, Authority: root, Above: above, Probe: probe}
	if len(l.generations) == 0 {
		made.State = Active
	}
	if active, is := l.Active(); is && !active.ended(now) && active.Authority.MayVouch() && len(active.Above)+len(above) == 0 {
		if made.Cross, err = active.Authority.CrossSign(root.Certificate(), now); err != nil {
			return err
		}
		made.Before = active.Authority.Certificate()
	}
	l.generations, l.last = append(l.generations, made), number
	return nil
}

// ca is the CA of a new generation, and what is above it: a root that is made, or what is brought.
func (s AuthoritySettings) ca(id string, now time.Time) (pki.Authority, []pki.BundleEntry, error) {
	if s.Brings {
		return s.Brought.CA, s.Brought.entries(nil), nil
	}
	root, err := s.root(id, now)
	return root, nil, err
}

func (s AuthoritySettings) root(id string, now time.Time) (pki.Authority, error) {
	key, err := pki.GenerateKey(s.RootAlgorithm)
	if err != nil {
		return pki.Authority{}, err
	}
	keyID, err := key.ID()
	if err != nil {
		return pki.Authority{}, err
	}
	name := fmt.Sprintf("%s %s %s", s.Name[:min(len(s.Name), maxNameInSubject)], id, keyID[:12])
	return pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: s.RootLifetime}, now)
}

// signCRL signs the next CRL. Its number is the time in milliseconds, and rises
// even if the clock went back (RFC 5280 section 5.2.3).
func (g *Generation) signCRL(s AuthoritySettings, now time.Time) error {
	number := big.NewInt(now.UnixMilli())
	if !g.CRL.IsZero() && number.Cmp(g.CRL.Number()) <= 0 {
		number = new(big.Int).Add(g.CRL.Number(), big.NewInt(1))
	}
	crl, err := g.Authority.SignCRL(pki.CRLRequest{
		Number:     number,
		Entries:    s.Revocations.entries(*g, s.LongestLeaf, now),
		NextUpdate: now.Add(s.CRLValidity),
	}, now)
	if err != nil {
		return err
	}
	g.CRL = crl
	return nil
}
