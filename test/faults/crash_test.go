package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// scenario is something the agent does in several writes.
type scenario struct {
	// prepare makes what the scenario begins with, with nothing in the way.
	prepare func(t *testing.T, round string)
	// act asks for something.
	act func(t *testing.T, round string)
	// done says what is missing of the end state, which is that of a round in which
	// nobody died.
	done func(ctx context.Context, round string) error
	// issued is how often each Secret of the round got a new certificate, by name.
	issued func(round string) map[string]int
	// writes is how many the scenario takes at least: a test that dies nowhere shows
	// nothing.
	writes int
	// made is what a round leaves behind, in the order in which it is taken away; every agent
	// that starts later would have to go through it. Nil where nothing is.
	made func(round string) []*unstructured.Unstructured
}

// Whichever write the agent dies at, before the API server heard of it or after, the
// next one brings about the same end state by itself, no Secret is ever half written,
// and nothing is issued twice.
func TestTheAgentDiesAtEveryWrite(t *testing.T) {
	scenarios := map[string]scenario{
		"first":   firstIssuance(2),
		"again":   reissue(),
		"revoked": revocation(),
		"managed": managedGateway(),
		"deleted": deletion(),
		"webhook": lostWebhookCertificate(),
		"rotated": webhookRotation(),
		"next":    authorityRotation(),
		"renewed": renewal(),
	}
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			h := record(t)
			a := startAgent(t, "--leader-elect=false", "--webhook-ca-overlap=200ms")
			n, deaths := 1, 0
			for died := true; died; n++ {
				died = false
				for suffix, strike := range map[string]fault{"before": dieBefore, "after": dieAfter} {
					if s.die(t, a, h, fmt.Sprintf("%s-%d-%s", name, n, suffix), n, strike) {
						died = true
						deaths++
					}
				}
			}
			h.check(t)
			if deaths < 2*s.writes {
				t.Errorf("the agent died %d times, expected at least %d: before and after each write", deaths, 2*s.writes)
			}
			t.Logf("died %d times, %d revisions of Secrets", deaths, h.seen())
		})
	}
}

