package rotate

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// throwOut plans the end of every generation whose key somebody else may hold; false if there
// is none. Where it was the active one, the next takes its place at once: one that exists, or
// one that is made and that nobody vouches for.
func (p *planner) throwOut() bool {
	var thrown []Generation
	for _, g := range p.generations {
		if slices.Contains(p.s.Rotation.Compromised, g.keyID()) || slices.ContainsFunc(g.Above, func(e pki.BundleEntry) bool {
			return slices.Contains(p.s.Rotation.Compromised, e.CA.SubjectKeyID())
		}) {
			thrown = append(thrown, g)
		}
	}
	thrown = p.replaceable(thrown)
	if !p.s.Revocation { // nothing can revoke what vouches for them
		for _, g := range thrown {
			for _, signer := range p.generations {
				if g.crossedBy(signer) && !slices.ContainsFunc(thrown, signer.is) {
					thrown = append(thrown, signer)
				}
			}
		}
	}
	thrown = p.replaceable(thrown)
	if len(thrown) == 0 {
		return false
	}
	active := false
	for _, g := range thrown {
		p.step(ThrowOut, g.ID, ReasonCompromised)
		active = active || g.State == Active
	}
	if _, is := p.Active(); active || !is {
		p.replaceAtOnce(thrown)
	}
	return true
}

func (g Generation) is(other Generation) bool { return g.ID == other.ID }

// replaceAtOnce has a generation issue that is not thrown out.
func (p *planner) replaceAtOnce(thrown []Generation) {
	if next, is := p.successor(thrown); is {
		p.step(Activate, next.ID, ReasonCompromised)
		return
	}
	p.step(Activate, p.create(ReasonCompromised), ReasonCompromised)
}

// successor is the generation that could issue at once in place of those that are thrown out.
func (p *planner) successor(thrown []Generation) (Generation, bool) {
	for _, state := range []State{Trusted, Prepared} {
		if next, is := p.in(state); is && !slices.ContainsFunc(thrown, next.is) && !next.ended(p.now) {
			return next, true
		}
	}
	return Generation{}, false
}

// rotate plans the one change of phase that may be made now, or says what it waits for.
func (p *planner) rotate() {
	p.dropEnded()
	active, is := p.Active()
	prepared, hasPrepared := p.in(Prepared)
	next, hasNext := p.Next()
	switch {
	case is && active.ended(p.now) && hasNext:
		p.step(Activate, next.ID, ReasonEnded)
	case is && active.ended(p.now) && hasPrepared:
		p.step(Activate, prepared.ID, ReasonEnded)
	case !is || active.ended(p.now):
		if p.requested(active) {
			reason := p.asked()
			p.step(Activate, p.create(reason), reason)
		}
	case p.takesBack(active):
	case hasPrepared:
		p.enter(active, Trust, prepared, ReasonStored)
	case hasNext:
		p.learn(active, next)
	default:
		p.begin(active)
	}
	if is && !active.ended(p.now) && !p.changes() {
		p.retire(active)
	}
}

// changes reports whether the plan enters another phase.
func (p *planner) changes() bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Action != Remove && s.Action != SignCRL && s.Action != Renew })
}

// wait adds what the rotation waits for.
func (p *planner) wait(w Wait) {
	own := &p.plan.Wait
	switch {
	case len(w.Blocked) == 0:
	case len(own.Blocked) == 0:
		own.Until = w.Until
	case own.Until.IsZero() || w.Until.IsZero():
		own.Until = time.Time{} // what has failed holds it up for ever
	default:
		own.Until = maxTime(own.Until, w.Until)
	}
	own.Blocked, own.Unproven = append(own.Blocked, w.Blocked...), append(own.Unproven, w.Unproven...)
}

// dropEnded drops the generations before the active one that have ended: nothing they
// signed is accepted by anybody.
func (p *planner) dropEnded() {
	for _, g := range p.old() {
		if g.ended(p.now) {
			p.step(Remove, g.ID, ReasonEnded)
		} else {
			p.look(g.Authority.Certificate().NotAfter().Add(time.Second))
		}
	}
}

// requested reports whether somebody asked for a rotation away from a generation.
func (p *planner) requested(active Generation) bool {
	if p.s.Brings {
		return p.another()
	}
	after := p.s.Rotation.RotateAfter
	return !after.IsZero() && !after.After(p.now) && active.CreatedAt.Before(after)
}

// noReturn is when nothing holds a rotation up any more of which nothing bad is known.
func noReturn(active Generation) time.Time {
	return active.Authority.Certificate().NotAfter().Add(-active.life() / noReturnDivisor)
}

// activation is when the next generation issues if nobody asks for it earlier.
func (p *planner) activation(active Generation) time.Time {
	return active.Activation().Add(-jitter(p.s.Name, active.life()))
}

// begin plans the next generation: when half of a life is over, or when asked.
func (p *planner) begin(active Generation) {
	if p.s.Brings {
		p.beginBrought(active)
		return
	}
	due, reason := active.CreatedAt.Add(active.life()/prepareDivisor+jitter(p.s.Name, active.life())), ReasonDue
	if asked := p.s.Rotation.RotateAfter; asked.After(p.now) {
		p.look(asked)
	}
	if p.requested(active) && p.now.Before(due) {
		due, reason = p.queued(active, due), ReasonRequested
		if p.now.Before(due) {
			p.plan.Wait.Queued = due
		}
	}
	if p.now.Before(due) {
		p.look(due)
		return
	}
	if !p.held(active) {
		p.create(reason)
	}
}

