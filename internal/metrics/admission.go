package metrics

import (
	"slices"

	"sallyport.dev/sallyport/internal/intact"
)

// admissions tells of the admission objects of the chart that are not as they were installed.
type admissions struct {
	problem *metric
}

func newAdmissions() *admissions {
	return &admissions{problem: newMetric("sallyport_admission_object_problem",
		"An admission policy of ours, or a binding of one, that is missing or was changed since it was installed; 1.", "kind", "name", "reason")}
}

func (o *admissions) metrics() []*metric { return []*metric{o.problem} }

func (o *admissions) write(p *page, s *snapshot) {
	inOrder := func(intact.Problem) int64 { return 0 }
	for found := range within(p, o.problem, slices.Values(s.admission), inOrder) {
		p.series(o.problem, 1, found.Kind, found.Name, string(found.Reason))
	}
}