// die plays one round, and reports whether the agent died in it.
func (s scenario) die(t *testing.T, a *agent, h *history, round string, n int, strike fault) bool {
	t.Helper()
	if s.prepare != nil {
		s.prepare(t, round)
	}
	a.proxy.set(at(n, strike))
	s.act(t, round)
	died := a.diesBefore(t, func(ctx context.Context) error { return s.done(ctx, round) })
	a.proxy.set(nil)
	if died {
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end state of round "+round, func(ctx context.Context) error { return s.done(ctx, round) })
	if s.made != nil {
		for _, o := range s.made(round) {
			a.remove(t, o)
		}
	}
	if s.issued == nil {
		return died
	}
	for name, want := range s.issued(round) {
		eventually(t, "the history of "+name, func(context.Context) error {
			if got := h.of(name); len(got) != want {
				return fmt.Errorf("round %s: it held the certificates %v, expected %d", round, got, want)
			}
			return nil
		})
	}
	return died
}

// named is an object of which nothing else matters.
func named(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func gateway(namespace, name string) *unstructured.Unstructured {
	return named("networking.istio.io/v1", "Gateway", namespace, name)
}

// ofOurs is an object of one of the product's own kinds.
func ofOurs(kind, namespace, name string) *unstructured.Unstructured {
	return named("mtls.sallyport.dev/v1alpha1", kind, namespace, name)
}

// everything is what everythingYAML makes.
func everything(name string) []*unstructured.Unstructured {
	return []*unstructured.Unstructured{gateway(clients, name), ofOurs("ClientCertificate", clients, name), ofOurs("CertificateAuthority", clients, name)}
}

// remove deletes an object, and waits until the agent has done what that asks of it: nothing of
// a Gateway is used any more. An agent that dies so late that the round was over is started again.
func (a *agent) remove(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	if err := client.IgnoreNotFound(stack.Client().Delete(t.Context(), o)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of "+o.GetKind()+" "+o.GetName(), func(ctx context.Context) error {
		select {
		case <-a.Done():
			if err := a.Start(); err != nil {
				t.Fatal(err)
			}
		default:
		}
		if err := get(ctx, o.DeepCopy(), o.GetNamespace(), o.GetName()); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		if o.GetKind() == "Gateway" {
			return unreferenced(ctx, o.GetNamespace(), o.GetName())
		}
		return nil
	})
}

// unreferenced says which Secret of a Gateway is not marked as one that nobody needs.
func unreferenced(ctx context.Context, namespace, gateway string) error {
	var errs []error
	for _, suffix := range []string{".mtls", ".mtls-cacert"} {
		s, err := secret(ctx, ingress, namespace+"."+gateway+suffix)
		if err == nil && s.Annotations["mtls.sallyport.dev/unreferenced-since"] == "" {
			err = fmt.Errorf("Secret %s is not marked", s.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lingering is how long writes may still come once the end state is there: statuses
// that count lag behind on purpose.
const lingering = 800 * time.Millisecond

// diesBefore waits for the agent's death; false if it reaches the end state and goes
// on living.
func (a *agent) diesBefore(t *testing.T, done func(context.Context) error) bool {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var reached time.Time
	for {
		select {
		case <-a.Done():
			return true
		case <-deadline.C:
			t.Fatalf("the agent neither died nor brought about the end state: %v", done(t.Context()))
		case now := <-ticker.C:
			switch {
			case done(t.Context()) != nil:
				reached = time.Time{}
			case reached.IsZero():
				reached = now
			case now.Sub(reached) > lingering:
				return false
			}
		}
	}
}

func gatewayYAML(namespace, name, more string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %[2]s, namespace: %[1]s, annotations: {mtls.sallyport.dev/mode: mutual%[3]s}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["%[2]s.example.com"]
`, namespace, name, more)
}

func authorityYAML(name string) string {
	return fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: %s, namespace: %s}
spec: {source: {type: SelfSigned}}
`, name, clients)
}

// everythingYAML is an authority, a Gateway under it and a caller.
func everythingYAML(name string) string {
	return authorityYAML(name) + "---" + gatewayYAML(clients, name, ", mtls.sallyport.dev/authorities: "+name) + fmt.Sprintf(`---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: %[2]s, namespace: %[1]s}
spec: {authorityRef: {name: %[2]s}, secretName: %[2]s}
`, clients, name)
}

// firstIssuance is an authority, a Gateway under it and a caller, all at once. Each write of
// the caller's Secret that fails may cost one more serial, up to so many.
func firstIssuance(mostSerials int) scenario {
	return scenario{
		act: func(t *testing.T, round string) { apply(t, everythingYAML(round)) },
		done: func(ctx context.Context, round string) error {
			return errors.Join(
				ready(ctx, "CertificateAuthority", clients, round),
				ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round),
				ready(ctx, "ClientCertificate", clients, round),
				served(ctx, clients, round),
				calling(ctx, round, mostSerials),
				oneGeneration(ctx, round),
			)
		},
		issued: func(round string) map[string]int {
			return map[string]int{serverSecret(clients, round): 1, clients + "/" + round: 1}
		},
		writes: 9,
		made:   everything,
	}
}

// reissue is a server certificate that has to be replaced.
func reissue() scenario {
	return scenario{
		prepare: func(t *testing.T, round string) {
			apply(t, gatewayYAML(clients, round, ""))
			eventually(t, "the first certificate of "+round, func(ctx context.Context) error {
				return errors.Join(ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round), served(ctx, clients, round))
			})
		},
		act: func(t *testing.T, round string) {
			apply(t, gatewayYAML(clients, round, ", mtls.sallyport.dev/key-algorithm: ECDSA-P384"))
		},
		done: func(ctx context.Context, round string) error {
			pair, err := storedPair(ctx, clients, round)
			if err == nil && pair.Key().Algorithm() != pki.ECDSAP384 {
				err = fmt.Errorf("the key is %s", pair.Key().Algorithm())
			}
			return errors.Join(err, ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round), served(ctx, clients, round))
		},
		issued: func(round string) map[string]int { return map[string]int{serverSecret(clients, round): 2} },
		writes: 2,
		made: func(round string) []*unstructured.Unstructured {
			return []*unstructured.Unstructured{gateway(clients, round)}
		},
	}
}

// revocation is a caller who must not be accepted any more, wherever the agent dies.
func revocation() scenario {
	serials := map[string]pki.Serial{} // of the caller's certificate, by round
	return scenario{
		prepare: func(t *testing.T, round string) {
			apply(t, everythingYAML(round))
			eventually(t, "the certificates of "+round, func(ctx context.Context) error { return firstIssuance(2).done(ctx, round) })
			s, err := secret(t.Context(), clients, round)
			if err != nil {
				t.Fatal(err)
			}
			pair, err := pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"])
			if err != nil {
				t.Fatal(err)
			}
			serials[round] = pair.Leaf().Serial()
		},
		act: func(t *testing.T, round string) {
			c := ofOurs("ClientCertificate", clients, round)
			if err := get(t.Context(), c, clients, round); err != nil {
				t.Fatal(err)
			}
			patch := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"revocation": {"reason": "KeyCompromise"}}}`))
			if err := stack.Client().Patch(t.Context(), c, patch); err != nil {
				t.Fatal(err)
			}
		},
		done: func(ctx context.Context, round string) error {
			s, err := secret(ctx, ingress, clients+"."+round+".mtls-cacert")
			if err != nil {
				return err
			}
			crls, err := pki.ParseCRLs(s.Data["ca.crl"])
			if err != nil || len(crls) != 1 {
				return fmt.Errorf("%d CRLs: %w", len(crls), err)
			}
			if !crls[0].Lists(serials[round]) {
				return errors.New("the CRL at the edge does not list it")
			}
			return errors.Join(ready(ctx, "CertificateAuthority", clients, round), served(ctx, clients, round))
		},
		issued: func(round string) map[string]int {
			return map[string]int{serverSecret(clients, round): 1, clients + "/" + round: 1}
		},
		writes: 3,
		made:   everything,
	}
}

// managedGateway is all that an APIRule needs, in a namespace that has nothing yet.
func managedGateway() scenario {
	return scenario{
		act: func(t *testing.T, round string) {
			apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: gateway.kyma-project.io/v2
kind: APIRule
metadata: {name: orders, namespace: %[1]s, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  hosts: ["%[1]s.example.com"]
  gateway: %[1]s/orders-mtls
  service: {name: orders, port: 80}
  rules: [{path: "/*", methods: [GET], noAuth: true}]
`, round))
		},
		done: func(ctx context.Context, round string) error {
			return errors.Join(
				ready(ctx, "CertificateAuthority", round, "default"),
				ready(ctx, "MutualTLSEndpoint", round, "apirule-orders"),
				served(ctx, round, "orders-mtls"),
			)
		},
		issued: func(round string) map[string]int { return map[string]int{serverSecret(round, "orders-mtls"): 1} },
		writes: 7,
		made: func(round string) []*unstructured.Unstructured {
			// Its Gateway is the APIRule's, and nobody collects garbage here.
			return []*unstructured.Unstructured{named("gateway.kyma-project.io/v2", "APIRule", round, "orders"), gateway(round, "orders-mtls"), ofOurs("CertificateAuthority", round, "default")}
		},
	}
}