// queued is when a rotation may begin that was asked for: when callers cannot know only the
// generation before the active one, because they could not verify the one after it; and not
// before the active one is a twelfth of its life old, so that it outlives the one before by as
// much when its own time has come. It is not later than it would begin by itself.
func (p *planner) queued(active Generation, due time.Time) time.Time {
	if p.s.Rotation.CallersUpdated == active.keyID() {
		return time.Time{}
	}
	queued := active.CreatedAt.Add(active.life() / noReturnDivisor)
	if !active.Before.IsZero() {
		queued = maxTime(queued, active.Before.NotAfter().Add(time.Second))
	}
	if due.Before(queued) {
		return due
	}
	return queued
}

// known is when no caller knows only the generation before the active one any more, or when
// that cannot be waited for.
func (p *planner) known(active Generation) time.Time {
	if active.Before.IsZero() || p.s.Rotation.CallersUpdated == active.keyID() {
		return time.Time{}
	}
	if end, limit := active.Before.NotAfter().Add(time.Second), noReturn(active); end.Before(limit) {
		return end
	}
	return noReturn(active)
}

// held reports whether the authority was told to stay in its phase, and it may.
func (p *planner) held(active Generation) bool {
	limit := noReturn(active)
	next, may := p.s.Rotation.opens(p.now)
	if !p.now.Before(limit) || may && !p.s.Rotation.Paused {
		return false
	}
	p.plan.Wait.Held = true
	p.look(limit)
	if !p.s.Rotation.Paused {
		p.plan.Wait.Opens = next
		p.look(next)
	}
	return true
}

// enter plans the entry into another phase, unless the authority was told to stay.
func (p *planner) enter(active Generation, a Action, g Generation, r Reason) {
	if !p.held(active) {
		p.step(a, g.ID, r)
	}
}

// learn waits until gateways are known to trust the next generation, and it is time.
func (p *planner) learn(active, next Generation) {
	end := active.Authority.Certificate().NotAfter()
	p.look(end.Add(time.Second))
	overlap := next.Since.Add(min(p.s.Rotation.MinimumOverlap, end.Sub(next.Since)/overlapDivisor))
	due, reason := p.activation(active), ReasonDue
	switch {
	case p.s.Brings:
		due, reason = overlap, ReasonBrought
	case p.requested(active):
		due, reason = overlap, ReasonRequested
	}
	due = maxTime(maxTime(due, overlap), p.known(active))
	g := p.ask(p.e.Accepts, due, active)
	if p.now.Before(due) {
		p.wait(Wait{Unproven: append(g.wait.Unproven, g.wait.Blocked...)}) // they hold nothing up yet
		p.look(due)
		return
	}
	p.wait(g.wait)
	if !g.open {
		p.again(g.wait)
		return
	}
	if g.reason == ReasonTime {
		reason = ReasonTime
	}
	p.enter(active, Activate, next, reason)
}

// ask judges what replicas answered about a phase that could be left since it was due.
func (p *planner) ask(findings []Finding, due time.Time, active Generation) gate {
	limit := due.Add(p.s.Rotation.ProofTimeout)
	if last := noReturn(active); last.Before(limit) {
		limit = last
	}
	return ask(findings, p.s.Rotation.Proof, limit, p.now)
}

// again has a gate that is shut looked at soon.
func (p *planner) again(w Wait) {
	p.look(p.now.Add(p.s.Rotation.LookEvery))
	p.look(w.Until)
}

// retire waits until nobody needs the generations before the active one, takes them out of
// what is trusted, and drops those that are known to be refused everywhere. Of several that are withdrawn handshakes
// ask about one at a time.
func (p *planner) retire(active Generation) {
	asked, _ := p.Withdrawn()
	for _, g := range p.old() {
		if g.ended(p.now) {
			continue // dropped already
		}
		if g.State == Withdrawn && !g.is(asked) {
			continue // nothing is known of it before the one that is asked about is gone
		}
		if g.State == Retiring && !g.Replaced.IsZero() && p.needed(g) {
			continue
		}
		p.retireOne(active, g)
		return
	}
}

// needed reports whether a caller may still hold a certificate of a generation. That it was
// replaced does not count: a partner may hold it all the same. A gateway whose clock is behind
// takes it a little longer. What else a CA signed that somebody brings is not known here, nor what
// the lost part of a record holds: it is needed until it ends.
func (p *planner) needed(g Generation) bool {
	if p.s.Brings || p.e.ClientsUnknown {
		return true
	}
	end, issued := p.e.ClientsEnd[g.ID]
	if !issued {
		return false
	}
	end = end.Add(pki.Backdate(p.s.LongestLeaf))
	p.look(end.Add(time.Second))
	return !p.now.After(end)
}

// retireOne takes the next step with one generation, or says what it waits for.
func (p *planner) retireOne(active, g Generation) {
	switch {
	case g.State == Withdrawn:
		p.takeIf(p.e.Refuses, Remove, g)
	case p.e.InUse[g.ID]:
		p.look(p.now.Add(p.s.Rotation.LookEvery)) // the certificate is issued again at a moment of its own
	case g.Replaced.IsZero():
		p.takeIf(p.e.Serves, NoteReplaced, g)
	default:
		p.enter(active, Withdraw, g, ReasonDue)
	}
}

// takeIf plans a step if replicas answered as they have to.
func (p *planner) takeIf(findings []Finding, a Action, g Generation) {
	answers := ask(findings, p.s.Rotation.Proof, g.Since.Add(p.s.Rotation.ProofTimeout), p.now)
	p.wait(answers.wait)
	if answers.open {
		p.step(a, g.ID, answers.reason)
		return
	}
	p.again(answers.wait)
}
