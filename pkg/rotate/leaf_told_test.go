package rotate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

// What was told of a certificate is enough to know that another one is due, at the very
// times at which the certificate itself would show it.
func TestPlanTold(t *testing.T) {
	ca, other, s := root(t, 3650*day), root(t, 3650*day), leaves()
	names := ClientNames{CommonName: "billing", Identity: "spiffe://example.com/ns/shop/client/billing"}
	pair, err := MaterializeClient(SignerOf(ca), trust(t, ca, start), names, s, start)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf()
	due := RenewalTime(leaf, s)
	tests := map[string]struct {
		now      time.Time
		lifetime time.Duration
		issuer   pki.Authority
		want     LeafPlan
	}{
		"fresh":             {now: start, want: LeafPlan{Next: due}},
		"a second too soon": {now: due.Add(-time.Second), want: LeafPlan{Next: due}},
		"due":               {now: due, want: LeafPlan{Issue: true, Reason: ReasonDue, PutOff: validity{leaf.NotBefore(), leaf.NotAfter()}.putOff()}},
		"ended":             {now: leaf.NotAfter().Add(time.Second), want: LeafPlan{Issue: true, Reason: ReasonDue}},
		"another lifetime":  {now: start, lifetime: day, want: LeafPlan{Issue: true, Reason: ReasonLifetime}},
		"another issuer":    {now: start, issuer: other, want: LeafPlan{Issue: true, Reason: ReasonIssuer}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, issuer := s, ca
			if test.lifetime != 0 {
				s.Lifetime = test.lifetime
			}
			if !test.issuer.IsZero() {
				issuer = test.issuer
			}
			told := PlanTold(ToldLeaf{NotBefore: leaf.NotBefore(), NotAfter: leaf.NotAfter(), AuthorityKeyID: leaf.AuthorityKeyID()}, s, SignerOf(issuer), test.now)
			if diff := cmp.Diff(test.want, told); diff != "" {
				t.Errorf("plan (-want +found):\n%s", diff)
			}
			if diff := cmp.Diff(PlanClient(pair, names, s, SignerOf(issuer), test.now), told); diff != "" {
				t.Errorf("plan by what is told (-by the certificate +by what is told):\n%s", diff)
			}
		})
	}
}
