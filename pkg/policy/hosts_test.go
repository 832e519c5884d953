package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAnIndexOfManyHostsFindsWhatComparingFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`(\*|\*\.|)[ab]{0,2}(\.[ab]{1,2}){0,2}`)
		var hosts []scopedHost
		for i, n := range rapid.SliceOfN(name, fewHosts+1, 3*fewHosts).Draw(t, "hosts") {
			if n != "" {
				hosts = append(hosts, scopedHost{name: n, server: i})
			}
		}
		asked := name.Filter(func(s string) bool { return s != "" }).Draw(t, "asked")
		x := newHostIndex(hosts)
		got, want := map[int]bool{}, map[int]bool{}
		x.overlapping(asked, func(h scopedHost) bool { got[h.server] = true; return true })
		for _, h := range hosts {
			if overlap(h.name, asked) {
				want[h.server] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q in %v (-want +got):\n%s", asked, hosts, diff)
		}
	})
}

func TestHostsOverlapAsIstioReadsThem(t *testing.T) {
	// istio/istio:pkg/config/host/name.go, the examples of Matches.
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"foo.com", "foo.com", true}, {"foo.com", "bar.com", false}, {"*.com", "foo.com", true}, {"bar.com", "*.com", true}, {"*.foo.com", "foo.com", false},
		{"*", "foo.com", true}, {"*", "*.com", true}, {"*.a.com", "*.b.com", false}, {"*.com", "*.a.com", true},
	} {
		if got := overlap(row.a, row.b); got != row.want {
			t.Errorf("%s and %s: %t", row.a, row.b, got)
		}
		if got := overlap(row.b, row.a); got != row.want {
			t.Errorf("%s and %s: %t", row.b, row.a, got)
		}
	}
}
