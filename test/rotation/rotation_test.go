package rotation

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/test/history"
)

var (
	rotations  = flag.Int("rotations", 5, "rotations of the CA that TestNoCallerIsRefused waits for")
	callEvery  = flag.Duration("call-every", 120*time.Millisecond, "time between two calls of one of the eight callers")
	handshakes = flag.Int("handshakes", 5000, "calls that TestNoCallerIsRefused makes at least")
	sums       = flag.String("sums", "", "`file` to which TestNoCallerIsRefused adds what it counted, and which tells the sums of all runs")
)

// lives are how long the CA and its certificates live in a run. Half a life after another a
// generation is prepared; it issues with a sixth of the one before left.
type lives struct{ ca, leaf time.Duration }

// objects are an authority and two Gateways, one of them with a wildcard.
func (l lives) objects(ns string) string {
	return strings.NewReplacer("NS", ns, "CA", l.ca.String(), "LEAF", l.leaf.String()).Replace(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: default, namespace: NS}
spec:
  source: {type: SelfSigned, selfSigned: {lifetime: CA}}
  serverCertificates: {lifetime: LEAF}
  clientCertificates: {lifetime: LEAF, maxLifetime: LEAF}
  revocation: {validity: 60s, refreshEvery: 20s}
  rotation: {minimumOverlap: 1s, proofTimeout: 20s}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: NS, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["front.example.NS"]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: branches, namespace: NS, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*.branch.example.NS"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: NS}
spec:
  hosts: ["front.example.NS", "*.branch.example.NS"]
  gateways: [NS/front, NS/branches]
  http: [{route: [{destination: {host: httpbin.bank.svc.cluster.local, port: {number: 80}}}]}]
`)
}

// run is callers in traffic.
type run struct {
	t       *testing.T
	ns      string
	tally   *tally
	callers []*caller
	targets []target
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// begin makes everything, and begins to call once the edge answers: these replicas, or all.
func begin(t *testing.T, ns string, l lives, replicas ...int) *run {
	t.Helper()
	if err := stack.ApplyYAML(t.Context(), l.objects(ns)); err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, ns: ns}
	for replica, g := range stack.Gateways() {
		if len(replicas) > 0 && !slices.Contains(replicas, replica) {
			continue
		}
		r.targets = append(r.targets, target{g.HTTPS, "front.example." + ns}, target{g.HTTPS, "north.branch.example." + ns})
	}
	for n, k := range []kind{prompt, prompt, thrifty, thrifty, stubborn, stubborn, long, long} {
		c := &caller{kind: k, shelf: newShelf(t, ns, fmt.Sprintf("%s-%d", k, n%2), n%2 == 1)}
		if n%2 == 1 {
			c.version, c.sessions = tls.VersionTLS12, tls.NewLRUClientSessionCache(16)
		}
		r.callers = append(r.callers, c)
	}
	for _, c := range r.callers {
		testenv.Eventually(t, patience, "the first certificate of "+c.shelf.name, c.shelf.look)
	}
	for _, at := range r.targets {
		testenv.Eventually(t, patience, "the first answer of "+at.serverName, func(ctx context.Context) error {
			c := &caller{kind: prompt, shelf: r.callers[0].shelf}
			if err := c.shelf.look(ctx); err != nil {
				return err
			}
			c.onboard(time.Now())
			_, err := c.call(ctx, at)
			return err
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel, r.tally = cancel, newTally(time.Now())
	r.see(ctx)
	for _, c := range r.callers {
		r.repeat(ctx, lookEvery, func(ctx context.Context) { _ = c.shelf.look(ctx) }) // what cannot be read now is read later
		r.repeat(ctx, *callEvery, func(ctx context.Context) { r.call(ctx, c) })
	}
	r.repeat(ctx, lookEvery, r.see)
	r.repeat(ctx, tickEvery, func(context.Context) { r.tally.tick(time.Now()) })
	t.Cleanup(func() {
		r.end()
		r.clear()
	})
	return r
}

// clear takes away what was made. Callers that nobody looks at any more would go on renewing every few seconds: all
// that a minute allows of the agent, and the next run would find out only how late it is then.
func (r *run) clear() {
	for _, kind := range []schema.GroupVersionKind{
		{Group: "mtls.sallyport.dev", Version: "v1alpha1", Kind: "ClientCertificate"},
		{Group: "networking.istio.io", Version: "v1", Kind: "Gateway"},
		{Group: "networking.istio.io", Version: "v1", Kind: "VirtualService"},
		{Group: "mtls.sallyport.dev", Version: "v1alpha1", Kind: "CertificateAuthority"},
	} {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(kind)
		// The test's own context has ended by now.
		if err := stack.Client().DeleteAllOf(context.WithoutCancel(r.t.Context()), object, client.InNamespace(r.ns)); err != nil {
			r.t.Errorf("deleting every %s of %s: %v", kind.Kind, r.ns, err)
		}
	}
}

// repeat does something again and again, until the run ends.
func (r *run) repeat(ctx context.Context, every time.Duration, do func(context.Context)) {
	r.done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				do(ctx)
			}
		}
	})
}

// call has one caller make its next call.
func (r *run) call(ctx context.Context, c *caller) {
	at := r.targets[c.calls%len(r.targets)]
	if c.kind == long {
		at = r.targets[len(c.shelf.name)%len(r.targets)] // one connection, to one of them
	}
	now := time.Now()
	c.onboard(now)
	if now.After(c.has.pair.Leaf.NotAfter) { // a crowded machine was late with what lies on the shelf: nobody calls with that
		_ = c.shelf.look(ctx)
		now = time.Now()
		c.onboard(now)
	}
	served, err := c.call(ctx, at)
	if ctx.Err() != nil {
		return
	}
	serial := ""
	if served != nil {
		serial = served.SerialNumber.Text(16)
	}
	r.tally.add(c, at, serial, err, now)
}

// see takes the phase and the active generation from the authority's status.
func (r *run) see(ctx context.Context) {
	ca, err := stored(ctx, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", r.ns, "default")
	if err != nil {
		return // it is read again in a moment
	}
	phase, active, blocked := "", "", ""
	conditions, _, _ := unstructured.NestedSlice(ca.Object, "status", "conditions")
	for _, each := range conditions {
		if c := each.(map[string]any); c["type"] == "Rotating" { //nolint:forcetypeassert // conditions are objects
			phase, _ = c["reason"].(string)
		} else if c["type"] == "RotationBlocked" && c["status"] == "True" {
			blocked = fmt.Sprint(c["message"])
		}
	}
	generations, _, _ := unstructured.NestedSlice(ca.Object, "status", "generations")
	for _, each := range generations {
		if g := each.(map[string]any); g["state"] == "Active" { //nolint:forcetypeassert // generations are objects
			active, _ = g["id"].(string)
		}
	}
	r.tally.see(phase, active, blocked)
}

// end stops the calls.
func (r *run) end() {
	r.cancel()
	r.done.Wait()
}

// issued are the certificates that callers were given.
func (r *run) issued() int {
	n := 0
	for _, c := range r.callers {
		c.shelf.mu.Lock()
		n += c.shelf.issued
		c.shelf.mu.Unlock()
	}
	return n
}

// report tells what was counted.
func (r *run) report() {
	calls, rotated, leaves := r.tally.sum()
	r.t.Logf("%d calls, %d rotations of the CA, %d server certificates and %d of callers, %d refused; the machine did nothing for %s at most\n%s",
		calls, rotated, leaves, r.issued(), r.tally.count(), r.tally.longestPause().Round(time.Millisecond), r.tally.table())
	if r.t.Failed() {
		r.t.Logf("steps of the authority:\n%s\nerrors of the agent:\n%s", strings.Join(r.tally.steps, "\n"), errorsOf(installed.Agents[0].Process.Log()))
	}
}

// errorsOf are the last errors in a log.
func errorsOf(log string) string {
	whole, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	var found []string
	for line := range strings.Lines(string(whole)) {
		if strings.Contains(line, `"level":"ERROR"`) {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-10):], "")
}

func TestNoCallerIsRefused(t *testing.T) {
	l := lives{ca: time.Minute, leaf: 9 * time.Second}
	recorder, err := history.Record(t.Context(), stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	r := begin(t, "bank", l)
	defer r.report()
	told := time.Now()
	testenv.Eventually(t, time.Duration(*rotations+3)*l.ca, fmt.Sprintf("%d rotations and %d calls", *rotations, *handshakes), func(context.Context) error {
		calls, rotated, leaves := r.tally.sum()
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %d calls, %d rotations, %d server certificates, %d refused\n", told.Sub(r.tally.begun).Round(time.Second), calls, rotated, leaves, r.tally.count())
		}
		if rotated < *rotations || calls < *handshakes {
			return fmt.Errorf("%d calls, %d rotations", calls, rotated)
		}
		return nil
	})
	end := time.Now()
	r.wantNoneRefused()
	revisions, err := recorder.Stop("bank", "istio-system", product.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range history.Check(revisions, end) {
		t.Error(violation)
	}
	t.Logf("%d revisions were looked at", len(revisions))
	if err := r.addTo(*sums); err != nil {
		t.Error(err)
	}
}

// wantNoneRefused ends the run, and fails if anybody was refused.
func (r *run) wantNoneRefused() {
	r.t.Helper()
	r.end()
	for _, refusal := range r.tally.refusals {
		r.t.Error(refusal)
	}
	if n := r.tally.count(); n > 0 {
		r.t.Errorf("%d calls were refused", n)
	}
}
