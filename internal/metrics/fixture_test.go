package metrics

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/intact"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/internal/startup"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// store is a cache of one kind.
type store []any

func (s store) List() []any { return s }

// ledgers are by <namespace>/<name>; the error is that of one that cannot be read.
type ledgers map[string]rotate.Ledger

var errUnreadable = errors.New("the ledger cannot be read")

func (l ledgers) CachedLedger(_ context.Context, a *v1alpha1.CertificateAuthority) (rotate.Ledger, error) {
	if a.Name == "unreadable" {
		return rotate.Ledger{}, errUnreadable
	}
	return l[a.Namespace+"/"+a.Name], nil
}

// world is what an agent knows.
type world struct {
	endpoints, clients, authorities store
	policies                        store
	admission                       []intact.Problem
	ledgers                         ledgers
	proofs                          []proving.Result
	limit                           int
	follower                        bool
	libraries                       prometheus.Gatherer
}

func (w *world) metrics(tb testing.TB, counters *Counters) *Metrics {
	tb.Helper()
	if w.libraries == nil {
		w.libraries = prometheus.NewRegistry()
	}
	m, err := New(Config{
		Build:     startup.Build{Version: "v1", Revision: "abc", GoVersion: "go1"},
		Leads:     func() bool { return !w.follower },
		Counters:  counters,
		Sources:   Sources{Endpoints: w.endpoints, Clients: w.clients, Authorities: w.authorities, Policies: w.policies, Ledgers: w.ledgers, Admission: func() []intact.Problem { return w.admission }, Proofs: func() []proving.Result { return w.proofs }},
		Libraries: w.libraries, Clock: testclock.NewFakePassiveClock(noon), Limit: w.limit,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }

// ledger is that of a new authority, with a CRL.
func ledger(tb testing.TB) rotate.Ledger {
	tb.Helper()
	s := rotate.AuthoritySettings{
		Name: "shop/default", RootLifetime: 87600 * time.Hour, RootAlgorithm: pki.ECDSAP256,
		Revocation: true, CRLValidity: 720 * time.Hour, CRLRefresh: 120 * time.Hour, ProbeIdentity: "spiffe://example.com/sallyport/probe",
	}
	l, err := rotate.MaterializeAuthority(rotate.Ledger{}, rotate.PlanAuthority(rotate.Ledger{}, s, rotate.Evidence{}, noon), s, noon)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func authority(namespace, name string, change ...func(*v1alpha1.CertificateAuthority)) *v1alpha1.CertificateAuthority {
	a := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	a.Spec.Source.Type = v1alpha1.SourceSelfSigned
	a.Status.NotAfter = at(87600 * time.Hour)
	for _, apply := range change {
		apply(a)
	}
	return a
}

func client(namespace, name string, change ...func(*v1alpha1.ClientCertificate)) *v1alpha1.ClientCertificate {
	c := &v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.AuthorityRef.Name = "default"
	c.Status.NotAfter, c.Status.RenewalTime = at(2160*time.Hour), at(1440*time.Hour)
	c.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonIssued)}
	for _, apply := range change {
		apply(c)
	}
	return c
}

func endpoint(namespace, name string, change ...func(*v1alpha1.MutualTLSEndpoint)) *v1alpha1.MutualTLSEndpoint {
	e := &v1alpha1.MutualTLSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	e.Status.Authorities = []v1alpha1.EndpointAuthority{{Namespace: namespace, Name: "default"}, {Namespace: "platform", Name: "other"}}
	e.Status.ServerCertificate = &v1alpha1.ServedCertificate{Serial: "7f", NotAfter: *at(720 * time.Hour), RenewalTime: at(480 * time.Hour)}
	e.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)}
	for _, apply := range change {
		apply(e)
	}
	return e
}

// optional has callers come to an endpoint, some without a certificate.
func optional(e *v1alpha1.MutualTLSEndpoint) {
	e.Status.Mode = v1alpha1.ModeOptional
	e.Status.ClientCertificates = &v1alpha1.ClientCertificateUse{CountedSince: *at(-time.Hour), Handshakes: 90, WithCertificate: 70, LastWithoutTime: at(-time.Hour)}
}

