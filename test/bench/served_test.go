package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
)

// tries is how often each way from a write to the edge is gone.
const tries = 60

// whole is a stack with gateways, for what only they show. The one that the other benchmarks share has none.
type whole struct {
	stack  *localstack.Stack
	client client.WithWatch
}

func startWhole(b *testing.B) whole {
	b.Helper()
	s, err := localstack.Start(b.Context(), localstack.Options{Replicas: 2})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	p, err := product.Install(b.Context(), s, product.Options{TrustDomain: "example.com"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Stop)
	c, err := client.NewWithWatch(s.Config(), client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return whole{s, c}
}

// serve makes a mutual Gateway, or one without a word of ours, and waits until every replica answers.
func (w whole) serve(b *testing.B, name, annotations, tls string) {
	b.Helper()
	err := w.stack.ApplyYAML(b.Context(), fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: served, annotations: {%[2]s}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["%[1]s.served.example"]
    %[3]s
`, name, annotations, tls))
	if err != nil {
		b.Fatal(err)
	}
	testenv.Eventually(b, time.Minute, name+" is served", func(ctx context.Context) error {
		for _, serial := range w.serials(ctx, name) {
			if serial == nil {
				return errors.New("a replica serves nothing")
			}
		}
		return nil
	})
}

// serials are what each replica serves for a Gateway; nil where it serves nothing.
func (w whole) serials(ctx context.Context, name string) []*big.Int {
	var all []*big.Int
	host := name + ".served.example"
	for _, g := range w.stack.Gateways() {
		var serial *big.Int
		if a := (edge.Caller{}).Call(ctx, g.HTTPS, host, host, "/", nil); a.Served != nil {
			serial = a.Served.SerialNumber
		}
		all = append(all, serial)
	}
	return all
}

// untilServed asks every 10 ms, and returns when all replicas serve a serial.
func (w whole) untilServed(b *testing.B, name string, wanted *big.Int) time.Time {
	b.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticker.C {
		missing := func(s *big.Int) bool { return s == nil || s.Cmp(wanted) != 0 }
		if !slices.ContainsFunc(w.serials(b.Context(), name), missing) {
			return time.Now()
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s is not served with %s", name, wanted)
		}
	}
}

// stored waits on a watch until a Secret holds a certificate, and returns its serial and when it was seen.
func stored(b *testing.B, events <-chan *corev1.Secret) (*big.Int, time.Time) {
	b.Helper()
	select {
	case secret := <-events:
		seen := time.Now()
		chain, err := pki.ParseChain(secret.Data[corev1.TLSCertKey])
		if err != nil {
			b.Fatal(err)
		}
		return chain.Leaf().X509().SerialNumber, seen
	case <-time.After(30 * time.Second):
		b.Fatal("no Secret was written")
		return nil, time.Time{}
	}
}

// watch tells each version of a Secret from now on.
func (w whole) watch(b *testing.B, key types.NamespacedName) <-chan *corev1.Secret {
	b.Helper()
	current := &corev1.Secret{}
	if err := w.client.Get(b.Context(), key, current); err != nil {
		b.Fatal(err)
	}
	watch, err := w.client.Watch(b.Context(), &corev1.SecretList{}, &client.ListOptions{
		Namespace: key.Namespace, FieldSelector: fields.OneTermEqualSelector("metadata.name", key.Name),
		Raw: &metav1.ListOptions{ResourceVersion: current.ResourceVersion},
	})
	if err != nil {
		b.Fatal(err)
	}
	events := make(chan *corev1.Secret, tries)
	go func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && event.Type != "DELETED" {
				events <- secret
			}
		}
	}()
	b.Cleanup(watch.Stop)
	return events
}

func tell(b *testing.B, name string, spans []time.Duration) {
	b.Helper()
	slices.Sort(spans)
	b.ReportMetric(float64(spans[len(spans)/2].Microseconds())/1000, name+"-p50-ms")
	b.ReportMetric(float64(spans[len(spans)*99/100].Microseconds())/1000, name+"-p99-ms")
}

// BenchmarkServed tells how long it takes from a write of a server Secret until every replica serves it, the
// agent's beside anybody's; how long until a Secret that somebody deletes is there again; and what the
// agent asks of the API server for a renewal, and while there is nothing to do
// (SALLYPORT_IDLE, one minute if it says nothing else).
func BenchmarkServed(b *testing.B) {
	w := startWhole(b)
	if err := w.stack.ApplyYAML(b.Context(), "{apiVersion: v1, kind: Namespace, metadata: {name: served}}"); err != nil {
		b.Fatal(err)
	}
	b.Run("heal", func(b *testing.B) {
		for b.Loop() {
			var healed, served []time.Duration
			for n := range tries { // one each: what somebody keeps changing is put right once a minute at most
				name := fmt.Sprintf("edge-%d", n)
				w.serve(b, name, "mtls.sallyport.dev/mode: mutual", "")
				key := types.NamespacedName{Namespace: "istio-system", Name: "served." + name + ".mtls"}
				events := w.watch(b, key)
				begun := time.Now()
				if err := w.client.Delete(b.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}); err != nil {
					b.Fatal(err)
				}
				serial, written := stored(b, events)
				healed, served = append(healed, written.Sub(begun)), append(served, w.untilServed(b, name, serial).Sub(written))
			}
			tell(b, "healed", healed)
			tell(b, "served", served)
		}
	})
	b.Run("anybody", func(b *testing.B) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "plain"}, Type: corev1.SecretTypeTLS}
		fill := func() *big.Int {
			key, err := pki.GenerateKey(pki.ECDSAP256)
			if err != nil {
				b.Fatal(err)
			}
			pair, err := floorCA(b).IssueServer(pki.ServerRequest{Hosts: []string{"plain.served.example"}, Key: key, Lifetime: 24 * time.Hour}, time.Now())
			if err != nil {
				b.Fatal(err)
			}
			secret.Data = map[string][]byte{corev1.TLSCertKey: pair.CertificatePEM(), corev1.TLSPrivateKeyKey: pair.KeyPEM()}
			return pair.Leaf().X509().SerialNumber
		}
		fill()
		if err := w.client.Create(b.Context(), secret); err != nil {
			b.Fatal(err)
		}
		w.serve(b, "plain", "", "tls: {mode: SIMPLE, credentialName: plain}")
		for b.Loop() {
			var served []time.Duration
			for range tries {
				serial := fill()
				if err := w.client.Update(b.Context(), secret); err != nil {
					b.Fatal(err)
				}
				written := time.Now()
				served = append(served, w.untilServed(b, "plain", serial).Sub(written))
			}
			tell(b, "served", served)
		}
	})
	b.Run("idle", func(b *testing.B) {
		idle := time.Minute
		if text := os.Getenv("SALLYPORT_IDLE"); text != "" {
			var err error
			if idle, err = time.ParseDuration(text); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			time.Sleep(10 * time.Second) // what the runs before have left to be told
			before := w.requests(b)
			time.Sleep(idle)
			after := w.requests(b)
			b.ReportMetric(float64(after.writes-before.writes), "writes")
			b.ReportMetric(float64(after.all-before.all)/idle.Minutes(), "requests/min")
		}
	})
	b.Run("renewal", func(b *testing.B) {
		const gateways, life = 10, 30 * time.Second
		if err := w.stack.ApplyYAML(b.Context(), `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: brief, namespace: served}
spec: {source: {type: SelfSigned}, serverCertificates: {lifetime: 30s}}
`); err != nil {
			b.Fatal(err)
		}
		for n := range gateways {
			w.serve(b, fmt.Sprintf("brief-%d", n), "mtls.sallyport.dev/mode: mutual, mtls.sallyport.dev/authorities: brief", "")
		}
		for b.Loop() {
			time.Sleep(life)
			before := w.requests(b)
			time.Sleep(2 * life)
			after := w.requests(b)
			renewals := float64(after.secrets - before.secrets)
			b.ReportMetric(renewals, "renewals")
			b.ReportMetric(float64(after.all-before.all)/renewals, "requests/renewal")
			b.ReportMetric(float64(after.writes-before.writes)/renewals, "writes/renewal")
			b.ReportMetric(float64(after.statuses-before.statuses)/renewals, "status-writes/renewal")
		}
	})
}

// asked is what the agent asked of the API server by now, but for events, its lease and watches.
type asked struct{ all, writes, secrets, statuses int }

func (w whole) requests(b *testing.B) asked {
	b.Helper()
	log, err := os.Open(w.stack.AuditLog())
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var r asked
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct{ Resource, Subresource, Name string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			b.Fatal(err)
		}
		what := event.ObjectRef
		if !strings.HasSuffix(event.User.Username, ":sallyport-agent") || event.Verb == "watch" || what.Resource == "" || what.Resource == "events" || what.Resource == "leases" {
			continue
		}
		r.all++
		if event.Verb == "get" || event.Verb == "list" {
			continue
		}
		r.writes++
		switch {
		case what.Subresource == "status":
			r.statuses++
		case what.Resource == "secrets":
			r.secrets++
		}
	}
	if err := lines.Err(); err != nil {
		b.Fatal(err)
	}
	return r
}
