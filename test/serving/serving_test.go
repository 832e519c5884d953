package serving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
)

// overlap is how long a new CA is trusted before it signs. A caller here knows what
// was in caBundle a quarter to half of it ago, and as much later as it is held up.
const overlap = 2 * time.Second

// serverName is who the webhook says it is.
const serverName = "sallyport-webhook." + product.Namespace + ".svc"

// configuration is the webhook's, as it is stored.
func configuration(ctx context.Context) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	return c, stack.Client().Get(ctx, client.ObjectKey{Name: "sallyport"}, c)
}

// duration of the rotation under load.
func duration(t *testing.T) time.Duration {
	t.Helper()
	given := os.Getenv("SALLYPORT_SERVING")
	if given == "" {
		return 30 * time.Second
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		t.Fatalf("reading SALLYPORT_SERVING: %v", err)
	}
	return d
}

// counts are what callers saw.
type counts struct {
	reviews, handshakes atomic.Int64
	mu                  sync.Mutex
	failed              []string
	leaves, cas         map[string]bool
}

func (c *counts) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, fmt.Sprintf("%s: %v", time.Now().Format("05.000"), err))
}

// review has the API server ask the webhook. Nothing is stored.
func review(ctx context.Context, n int64) error {
	objects, err := localstack.ParseYAML(fmt.Appendf(nil, `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: load-%[1]d, namespace: default, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {app: nobody}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [load-%[1]d.invalid]}]
`, n))
	if err != nil {
		return err
	}
	if err := stack.Client().Create(ctx, objects[0], client.DryRunAll); err != nil {
		return err
	}
	servers, _, err := unstructured.NestedSlice(objects[0].Object, "spec", "servers")
	if err != nil {
		return err
	}
	if server, ok := servers[0].(map[string]any); !ok || server["tls"] == nil {
		return errors.New("the Gateway came back as it was sent")
	}
	return nil
}

// handshake makes a new connection to a replica, and verifies it by a caBundle.
func (c *counts) handshake(ctx context.Context, address string, bundle []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return errors.New("there is nothing in caBundle")
	}
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: serverName}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	leaf := connection.(*tls.Conn).ConnectionState().PeerCertificates[0] //nolint:forcetypeassert // dialled with TLS
	c.mu.Lock()
	c.leaves[leaf.SerialNumber.String()] = true
	c.cas[leaf.Issuer.CommonName] = true
	c.mu.Unlock()
	return connection.Close()
}

// failedOpen is how many reviews the API server gave up and went on without.
func failedOpen(t *testing.T) int {
	t.Helper()
	kube, err := kubernetes.NewForConfig(stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	text, err := kube.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, line := range regexp.MustCompile(`(?m)^apiserver_admission_webhook_fail_open_count\{.*sallyport.*\} (\d+)`).FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(line[1]))
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// every calls until the context ends, at an interval, and keeps what failed.
func (c *counts) every(ctx context.Context, wg *sync.WaitGroup, interval time.Duration, call func(context.Context) error) {
	wg.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := call(context.WithoutCancel(ctx)); err != nil {
					c.fail(err)
				}
			}
		}
	})
}

// The certificate is replaced every two seconds, and its CA every twelve. No review
// fails, and no caller that reads caBundle late is refused by either replica.
func TestTheCertificateRotatesUnderLoad(t *testing.T) {
	before := failedOpen(t)
	c := &counts{leaves: map[string]bool{}, cas: map[string]bool{}}
	lasts := duration(t)
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		c.every(ctx, &wg, 10*time.Millisecond, func(ctx context.Context) error { return review(ctx, c.reviews.Add(1)) })
	}
	for _, replica := range installed.Webhooks {
		// What a late reader knows, and what it will know next.
		var known, next []byte
		var read time.Time
		c.every(ctx, &wg, 25*time.Millisecond, func(ctx context.Context) error {
			if time.Since(read) >= overlap/4 {
				stored, err := configuration(ctx)
				if err != nil {
					return err
				}
				known, next, read = next, stored.Webhooks[0].ClientConfig.CABundle, time.Now()
			}
			if known == nil {
				return nil
			}
			c.handshakes.Add(1)
			return c.handshake(ctx, replica.Address("webhook"), known)
		})
	}
	wg.Wait()
	for i, failed := range c.failed {
		if i < 20 {
			t.Error(failed)
		}
	}
	if after := failedOpen(t); after != before || len(c.failed) > 0 {
		t.Errorf("%d calls failed, and the API server went on without %d reviews; expected none", len(c.failed), after-before)
	}
	if least := int(lasts / (4 * time.Second)); len(c.leaves) < least || len(c.cas) < 2 {
		t.Errorf("%d certificates of %d CAs were served, expected at least %d of 2", len(c.leaves), len(c.cas), least)
	}
	t.Logf("%d reviews, %d handshakes, %d certificates of %d CAs, %d failed", c.reviews.Load(), c.handshakes.Load(), len(c.leaves), len(c.cas), len(c.failed))
}

// bundles are the values of caBundle that were stored, each in turn, until the test ends.
func bundles(t *testing.T) (stored func() []string) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	first, err := configuration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=sallyport", ResourceVersion: first.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Stop)
	var mu sync.Mutex
	var seen []string
	go func() {
		for event := range watch.ResultChan() {
			if c, ok := event.Object.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
				mu.Lock()
				seen = append(seen, string(c.Webhooks[0].ClientConfig.CABundle))
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// wipe takes caBundle out of every entry.
func wipe(t *testing.T) {
	t.Helper()
	stored, err := configuration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wiped := stored.DeepCopy()
	for i := range wiped.Webhooks {
		wiped.Webhooks[i].ClientConfig.CABundle = nil
	}
	if err := stack.Client().Patch(t.Context(), wiped, client.StrategicMergeFrom(stored)); err != nil {
		t.Fatal(err)
	}
}

// Somebody takes caBundle out again and again, in the middle of rotations too. It is
// back within a second each time, and no value is written twice.
func TestAWipedBundleComesBack(t *testing.T) {
	const wipes = 40
	stored := bundles(t)
	ticker := time.NewTicker(300 * time.Millisecond) // a CA rotates meanwhile
	defer ticker.Stop()
	for n := range wipes {
		<-ticker.C
		wipe(t)
		testenv.Eventually(t, time.Second, fmt.Sprintf("caBundle after wipe %d", n), func(ctx context.Context) error {
			healed, err := configuration(ctx)
			if err != nil {
				return err
			}
			for _, w := range healed.Webhooks {
				if len(w.ClientConfig.CABundle) == 0 {
					return errors.New("it is empty")
				}
			}
			return nil
		})
	}
	wiped, before := 0, "none"
	for _, bundle := range stored() {
		if bundle == "" {
			wiped++
		}
		if bundle == before {
			t.Errorf("caBundle was written and stayed the same:\n%s", bundle)
		}
		before = bundle
	}
	if wiped < wipes-1 {
		t.Errorf("caBundle was seen empty %d times, expected about %d", wiped, wipes)
	}
	t.Logf("%d wipes, %d writes in all", wiped, len(stored()))
}
