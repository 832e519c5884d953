package bypass

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testpki"
)

// tried is a shape in its place: what it stands beside, and who calls it.
type tried struct {
	shape
	id, host string
	friend   *caller
	callers  []*caller
}

// fill gives a manifest the names of the shape.
func (s tried) fill(manifest string) string {
	return strings.NewReplacer("NAME", s.id, "DOMAIN", s.id+".example.net").Replace(manifest)
}

// gateway is the Gateway that asks for mutual TLS.
func (s tried) gateway(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return parse(t, s.fill(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: NAME, namespace: bad, annotations: {mtls.sallyport.dev/mode: mutual}}
spec: {selector: {istio: ingressgateway}, servers: [`+s.servers+`]}
`))[0]
}

// surroundings are the route, and the Gateway that was there before.
func (s tried) surroundings() string {
	gateways := []string{"bad/" + s.id}
	if s.named {
		gateways = append(gateways, "older/"+s.id)
	}
	manifest := routeYAML("bad", s.id, s.host, gateways...)
	if s.older != "" {
		manifest += s.fill(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: NAME, namespace: older}
spec: {selector: {istio: ingressgateway}, servers: [` + s.older + `]}
`)
	}
	return manifest
}

// getIn are the callers that reach the workload and must not, and whether its own do.
func (s tried) getIn(t *testing.T) (bypassing []string, served bool) {
	t.Helper()
	hosts := []string{s.host, "blog." + s.id + ".example.net"}
	all := dimensions{ports: []string{portHTTPS, portHTTP}, snis: hosts, requests: names(hosts...), callers: s.callers, sessions: []*session{anew(tls.VersionTLS13)}}
	outcomes := run(t, slices.Concat(all.cells(), all.plain()))
	who := map[string]bool{}
	for _, o := range (edge{routes: []route{{name: s.id, authority: s.friend.authority}}}).bypasses(outcomes) {
		who[o.who().name] = true
	}
	served = slices.ContainsFunc(outcomes, func(o outcome) bool { return o.caller == s.friend && o.sni == s.host && o.verdict == reached+s.id })
	return slices.Sorted(maps.Keys(who)), served
}

// place makes what the shapes stand beside. Istio tells ages by the second: what is
// written after it is younger.
func place(t *testing.T) []tried {
	t.Helper()
	root := handMade(t, "bad", "*.example.net")
	handMade(t, "worse", "*.example.net")
	friend := callerWith("a friend", "bad", root.Leaf(t, "friend", testpki.Around(time.Now())))
	callers := []*caller{friend, nobody, stranger(t)}
	var all []tried
	for i, s := range shapes {
		id := fmt.Sprintf("shape-%d", i)
		one := tried{shape: s, id: id, host: "pay." + id + ".example.net", friend: friend, callers: callers}
		apply(t, one.surroundings())
		all = append(all, one)
	}
	begun := time.Now()
	eventually(t, "the next second", func(context.Context) error {
		if time.Since(begun) < time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	return all
}

// answered holds admission to its answer: a denial that says so, or none.
func (s tried) answered(t *testing.T, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the answer %q", want), func(ctx context.Context) error {
		err := stack.Client().Create(ctx, s.gateway(t), client.DryRunAll)
		accepted := err == nil || apierrors.IsAlreadyExists(err) // which is asked last
		switch {
		case accepted && want != "":
			return errors.New("it is accepted")
		case !accepted && (want == "" || !strings.Contains(err.Error(), want)):
			return err
		}
		return nil
	})
}

// judged holds what is accepted to letting in whom it may, and the known exceptions.
func (s tried) judged(t *testing.T) {
	t.Helper()
	s.answered(t, s.webhook)
	if s.webhook != "" {
		return
	}
	if err := stack.Apply(t.Context(), s.gateway(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its own callers get in, and nobody else", func(context.Context) error {
		bypassing, served := s.getIn(t)
		if diff := cmp.Diff(s.despite, bypassing); diff != "" || !served {
			return fmt.Errorf("its own callers get in: %t; others (-expected +found):\n%s", served, diff)
		}
		return nil
	})
}

// withoutWebhook has nobody ask the webhook until the test ends. Of the first shape the
// policies say what the webhook would have put right.
func withoutWebhook(t *testing.T, first tried) {
	t.Helper()
	take(t, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "sallyport"}})
	first.answered(t, first.policies)
}

// withoutPolicies has nobody refuse anything until the test ends, nor put right what is
// stored, as the agent does.
func withoutPolicies(t *testing.T, first tried) {
	t.Helper()
	for _, agent := range installed.Agents {
		if err := agent.Process.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := agent.Process.Start(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"sallyport-gateway", "sallyport-gateway-keys"} {
		take(t, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	first.answered(t, "")
}

// take takes an object away until the test ends.
func take(t *testing.T, object client.Object) {
	t.Helper()
	if err := stack.Client().Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		object.SetResourceVersion("")
		object.SetUID("")
		if err := stack.Client().Create(context.WithoutCancel(t.Context()), object); err != nil {
			t.Error(err)
		}
	})
}

// stored stores the Gateways as they are.
func stored(t *testing.T, all []tried) {
	t.Helper()
	for _, s := range all {
		if err := stack.Apply(t.Context(), s.gateway(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// found is what the matrix says of a shape.
type found struct {
	Open []string // who gets in and must not
	Lost bool     // whether its own callers do not get in
}

// What is known to be bad is refused where it can be seen, by the webhook and by the
// policies without it, and lets nobody in who must not where it is stored all the same.
// And when nobody refuses it any more, the matrix finds who gets in.
func TestTheMatrixSeesWhatAdmissionRefuses(t *testing.T) {
	all := place(t)
	t.Cleanup(func() {
		if err := installed.Ready(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for _, s := range all {
		t.Run(s.name+", where everything judges", s.judged)
	}
	withoutWebhook(t, all[0])
	for _, s := range all {
		t.Run(s.name+", where the policies judge", func(t *testing.T) { s.answered(t, s.policies) })
	}
	withoutPolicies(t, all[0])
	stored(t, all)
	want, got := map[string]found{}, map[string]found{}
	for _, s := range all {
		want[s.name] = found{s.open, s.lost}
	}
	// All at once, because the one that is lost looks the same before anything arrived.
	eventually(t, "the matrix finds who gets in, where nobody judges", func(context.Context) error {
		for _, s := range all {
			open, served := s.getIn(t)
			got[s.name] = found{open, !served}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-expected +found):\n%s", diff)
		}
		return nil
	})
	for _, s := range all {
		t.Logf("%s: %q get in who must not", s.name, got[s.name].Open)
	}
}