// deletion is a Gateway that goes: its Secrets are marked to be collected.
func deletion() scenario {
	return scenario{
		prepare: func(t *testing.T, round string) {
			apply(t, gatewayYAML(clients, round, ""))
			eventually(t, "the certificate of "+round, func(ctx context.Context) error { return served(ctx, clients, round) })
		},
		act: func(t *testing.T, round string) {
			if err := stack.Client().Delete(t.Context(), gateway(clients, round)); err != nil {
				t.Fatal(err)
			}
		},
		done:   func(ctx context.Context, round string) error { return unreferenced(ctx, clients, round) },
		issued: func(round string) map[string]int { return map[string]int{serverSecret(clients, round): 1} },
		writes: 2,
	}
}

// lostWebhookCertificate is what the webhook serves and the record of its CA, gone.
func lostWebhookCertificate() scenario {
	gone := map[string]string{} // the serial before, by round
	return scenario{
		prepare: func(t *testing.T, round string) {
			eventually(t, "a webhook that answers", func(ctx context.Context) error { return reviewed(ctx, round) })
			s, err := secret(t.Context(), "sallyport-system", "sallyport-webhook-serving")
			if err != nil {
				t.Fatal(err)
			}
			gone[round] = string(s.UID)
		},
		act: func(t *testing.T, _ string) {
			for _, name := range []string{"sallyport-webhook-ca", "sallyport-webhook-serving"} {
				if err := stack.Client().Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "sallyport-system", Name: name}}); err != nil {
					t.Fatal(err)
				}
			}
		},
		done: func(ctx context.Context, round string) error {
			s, err := secret(ctx, "sallyport-system", "sallyport-webhook-serving")
			if err == nil && string(s.UID) == gone[round] {
				err = errors.New("the old serving certificate is still there")
			}
			_, caErr := secret(ctx, "sallyport-system", "sallyport-webhook-ca")
			return errors.Join(err, caErr, reviewed(ctx, round))
		},
		writes: 2,
	}
}