// demand is a policy with an exception that counts and one that has ended.
func demand(name string) *v1alpha1.MutualTLSPolicy {
	p := &v1alpha1.MutualTLSPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Action = v1alpha1.ActionWarn
	p.Spec.Exceptions = []v1alpha1.PolicyException{
		{Kind: v1alpha1.ObjectGateway, Namespace: "shop", Name: "edge", ExpirationTime: metav1.Unix(1772369999, 0)},
		{Kind: v1alpha1.ObjectAPIRule, Namespace: "shop", Name: "edge", ExpirationTime: metav1.NewTime(noon.Add(-time.Hour))},
	}
	p.Status.Matched, p.Status.Violating = ptr.To[int32](7), ptr.To[int32](2)
	p.Status.Reasons = []v1alpha1.ReasonCount{{Reason: "HostBypass", Count: 2}, {Reason: "Mode", Count: 1}, {Reason: "somebody else's", Count: 9}}
	p.Status.Optional = []v1alpha1.ReasonCount{{Reason: v1alpha1.ReasonCallersHaveCertificates, Count: 3}, {Reason: "somebody else's", Count: 9}}
	p.Status.EndedExceptions = []v1alpha1.EndedException{{Kind: v1alpha1.ObjectAPIRule, Namespace: "shop", Name: "edge"}}
	return p
}

func condition(name string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(noon)}
}

// proof is of a replica that met everything.
func proof(namespace, name, replica string, change ...func(*proving.Result)) proving.Result {
	p := proving.Result{Endpoint: types.NamespacedName{Namespace: namespace, Name: name}, Replica: replica, Tried: true, Reachable: true, Findings: map[probe.Expectation]probe.Finding{}}
	for _, e := range probe.Expectations() {
		p.Findings[e] = probe.Finding{Verdict: probe.Met}
	}
	for _, apply := range change {
		apply(&p)
	}
	return p
}

// fleet is 10,000 callers and 1,000 gateways in two replicas, in 100 namespaces with an
// authority each.
func fleet(tb testing.TB) *world {
	tb.Helper()
	w := &world{ledgers: ledgers{}}
	one := ledger(tb)
	for n := range 100 {
		namespace := fmt.Sprintf("team-%02d", n)
		w.authorities = append(w.authorities, authority(namespace, "default"))
		w.ledgers[namespace+"/default"] = one
		for i := range 100 {
			apart := time.Duration(n*100+i) * 97 * time.Second // no two end at a time
			w.clients = append(w.clients, client(namespace, fmt.Sprintf("caller-%02d", i), func(c *v1alpha1.ClientCertificate) {
				c.Status.NotAfter, c.Status.RenewalTime = at(2160*time.Hour-apart), at(1440*time.Hour-apart)
			}))
		}
		for i := range 10 {
			name := fmt.Sprintf("gateway-edge-%d", i)
			w.endpoints = append(w.endpoints, endpoint(namespace, name))
			for _, pod := range []string{"x7k2p", "q9d4z"} {
				w.proofs = append(w.proofs, proof(namespace, name, "istio-system/istio-ingressgateway-5d9c7b6f8-"+pod))
			}
		}
	}
	return w
}

// partner has an authority trust the CA of another, and one that cannot be read.
func partner(a *v1alpha1.CertificateAuthority) {
	a.Status.TrustedCertificates = []v1alpha1.TrustedCertificateStatus{
		{Name: "partner", NotAfter: at(10 * time.Hour), RenewalTime: at(9 * time.Hour)}, {Name: "garbage", LeftOut: "no block found"},
	}
	a.Status.Conditions = append(a.Status.Conditions, condition(v1alpha1.ConditionTrustedCertificatesCurrent, metav1.ConditionFalse, v1alpha1.ReasonLeftOut))
}

// everything is a world of which every metric has a series.
func everything(tb testing.TB) *world {
	tb.Helper()
	return &world{
		endpoints: store{endpoint("shop", "gateway-edge", optional)}, authorities: store{authority("shop", "default", partner)}, ledgers: ledgers{"shop/default": ledger(tb)},
		clients: store{client("shop", "billing", func(c *v1alpha1.ClientCertificate) {
			c.Status.Conditions[0].Status, c.Status.PreviousNotAfter = metav1.ConditionFalse, at(time.Hour)
		})},
		policies: store{demand("everywhere")}, admission: []intact.Problem{{Kind: "ValidatingAdmissionPolicy", Name: "sallyport-gateway", Reason: intact.Changed}},
		proofs: []proving.Result{proof("shop", "gateway-edge", "istio-system/a", func(p *proving.Result) {
			p.Findings[probe.AnonymousRefused] = probe.Finding{Verdict: probe.Failed, Reason: probe.Accepted}
		})},
	}
}
