package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/policy"
)

func finding(namespace, name string, reason policy.Reason) policy.Finding {
	return policy.Finding{Kind: "Gateway", Namespace: namespace, Name: name, Reason: reason, Field: "spec"}
}

// What one team does wrong a hundred times hides nothing of another's.
func TestTheStatusNamesSomethingOfEach(t *testing.T) {
	var all []policy.Finding
	for i := range 100 {
		all = append(all, finding("a-crowd", fmt.Sprintf("g%02d", i), policy.ReasonMode))
	}
	all = append(all, finding("bank", "edge", policy.ReasonMode), finding("bank", "edge", policy.ReasonSecondExposure), finding("shop", "edge", policy.ReasonMinTLS))
	var got []string
	for _, f := range varied(all) {
		got = append(got, f.Namespace+"/"+f.Name+" "+string(f.Reason))
	}
	if len(got) != maxTold {
		t.Errorf("%d are named, expected %d", len(got), maxTold)
	}
	for _, want := range []string{"a-crowd/g00 Mode", "bank/edge Mode", "bank/edge SecondExposure", "shop/edge MinTLS", "a-crowd/g01 Mode"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not named: %v", want, got)
		}
	}
	if !slices.IsSortedFunc(varied(all), func(a, b policy.Finding) int { return strings.Compare(a.Namespace+a.Name, b.Namespace+b.Name) }) {
		t.Errorf("their order is lost: %v", got)
	}
	if few := varied(all[100:]); len(few) != 3 {
		t.Errorf("%d of three are named", len(few))
	}
}

// An exception counts to its very end, and the next look is at the next end.
func TestExceptionsEndAtTheirMoment(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	except := func(name string, after time.Duration) v1alpha1.PolicyException {
		return v1alpha1.PolicyException{Kind: v1alpha1.ObjectGateway, Namespace: "shop", Name: name, ExpirationTime: metav1.NewTime(now.Add(after))}
	}
	exceptions := []v1alpha1.PolicyException{except("later", time.Hour), except("now", 0), except("past", -time.Hour), except("soon", time.Second)}
	var over []string
	for _, e := range ended(exceptions, now) {
		over = append(over, e.Name)
	}
	if got := strings.Join(over, " "); got != "now past" {
		t.Errorf("ended are %q", got)
	}
	if next := nextEnd(exceptions, now); !next.Equal(now.Add(time.Second)) {
		t.Errorf("the next end is %s", next)
	}
	if next := nextEnd(exceptions[1:3], now); !next.IsZero() {
		t.Errorf("nothing is left to end, and the next end is %s", next)
	}
	for _, test := range []struct{ a, b, want time.Time }{
		{time.Time{}, now, now}, {now, time.Time{}, now}, {now, now.Add(1), now}, {now.Add(1), now, now}, {time.Time{}, time.Time{}, time.Time{}},
	} {
		if got := soonest(test.a, test.b); !got.Equal(test.want) {
			t.Errorf("the sooner of %s and %s is %s", test.a, test.b, got)
		}
	}
}
