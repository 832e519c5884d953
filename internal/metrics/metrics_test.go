package metrics

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/intact"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/pkg/rotate"
)

func scrape(tb testing.TB, m *Metrics) string {
	tb.Helper()
	answer := httptest.NewRecorder()
	m.Handler(nil, logr.Discard()).ServeHTTP(answer, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, Path, http.NoBody))
	if answer.Code != http.StatusOK {
		tb.Fatalf("%d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// told are the series of objects in a scrape, sorted, without what is always there.
func told(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		always := slices.ContainsFunc([]string{
			"#", "sallyport_build_info", "sallyport_agent_leader", "sallyport_certificates_issued_total", "sallyport_write_conflicts_total",
			"sallyport_gateway_repairs_total", "sallyport_probe_duration_seconds", "sallyport_metrics_dropped_series",
		}, func(prefix string) bool { return strings.HasPrefix(line, prefix) })
		if !always {
			lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "sallyport_"))
		}
	}
	slices.Sort(lines)
	return lines
}

// families are a scrape as Prometheus reads it.
func families(tb testing.TB, text string) prometheus.Gatherer {
	tb.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	all := make([]*dto.MetricFamily, 0, len(parsed))
	for _, family := range parsed {
		all = append(all, family)
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return all, nil })
}

func TestWhatIsKnownOfObjectsIsTold(t *testing.T) {
	gone := &metav1.Time{Time: noon}
	tests := map[string]struct {
		world world
		want  []string
	}{
		"a caller": {world{clients: store{client("shop", "billing")}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1780142400`,
			`certificate_renewal_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1777550400`,
		}},
		"a caller of an authority elsewhere": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Spec.AuthorityRef.Namespace, c.Status.RenewalTime = "platform", nil
		})}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="platform/default"} 1780142400`,
		}},
		"a caller that has no certificate yet": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Status = v1alpha1.ClientCertificateStatus{}
		})}}, nil},
		"a caller that is being deleted": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.DeletionTimestamp = gone
			c.Status.Conditions[0].Status = metav1.ConditionFalse
		})}}, nil},
		"a caller that was refused, and goes on with what it has": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Status.Conditions = []metav1.Condition{
				condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretAccessDenied),
				condition(v1alpha1.ConditionSecretAccessDenied, metav1.ConditionTrue, v1alpha1.ReasonSecretAccessDenied),
				condition(v1alpha1.ConditionConflictingWriter, metav1.ConditionFalse, v1alpha1.ReasonNone),
			}
			c.Status.RenewalTime = nil
		})}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1780142400`,
			`object_problem{kind="ClientCertificate",namespace="shop",name="billing",condition="Ready",reason="SecretAccessDenied"} 1`,
			`object_problem{kind="ClientCertificate",namespace="shop",name="billing",condition="SecretAccessDenied",reason="SecretAccessDenied"} 1`,
		}},
		"a caller with a key of its own whose certificate was replaced": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Status.PreviousNotAfter = at(time.Hour)
		}), client("shop", "late", func(c *v1alpha1.ClientCertificate) {
			c.Status.NotAfter, c.Status.RenewalTime, c.Status.PreviousNotAfter = at(time.Hour), nil, at(-time.Hour)
		})}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1780142400`,
			`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="late",authority="shop/default"} 1772370000`,
			`certificate_previous_not_after_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1772370000`,
			`certificate_renewal_timestamp_seconds{kind="Client",namespace="shop",name="billing",authority="shop/default"} 1777550400`,
		}},
		"a caller that was revoked": {world{clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Spec.Revocation = &v1alpha1.ClientRevocation{Reason: v1alpha1.RevokedKeyCompromise}
			c.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRevoked)}
		})}}, nil},
		"a gateway": {world{endpoints: store{endpoint("shop", "gateway-edge")}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Server",namespace="shop",name="gateway-edge",authority="shop/default"} 1774958400`,
			`certificate_renewal_timestamp_seconds{kind="Server",namespace="shop",name="gateway-edge",authority="shop/default"} 1774094400`,
		}},
		"a gateway that lets in callers without a certificate": {world{endpoints: store{endpoint("shop", "gateway-edge", optional), endpoint("shop", "gateway-ready", optional, func(e *v1alpha1.MutualTLSEndpoint) {
			e.Status.ClientCertificates.WithCertificate, e.Status.ClientCertificates.LastWithoutTime = 90, nil
			e.Status.Conditions = append(e.Status.Conditions, condition(v1alpha1.ConditionReadyForMutual, metav1.ConditionTrue, v1alpha1.ReasonCallersHaveCertificates))
		})}}, []string{
			`certificate_not_after_timestamp_seconds{kind="Server",namespace="shop",name="gateway-edge",authority="shop/default"} 1774958400`,
			`certificate_not_after_timestamp_seconds{kind="Server",namespace="shop",name="gateway-ready",authority="shop/default"} 1774958400`,
			`certificate_renewal_timestamp_seconds{kind="Server",namespace="shop",name="gateway-edge",authority="shop/default"} 1774094400`,
			`certificate_renewal_timestamp_seconds{kind="Server",namespace="shop",name="gateway-ready",authority="shop/default"} 1774094400`,
			`optional_handshakes{namespace="shop",name="gateway-edge",certificate="with"} 70`,
			`optional_handshakes{namespace="shop",name="gateway-edge",certificate="without"} 20`,
			`optional_handshakes{namespace="shop",name="gateway-ready",certificate="with"} 90`,
			`optional_handshakes{namespace="shop",name="gateway-ready",certificate="without"} 0`,
			`optional_last_handshake_without_certificate_timestamp_seconds{namespace="shop",name="gateway-edge"} 1772362800`,
			`optional_ready_for_mutual{namespace="shop",name="gateway-edge"} 0`,
			`optional_ready_for_mutual{namespace="shop",name="gateway-ready"} 1`,
		}},
		"a gateway in trouble": {world{endpoints: store{endpoint("shop", "gateway-edge", func(e *v1alpha1.MutualTLSEndpoint) {
			e.Status.ServerCertificate, e.Status.Authorities = nil, nil
			e.Status.Conditions = []metav1.Condition{
				condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonPending),
				condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalidAnnotations),
				condition(v1alpha1.ConditionProven, metav1.ConditionFalse, v1alpha1.ReasonNotProbed),
				condition(v1alpha1.ConditionHostConflict, metav1.ConditionTrue, v1alpha1.ReasonHostHeld),
				condition(v1alpha1.ConditionNoIngressMatch, metav1.ConditionTrue, v1alpha1.ReasonNoIngressMatch),
				condition(v1alpha1.ConditionReleased, metav1.ConditionTrue, v1alpha1.ReasonStillNamed),
				condition(v1alpha1.ConditionConflictingWriter, metav1.ConditionTrue, "WhateverSomebodyWrote"),
			}
		})}}, []string{
			`object_problem{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",condition="ConflictingWriter",reason="Other"} 1`,
			`object_problem{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",condition="HostConflict",reason="HostHeld"} 1`,
			`object_problem{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",condition="NoIngressMatch",reason="NoIngressMatch"} 1`,
			`object_problem{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",condition="Released",reason="StillNamed"} 1`,
		}},
		"an authority": {world{authorities: store{authority("shop", "default")}, ledgers: ledgers{"shop/default": ledger(t)}}, []string{
			`authority_rotation_blocked{namespace="shop",name="default"} 0`,
			`authority_rotation_phase{namespace="shop",name="default",phase="Stable"} 1`,
			`certificate_not_after_timestamp_seconds{kind="CA",namespace="shop",name="default",authority="shop/default"} 2087726400`,
			`certificate_renewal_timestamp_seconds{kind="CA",namespace="shop",name="default",authority="shop/default"} 2035166400`,
			`crl_entries{namespace="shop",name="default",generation="g1"} 1`,
			`crl_next_update_timestamp_seconds{namespace="shop",name="default",generation="g1"} 1774958400`,
			`crl_refresh_timestamp_seconds{namespace="shop",name="default",generation="g1"} 1772798400`,
		}},
		"an authority without revocation whose rotation is held up": {world{authorities: store{authority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
			a.Spec.Revocation.Mode, a.Status.NotAfter = v1alpha1.RevocationNone, nil
			a.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionRotationBlocked, metav1.ConditionTrue, v1alpha1.ReasonReplicaRefuses)}
		})}, ledgers: ledgers{"shop/default": ledger(t)}}, []string{
			`authority_rotation_blocked{namespace="shop",name="default"} 1`,
			`authority_rotation_phase{namespace="shop",name="default",phase="Stable"} 1`,
			`object_problem{kind="CertificateAuthority",namespace="shop",name="default",condition="RotationBlocked",reason="ReplicaRefuses"} 1`,
		}},
		"a Gateway whose hand-made CA goes on for a while": {world{endpoints: store{endpoint("shop", "gateway-edge", func(e *v1alpha1.MutualTLSEndpoint) {
			e.Status.ServerCertificate = nil
			e.Status.AdoptedCertificates = []v1alpha1.TrustedCertificateStatus{{Name: "7f"}, {Name: "8a", NotAfter: at(time.Hour), RenewalTime: at(-time.Hour)}}
			e.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionAdopted, metav1.ConditionFalse, v1alpha1.ReasonLeftOut)}
		})}}, []string{
			`object_problem{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",condition="Adopted",reason="LeftOut"} 1`,
			`trusted_certificate_not_after_timestamp_seconds{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",entry="8a"} 1772370000`,
			`trusted_certificate_renewal_timestamp_seconds{kind="MutualTLSEndpoint",namespace="shop",name="gateway-edge",entry="8a"} 1772362800`,
		}},
		"an authority that trusts CAs of others": {world{authorities: store{authority("shop", "default", partner, func(a *v1alpha1.CertificateAuthority) { a.Status.NotAfter = nil })}}, []string{
			`object_problem{kind="CertificateAuthority",namespace="shop",name="default",condition="TrustedCertificatesCurrent",reason="LeftOut"} 1`,
			`trusted_certificate_not_after_timestamp_seconds{kind="CertificateAuthority",namespace="shop",name="default",entry="partner"} 1772402400`,
			`trusted_certificate_renewal_timestamp_seconds{kind="CertificateAuthority",namespace="shop",name="default",entry="partner"} 1772398800`,
		}},
		"a policy": {world{policies: store{demand("everywhere")}}, []string{
			`policy_exception_expiration_timestamp_seconds{policy="everywhere",kind="Gateway",namespace="shop",name="edge"} 1772369999`,
			`policy_findings{policy="everywhere",reason="HostBypass"} 2`,
			`policy_findings{policy="everywhere",reason="Mode"} 1`,
			`policy_matched_objects{policy="everywhere",action="Warn"} 7`,
			`policy_optional_objects{policy="everywhere",reason="CallersHaveCertificates"} 3`,
			`policy_violations{policy="everywhere",action="Warn"} 2`,
		}},
		"admission objects that are not as they were": {world{admission: []intact.Problem{
			{Kind: "ValidatingAdmissionPolicy", Name: "sallyport-gateway", Reason: intact.Changed}, {Kind: "ValidatingAdmissionPolicyBinding", Name: "sallyport-gateway", Reason: intact.Missing},
		}}, []string{
			`admission_object_problem{kind="ValidatingAdmissionPolicy",name="sallyport-gateway",reason="Changed"} 1`,
			`admission_object_problem{kind="ValidatingAdmissionPolicyBinding",name="sallyport-gateway",reason="Missing"} 1`,
		}},
		"a policy that nobody looked at": {world{policies: store{&v1alpha1.MutualTLSPolicy{ObjectMeta: metav1.ObjectMeta{Name: "new"}}}}, nil},
		"a policy that cannot opt in": {world{policies: store{&v1alpha1.MutualTLSPolicy{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Status: v1alpha1.MutualTLSPolicyStatus{
			Conditions: []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonOptInNotServed), condition(v1alpha1.ConditionCompliant, metav1.ConditionFalse, v1alpha1.ReasonViolated)},
		}}}}, []string{`object_problem{kind="MutualTLSPolicy",namespace="",name="new",condition="Ready",reason="OptInNotServed"} 1`}},
		"an authority whose ledger cannot be read": {world{authorities: store{authority("shop", "unreadable", func(a *v1alpha1.CertificateAuthority) {
			a.Status.Conditions = []metav1.Condition{
				condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLedgerUnreadable),
				condition(v1alpha1.ConditionRevocationCurrent, metav1.ConditionFalse, v1alpha1.ReasonCRLTooLarge),
			}
			a.Status.NotAfter = nil
		})}}, []string{
			`object_problem{kind="CertificateAuthority",namespace="shop",name="unreadable",condition="Ready",reason="LedgerUnreadable"} 1`,
			`object_problem{kind="CertificateAuthority",namespace="shop",name="unreadable",condition="RevocationCurrent",reason="CRLTooLarge"} 1`,
		}},
		"what is no object of ours": {world{clients: store{"text", nil, endpoint("shop", "gateway-edge")}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := scrape(t, test.world.metrics(t, NewCounters()))
			got := slices.DeleteFunc(told(text), func(line string) bool { return strings.HasPrefix(line, "crl_size_bytes") })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatHandshakesShowedIsTold(t *testing.T) {
	only := func(e probe.Expectation, f probe.Finding) func(*proving.Result) {
		return func(p *proving.Result) { p.Findings = map[probe.Expectation]probe.Finding{e: f} }
	}
	shop := store{endpoint("shop", "gateway-edge", func(e *v1alpha1.MutualTLSEndpoint) { e.Status = v1alpha1.MutualTLSEndpointStatus{} })}
	tests := map[string]struct {
		endpoints store
		proofs    []proving.Result
		want      []string
	}{
		"met": {shop, []proving.Result{proof("shop", "gateway-edge", "istio-system/a", only(probe.AnonymousRefused, probe.Finding{Verdict: probe.Met}))}, []string{
			`probe_replica_reachable{namespace="shop",name="gateway-edge",replica="istio-system/a"} 1`,
			`probe_result{namespace="shop",name="gateway-edge",replica="istio-system/a",expectation="AnonymousRefused"} 1`,
		}},
		"failed": {shop, []proving.Result{proof("shop", "gateway-edge", "istio-system/a", only(probe.AnonymousRefused, probe.Finding{Verdict: probe.Failed, Reason: probe.Accepted}))}, []string{
			`probe_finding{namespace="shop",name="gateway-edge",replica="istio-system/a",expectation="AnonymousRefused",reason="Accepted"} 1`,
			`probe_replica_reachable{namespace="shop",name="gateway-edge",replica="istio-system/a"} 1`,
			`probe_result{namespace="shop",name="gateway-edge",replica="istio-system/a",expectation="AnonymousRefused"} 0`,
		}},
		"unknown": {shop, []proving.Result{proof("shop", "gateway-edge", "istio-system/a", only(probe.ServedLeafCurrent, probe.Finding{Verdict: probe.Unknown, Reason: probe.Unreachable}), func(p *proving.Result) { p.Reachable = false })}, []string{
			`probe_finding{namespace="shop",name="gateway-edge",replica="istio-system/a",expectation="ServedLeafCurrent",reason="Unreachable"} 1`,
			`probe_replica_reachable{namespace="shop",name="gateway-edge",replica="istio-system/a"} 0`,
		}},
		"not tried yet": {shop, []proving.Result{proof("shop", "gateway-edge", "istio-system/a", only(probe.ServedLeafCurrent, probe.Finding{Verdict: probe.Unknown, Reason: probe.Pending}), func(p *proving.Result) { p.Tried, p.Reachable = false, false })}, []string{
			`probe_finding{namespace="shop",name="gateway-edge",replica="istio-system/a",expectation="ServedLeafCurrent",reason="Pending"} 1`,
		}},
		"of a gateway that is gone": {nil, []proving.Result{proof("shop", "gateway-edge", "istio-system/a")}, nil},
		"of a gateway that is being deleted": {store{endpoint("shop", "gateway-edge", func(e *v1alpha1.MutualTLSEndpoint) {
			e.DeletionTimestamp = at(0)
		})}, []proving.Result{proof("shop", "gateway-edge", "istio-system/a")}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{endpoints: test.endpoints, proofs: test.proofs}
			if diff := cmp.Diff(test.want, told(scrape(t, w.metrics(t, NewCounters())))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// cached is a store that changes.
type cached struct{ objects []any }

func (c *cached) List() []any { return c.objects }

func TestWhatIsDeletedHasNoSeriesAtTheNextScrape(t *testing.T) {
	endpoints, clients, authorities := &cached{[]any{endpoint("shop", "gateway-edge")}}, &cached{[]any{client("shop", "billing")}}, &cached{[]any{authority("shop", "default")}}
	w := &world{ledgers: ledgers{"shop/default": ledger(t)}, proofs: []proving.Result{proof("shop", "gateway-edge", "istio-system/a")}}
	m := w.metrics(t, NewCounters())
	demands := &cached{[]any{demand("everywhere")}}
	m.config.Sources.Endpoints, m.config.Sources.Clients, m.config.Sources.Authorities, m.config.Sources.Policies = endpoints, clients, authorities, demands
	for _, delete := range []struct {
		from *cached
		name string
	}{{endpoints, `name="gateway-edge"`}, {clients, `name="billing"`}, {authorities, `name="default"`}, {demands, `policy="everywhere"`}} {
		if text := scrape(t, m); !strings.Contains(text, delete.name) {
			t.Fatalf("no series of %s before it is deleted:\n%s", delete.name, text)
		}
		delete.from.objects = nil
		if text := scrape(t, m); strings.Contains(text, delete.name) {
			t.Errorf("series of %s after it was deleted:\n%s", delete.name, text)
		}
	}
}

// A CRL that nobody renews any more must not look as if it had to be.
func TestAGenerationThatEndedHasNoCRL(t *testing.T) {
	w := &world{authorities: store{authority("shop", "default")}, ledgers: ledgers{"shop/default": ledger(t)}}
	for after, want := range map[time.Duration]bool{0: true, 87599 * time.Hour: true, 87601 * time.Hour: false} {
		m := w.metrics(t, NewCounters())
		taken := m.config.Sources.take(t.Context(), noon.Add(after))
		if got := len(slices.Collect(taken.revocations())) == 1; got != want {
			t.Errorf("the CRL is told of after %s: %t, expected %t", after, got, want)
		}
	}
}

// Too much of one thing leaves room for what matters first, and is told.
func TestOverflow(t *testing.T) {
	sooner := func(c *v1alpha1.ClientCertificate) {
		c.Status.NotAfter, c.Status.RenewalTime = at(time.Hour), at(time.Minute)
	}
	failed := func(p *proving.Result) {
		p.Findings[probe.ServedLeafCurrent] = probe.Finding{Verdict: probe.Failed, Reason: probe.LeafDiffers}
		p.Findings[probe.RevokedRefused] = probe.Finding{Verdict: probe.Unknown, Reason: probe.NotAsked}
	}
	open := func(p *proving.Result) {
		p.Findings[probe.RevokedRefused] = probe.Finding{Verdict: probe.Failed, Reason: probe.Accepted}
		p.Reachable = false
	}
	problem := func(since time.Duration) func(*v1alpha1.ClientCertificate) {
		return func(c *v1alpha1.ClientCertificate) {
			c.Status.NotAfter, c.Status.RenewalTime = nil, nil
			c.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending)}
			c.Status.Conditions[0].LastTransitionTime = *at(since)
		}
	}
	tests := map[string]struct {
		world   world
		metrics string
		want    []string
		dropped map[string]string
	}{
		"certificates": {
			world{limit: 1, clients: store{client("shop", "a"), client("shop", "b", sooner), client("shop", "c")}}, "certificate_",
			[]string{
				`certificate_not_after_timestamp_seconds{kind="Client",namespace="shop",name="b",authority="shop/default"} 1772370000`,
				`certificate_renewal_timestamp_seconds{kind="Client",namespace="shop",name="b",authority="shop/default"} 1772366460`,
			},
			map[string]string{"certificate_not_after_timestamp_seconds": "2", "certificate_renewal_timestamp_seconds": "2"},
		},
		"findings": {
			world{limit: 1, endpoints: store{endpoint("shop", "e")}, proofs: []proving.Result{proof("shop", "e", "i/a"), proof("shop", "e", "i/b", failed), proof("shop", "e", "i/c", open)}}, "probe_",
			[]string{
				`probe_finding{namespace="shop",name="e",replica="i/c",expectation="RevokedRefused",reason="Accepted"} 1`,
				`probe_replica_reachable{namespace="shop",name="e",replica="i/c"} 0`,
				`probe_result{namespace="shop",name="e",replica="i/c",expectation="RevokedRefused"} 0`,
			},
			map[string]string{"probe_result": "28", "probe_finding": "2", "probe_replica_reachable": "2"},
		},
		"problems": {
			world{limit: 2, clients: store{client("shop", "a", problem(0)), client("shop", "b", problem(-time.Hour)), client("shop", "c", problem(-time.Minute))}}, "object_problem",
			[]string{
				`object_problem{kind="ClientCertificate",namespace="shop",name="b",condition="Ready",reason="Pending"} 1`,
				`object_problem{kind="ClientCertificate",namespace="shop",name="c",condition="Ready",reason="Pending"} 1`,
			},
			map[string]string{"object_problem": "1"},
		},
		"as many as there may be": {
			world{limit: 3, clients: store{client("shop", "a"), client("shop", "b"), client("shop", "c")}}, "nothing", nil, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := scrape(t, test.world.metrics(t, NewCounters()))
			got := slices.DeleteFunc(told(text), func(line string) bool { return !strings.HasPrefix(line, test.metrics) })
			if diff := cmp.Diff(test.want, got, cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, f := range test.world.metrics(t, NewCounters()).facts {
				for _, m := range f.metrics() {
					dropped := "0"
					if n, ok := test.dropped[strings.TrimPrefix(m.name, "sallyport_")]; ok {
						dropped = n
					}
					if line := `sallyport_metrics_dropped_series{metric="` + m.name + `"} ` + dropped + "\n"; !strings.Contains(text, line) {
						t.Errorf("the scrape lacks %s", line)
					}
				}
			}
		})
	}
}

// Whoever does not lead knows nothing of objects, and must not look as if he did.
func TestOnlyTheLeaderTellsOfObjects(t *testing.T) {
	w := fleet(t)
	w.follower = true
	want := `# HELP sallyport_agent_leader Whether this replica of the agent holds the lease: 1 if it does, else 0. Only the leader tells of certificates and gateways.
# TYPE sallyport_agent_leader gauge
sallyport_agent_leader 0
# HELP sallyport_build_info What is running; always 1.
# TYPE sallyport_build_info gauge
sallyport_build_info{goversion="go1",revision="abc",version="v1"} 1
`
	if diff := cmp.Diff(want, scrape(t, w.metrics(t, NewCounters()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is written by hand is what Prometheus wants to read: no two series of the same
// labels, and the labels that each metric says it has.
func TestAScrapeIsWellFormed(t *testing.T) {
	for name, w := range map[string]*world{"a fleet": fleet(t), "one of everything": everything(t), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			m := w.metrics(t, NewCounters())
			text := scrape(t, m)
			all, err := families(t, text).Gather()
			if err != nil {
				t.Fatal(err)
			}
			declared := declared(m)
			for _, family := range all {
				labels, ours := declared[family.GetName()]
				for _, series := range family.GetMetric() {
					if diff := cmp.Diff(labels, labelNames(series)); ours && diff != "" {
						t.Fatalf("labels of %s (-declared +written):\n%s", family.GetName(), diff)
					}
				}
			}
			if _, err := (prometheus.Gatherers{families(t, text)}).Gather(); err != nil {
				t.Error(err)
			}
			if name == "a fleet" {
				return // promlint compares every series with every other
			}
			if problems, err := testutil.GatherAndLint(families(t, text)); err != nil || len(problems) > 0 {
				t.Errorf("lint: %v, %v", problems, err)
			}
		})
	}
}

// declared are the labels of the metrics that are written by hand.
func declared(m *Metrics) map[string][]string {
	labels := map[string][]string{m.dropped.name: m.dropped.labels}
	for _, f := range m.facts {
		for _, each := range f.metrics() {
			labels[each.name] = each.labels
		}
	}
	return labels
}

func labelNames(series *dto.Metric) []string {
	names := []string{}
	for _, label := range series.GetLabel() {
		names = append(names, label.GetName())
	}
	return names
}

func TestCountersCount(t *testing.T) {
	c := NewCounters()
	c.Issued(Server, rotate.ReasonDue)
	c.Issued(CA, rotate.ReasonMissing)
	c.Conflict()
	c.Repaired(v1alpha1.ObjectAPIRule)
	c.Probed(probe.Refused, 7*time.Millisecond)
	text := scrape(t, (&world{}).metrics(t, c))
	for _, line := range []string{
		`sallyport_certificates_issued_total{kind="Server",reason="Due"} 1`,
		`sallyport_certificates_issued_total{kind="CA",reason="Missing"} 1`,
		`sallyport_certificates_issued_total{kind="CRL",reason="RevocationChanged"} 0`,
		`sallyport_certificates_issued_total{kind="Client",reason="KeyChanged"} 0`,
		`sallyport_write_conflicts_total 1`,
		`sallyport_gateway_repairs_total{kind="Gateway"} 0`,
		`sallyport_gateway_repairs_total{kind="APIRule"} 1`,
		`sallyport_probe_duration_seconds_bucket{outcome="Refused",le="0.005"} 0`,
		`sallyport_probe_duration_seconds_bucket{outcome="Refused",le="0.01"} 1`,
		`sallyport_probe_duration_seconds_count{outcome="Accepted"} 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	var none *Counters
	none.Issued(Server, rotate.ReasonDue)
	none.Conflict()
	none.Repaired(v1alpha1.ObjectGateway)
	none.Probed(probe.Accepted, time.Second)
}
