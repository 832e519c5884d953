package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fleet is some of everything, and what it comes to.
func fleet(round string) (manifest string, done func(context.Context) error) {
	s := firstIssuance(5)
	var manifests strings.Builder
	for n := range 5 {
		name := fmt.Sprintf("%s-%d", round, n)
		manifests.WriteString("---" + everythingYAML(name))
	}
	return manifests.String(), func(ctx context.Context) error {
		var errs []error
		for n := range 5 {
			errs = append(errs, s.done(ctx, fmt.Sprintf("%s-%d", round, n)))
		}
		return errors.Join(errs...)
	}
}

// isWatch reports whether a request is for a stream of events.
func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") == "true" }

// With three of ten calls answered by what a busy API server says, everything comes to
// the same end, and the agent does not make it worse: it calls three times as often as
// without, at most.
func TestTheAPIServerRefusesThreeOfTenCalls(t *testing.T) {
	h := record(t)
	a := startAgent(t)
	a.settle(t)
	calls := map[string]int{}
	for _, round := range []string{"calm", "stormy"} {
		manifest, done := fleet(round)
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same storm in each run
		a.proxy.set(func(r *http.Request) fault {
			if round == "calm" || isWatch(r) || random.IntN(10) >= 3 {
				return pass
			}
			a.proxy.status = []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError}[random.IntN(3)]
			return refuse
		})
		apply(t, manifest)
		eventually(t, "the end state of the "+round+" round", done)
		calls[round] = a.proxy.count(pass) + a.proxy.count(refuse)
		if refused := a.proxy.count(refuse); round == "stormy" && refused < 10 {
			t.Errorf("%d calls were refused: there was no storm", refused)
		}
		a.proxy.set(nil)
	}
	if calls["stormy"] > 3*calls["calm"] {
		t.Errorf("%d calls in the storm, %d without: more than three times as many", calls["stormy"], calls["calm"])
	}
	h.check(t)
	t.Logf("calls: %v", calls)
}

// A call that is never answered holds up what it is for, and for no longer than a
// pass may take.
func TestTheAPIServerDoesNotAnswer(t *testing.T) {
	h := record(t)
	a := startAgent(t)
	a.settle(t)
	manifest, done := fleet("silent")
	var calls atomic.Int32
	a.proxy.set(func(r *http.Request) fault {
		if isWatch(r) || !isWrite(r) {
			return pass
		}
		// Four at most: were they to hit one worker only, it would wait for all of them.
		if n := calls.Add(1); n%10 == 1 && n < 40 {
			return mute
		}
		return pass
	})
	apply(t, manifest)
	eventually(t, "the end state with four writes unanswered", done)
	if a.proxy.count(mute) == 0 {
		t.Error("every call was answered: nothing was shown")
	}
	h.check(t)
	t.Logf("%d of %d writes were not answered", a.proxy.count(mute), calls.Load())
}

// settle waits until the agent works.
func (a *agent) settle(t *testing.T) {
	t.Helper()
	name := a.Name() + "-settled"
	apply(t, authorityYAML(name))
	eventually(t, "the agent's first work", func(ctx context.Context) error { return ready(ctx, "CertificateAuthority", clients, name) })
}

// A namespace that is deleted and made again in the middle of it all gets another CA:
// whoever has its name later does not get its keys.
func TestANamespaceIsDeletedAndMadeAgain(t *testing.T) {
	h := record(t)
	startAgent(t)
	const ns = "again"
	var uids, cas []string
	for range 2 {
		apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")
		apply(t, gatewayYAML(ns, "edge", ""))
		eventually(t, "the Gateway's certificate", func(ctx context.Context) error {
			return errors.Join(ready(ctx, "MutualTLSEndpoint", ns, "gateway-edge"), served(ctx, ns, "edge"))
		})
		namespace := &corev1.Namespace{}
		if err := get(t.Context(), namespace, "", ns); err != nil {
			t.Fatal(err)
		}
		ca, err := secret(t.Context(), ingress, ns+".edge.mtls-cacert")
		if err != nil {
			t.Fatal(err)
		}
		uids, cas = append(uids, string(namespace.UID)), append(cas, string(ca.Data["ca.crt"]))
		empty(t, ns)
	}
	if uids[0] == uids[1] || cas[0] == cas[1] {
		t.Errorf("the namespaces are %v, and their CAs are the same: %t", uids, cas[0] == cas[1])
	}
	h.check(t)
}

// empty does what the namespace controller does: it deletes what is in a Namespace,
// and the Namespace.
func empty(t *testing.T, name string) {
	t.Helper()
	for _, kind := range []string{"networking.istio.io/v1/Gateway", "mtls.sallyport.dev/v1alpha1/MutualTLSEndpoint", "mtls.sallyport.dev/v1alpha1/CertificateAuthority", "v1/ConfigMap"} {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion(path.Dir(kind))
		o.SetKind(path.Base(kind))
		if err := stack.Client().DeleteAllOf(t.Context(), o, client.InNamespace(name)); err != nil {
			t.Fatal(err)
		}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := stack.Client().Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	if err := get(t.Context(), namespace, "", name); err != nil {
		t.Fatal(err)
	}
	namespace.Spec.Finalizers = nil
	if err := stack.Client().SubResource("finalize").Update(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the Namespace", func(ctx context.Context) error {
		if err := get(ctx, &corev1.Namespace{}, "", name); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
}