// reviewed asks the API server to store a Gateway, which only the webhook completes,
// and takes it back: a dry run.
func reviewed(ctx context.Context, round string) error {
	gateway := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"namespace": clients, "name": "dry-" + round, "annotations": map[string]any{"mtls.sallyport.dev/mode": "mutual"}},
		"spec": map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
			"port": map[string]any{"number": int64(443), "name": "https", "protocol": "HTTPS"}, "hosts": []any{"dry-" + round + ".example.com"},
		}}},
	}}
	return stack.Client().Create(ctx, gateway, client.DryRunAll)
}

func ready(ctx context.Context, kind, namespace, name string) error {
	object := ofOurs(kind, namespace, name)
	if err := get(ctx, object, namespace, name); err != nil {
		return err
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Ready" && condition["status"] == "True" && condition["observedGeneration"] != nil {
			return nil
		}
	}
	return fmt.Errorf("%s %s/%s is not ready: %v", kind, namespace, name, conditions)
}

func serverSecret(namespace, gateway string) string {
	return ingress + "/" + namespace + "." + gateway + ".mtls"
}

func storedPair(ctx context.Context, namespace, gateway string) (pki.Pair, error) {
	s, err := secret(ctx, ingress, namespace+"."+gateway+".mtls")
	if err != nil {
		return pki.Pair{}, err
	}
	return pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"])
}

// served says what keeps a gateway pod from serving a Gateway, and what its endpoint
// tells that is not so.
func served(ctx context.Context, namespace, gateway string) error {
	pair, err := storedPair(ctx, namespace, gateway)
	if err != nil {
		return err
	}
	ca, err := secret(ctx, ingress, namespace+"."+gateway+".mtls-cacert")
	if err != nil {
		return err
	}
	now := time.Now()
	bundle, err := pki.ParseBundle(ca.Data["ca.crt"], ca.Data["ca.crl"], now)
	if err != nil {
		return err
	}
	if err := pair.Chain().VerifyServer(bundle, pair.Leaf().X509().DNSNames, now); err != nil {
		return err
	}
	endpoint := "gateway-" + gateway
	if rule, managed := strings.CutSuffix(gateway, "-mtls"); managed {
		endpoint = "apirule-" + rule
	}
	object := ofOurs("MutualTLSEndpoint", namespace, endpoint)
	if err := get(ctx, object, namespace, endpoint); err != nil {
		return err
	}
	if serial, _, _ := unstructured.NestedString(object.Object, "status", "serverCertificate", "serial"); serial != pair.Leaf().Serial().String() {
		return fmt.Errorf("the endpoint tells serial %s, stored is %s", serial, pair.Leaf().Serial())
	}
	return nil
}

// ofAuthority are the Secrets of one part of an authority's ledger.
func ofAuthority(ctx context.Context, part, name string) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := stack.Client().List(ctx, &list, client.InNamespace("sallyport-system"), client.MatchingLabels{"mtls.sallyport.dev/ledger": part}); err != nil {
		return nil, err
	}
	var found []corev1.Secret
	for _, s := range list.Items {
		if strings.HasPrefix(s.Annotations["mtls.sallyport.dev/owner"], "CertificateAuthority/"+clients+"/"+name+"/") {
			found = append(found, s)
		}
	}
	return found, nil
}

// oneGeneration says whether an authority got more than one key.
func oneGeneration(ctx context.Context, name string) error {
	ledgers, err := ofAuthority(ctx, "keys", name)
	if err != nil || len(ledgers) != 1 {
		return errors.Join(err, fmt.Errorf("%d ledgers", len(ledgers)))
	}
	ledger, err := rotate.DecodeLedger(ledgers[0].Data)
	if err == nil && len(ledger.Generations()) != 1 {
		err = fmt.Errorf("%d generations", len(ledger.Generations()))
	}
	return err
}

// calling says what is wrong with the caller's certificate: it has to be the one that
// is told of, and to be on record, with at most the one beside it that was on its way
// when the agent died.
func calling(ctx context.Context, name string, most int) error {
	s, err := secret(ctx, clients, name)
	if err != nil {
		return err
	}
	pair, err := pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"])
	if err != nil {
		return err
	}
	shards, err := ofAuthority(ctx, "serials", name)
	if err != nil || len(shards) != 1 {
		return errors.Join(err, fmt.Errorf("%d shards", len(shards)))
	}
	serials, err := rotate.ParseSerials(shards[0].Data["serials"])
	if err != nil {
		return err
	}
	recorded := false
	for _, issued := range serials.Issued() {
		recorded = recorded || issued.Serial == pair.Leaf().Serial()
	}
	if !recorded || len(serials.Issued()) > most {
		return fmt.Errorf("the serial %s is recorded: %t, among %d", pair.Leaf().Serial(), recorded, len(serials.Issued()))
	}
	return nil
}
