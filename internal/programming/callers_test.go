package programming

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/handshakes"
	"sallyport.dev/sallyport/internal/ingress"
)

func TestWhatACountShows(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	other := func(names ...string) (refs []types.NamespacedName) {
		for _, name := range names {
			refs = append(refs, types.NamespacedName{Namespace: "other", Name: name})
		}
		return refs
	}
	tests := map[string]struct {
		use    handshakes.Use
		others []types.NamespacedName
		status metav1.ConditionStatus
		reason string
		words  string
	}{
		"all have one":     {use: handshakes.Use{State: handshakes.AllWith}, status: metav1.ConditionTrue, reason: v1alpha1.ReasonCallersHaveCertificates, words: "port 8443, 8444 of the replicas"},
		"somebody has not": {use: handshakes.Use{State: handshakes.SomeWithout, LastWithout: noon}, status: metav1.ConditionFalse, reason: v1alpha1.ReasonCallersWithoutCertificate, words: "last seen at 2026-03-01T12:00:00Z"},
		"somebody has not, of some Gateway": {use: handshakes.Use{State: handshakes.SomeWithout, LastWithout: noon}, others: other("a", "b"),
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPortShared, words: "Gateway other/a, other/b, which"},
		"somebody has not, of many Gateways": {use: handshakes.Use{State: handshakes.SomeWithout, LastWithout: noon}, others: other("a", "b", "c", "d", "e", "f", "g"),
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPortShared, words: "other/e and 2 others"},
		"nobody came":           {use: handshakes.Use{State: handshakes.NoCallers, Since: noon}, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNoCallers, words: "since 2026-03-01T12:00:00Z"},
		"not for long enough":   {use: handshakes.Use{State: handshakes.Counting, Since: noon}, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPending, words: "counted since 2026-03-01T12:00:00Z"},
		"no replica":            {use: handshakes.Use{State: handshakes.NoReplicas}, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNoReplicas, words: "none whose callers"},
		"no answer":             {use: handshakes.Use{State: handshakes.Unreadable, Trouble: "istio-system/a: no"}, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonStatisticsUnreadable, words: "replica istio-system/a: no; let the agent reach"},
		"replicas do not count": {use: handshakes.Use{State: handshakes.LeftOut, Trouble: "istio-system/a: no"}, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonStatisticsLeftOut, words: `annotate the ingress's pods with sidecar.istio.io/statsInclusionRegexps: listener\..*\.ssl\.`},
	}
	ports := portsOf([]ingress.Replica{{Port: 8444}, {Port: 8443}, {Port: 8444}})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := readyForMutual(test.use, ports, test.others)
			if c.Type != v1alpha1.ConditionReadyForMutual || c.Status != test.status || c.Reason != test.reason || !strings.Contains(c.Message, test.words) {
				t.Errorf("condition %+v; want %s %s with %q", c, test.status, test.reason, test.words)
			}
		})
	}
}
