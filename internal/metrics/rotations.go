package metrics

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/rotate"
)

// rotations tells how far each authority is on the way to its next generation.
type rotations struct {
	phase, blocked *metric
}

func newRotations() *rotations {
	return &rotations{
		phase: newMetric("sallyport_authority_rotation_phase",
			"The phase in which an authority is on the way from one generation to the next; 1.", "namespace", "name", "phase"),
		blocked: newMetric("sallyport_authority_rotation_blocked",
			"Whether something holds the rotation of an authority up that ought to go on: 1 if so, else 0.", "namespace", "name"),
	}
}

func (o *rotations) metrics() []*metric { return []*metric{o.phase, o.blocked} }

func (o *rotations) write(p *page, s *snapshot) {
	moving := func(r record) int64 {
		if r.ledger.Phase() == rotate.PhaseStable {
			return 1
		}
		return 0
	}
	known := func(yield func(record) bool) {
		for _, r := range s.ledgers {
			if _, is := r.ledger.Active(); is && !yield(r) {
				return
			}
		}
	}
	for r := range within(p, o.phase, known, moving) {
		p.series(o.phase, 1, r.authority.Namespace, r.authority.Name, string(r.ledger.Phase()))
	}
	for r := range within(p, o.blocked, known, moving) {
		blocked := int64(0)
		if meta.IsStatusConditionTrue(r.authority.Status.Conditions, v1alpha1.ConditionRotationBlocked) {
			blocked = 1
		}
		p.series(o.blocked, blocked, r.authority.Namespace, r.authority.Name)
	}
}

// renewals are when the next generation of each authority issues at the latest if nothing is in
// its way, in seconds since the epoch.
func (s *snapshot) renewals() map[string]int64 {
	renewals := map[string]int64{}
	for _, r := range s.ledgers {
		if active, is := r.ledger.Active(); is {
			renewals[s.name(r.authority.Namespace, r.authority.Name)] = active.Activation().Unix()
		}
	}
	return renewals
}
