package rotate

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/pkg/pki"
)

// TestNoLeafEndsInAnySchedule walks through the whole life of a CA in passes that
// come early, on time or late, and shows that the stored certificate is never past
// its end, and that it is not renewed more often than its life explains.
func TestNoLeafEndsInAnySchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := LeafSettings{
			Lifetime:    time.Duration(rapid.IntRange(20, 90).Draw(t, "days")) * day,
			RenewBefore: rapid.Int32Range(10, 90).Draw(t, "renewBefore"),
			Algorithm:   pki.ECDSAP256,
			Object:      rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "object"),
		}
		life := time.Duration(rapid.IntRange(30, 400).Draw(t, "life")) * day
		ca := propertyRoot(t, life)
		end := ca.Certificate().NotAfter()
		var stored pki.Pair
		renewals := 0
		for instant := start; instant.Before(end); {
			if !stored.IsZero() && instant.After(stored.Leaf().NotAfter()) {
				t.Fatalf("the certificate ended at %s, it is %s", stored.Leaf().NotAfter(), instant)
			}
			plan := PlanServer(stored, hosts, s, SignerOf(ca), instant)
			if plan.Issue {
				var err error
				if stored, err = ca.IssueServer(pki.ServerRequest{Hosts: hosts, Key: ca.Key(), Lifetime: s.Lifetime}, instant); err != nil {
					t.Fatal(err)
				}
				renewals++
				continue // as the controller does: it looks again at once
			}
			if plan.Next.IsZero() {
				if stored.Leaf().NotAfter().Before(end) {
					t.Fatalf("nobody looks again, and the certificate ends at %s, %s before its CA", stored.Leaf().NotAfter(), end.Sub(stored.Leaf().NotAfter()))
				}
				break
			}
			if !plan.Next.After(instant) || plan.Next.After(stored.Leaf().NotAfter()) {
				t.Fatalf("at %s the next look is %s, the certificate ends at %s", instant, plan.Next, stored.Leaf().NotAfter())
			}
			instant = nextPass(t, instant, plan.Next, stored.Leaf().NotAfter())
		}
		// Each renewal but the last gains a tenth of the lifetime at least.
		if most := int(life/(s.Lifetime/gainDivisor)) + 2; renewals > most {
			t.Fatalf("%d renewals in %s, expected %d at most", renewals, life, most)
		}
	})
}

// nextPass is on time, or early because something changed, or late because nobody
// was there, but not later than the certificate lives.
func nextPass(t *rapid.T, instant, planned, end time.Time) time.Time {
	switch rapid.SampledFrom([]string{"on time", "early", "late"}).Draw(t, "pass") {
	case "early":
		return instant.Add(max(planned.Sub(instant)/2, time.Second))
	case "late":
		return planned.Add(end.Sub(planned) / 2)
	}
	return planned
}

func propertyRoot(t *rapid.T, life time.Duration) pki.Authority {
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.RootRequest{CommonName: "root", Key: key, Lifetime: life}, start)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
