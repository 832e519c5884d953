package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
)

const (
	// fleet is the namespace of the callers.
	fleet = "fleet"
	// certificates under authorities is what each round asks for at once.
	certificates, authorities = 500, 10
	// hands is how many write at a time.
	hands    = 20
	patience = 2 * time.Minute
	// agentUser is the agent's name in the audit log.
	agentUser = "system:serviceaccount:" + product.Namespace + ":sallyport-agent"
)

// round numbers the rounds: each has authorities and certificates of its own.
var round int

// BenchmarkFleet asks for 500 client certificates of ten authorities at once, and
// waits until each Secret holds a pair that fits. Its floor is to make the same pairs
// and to create the same Secrets, and nothing else.
func BenchmarkFleet(b *testing.B) {
	cluster(b)
	b.Run("floor=create-secrets", func(b *testing.B) {
		for b.Loop() {
			round++
			begun := time.Now()
			each(b, func(ctx context.Context, n int) error {
				pair := selfIssued(b)
				return person.Create(ctx, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: fmt.Sprintf("floor-%d-%d", round, n)}, Type: corev1.SecretTypeTLS,
					Data: map[string][]byte{"tls.crt": pair.CertificatePEM(), "tls.key": pair.KeyPEM()},
				})
			})
			b.ReportMetric(time.Since(begun).Seconds(), "s/fleet")
			b.ReportMetric(1, "requests/certificate")
		}
	})
	b.Run("issue", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			round++
			makeAuthorities(b)
			pairs := watchPairs(b)
			b.StartTimer()
			begun := time.Now()
			each(b, func(ctx context.Context, n int) error { return person.Create(ctx, caller(n)) })
			pairs.await(b, nil)
			report(b, begun)
		}
	})
	b.Run("renew", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			round++
			makeAuthorities(b)
			pairs := watchPairs(b)
			each(b, func(ctx context.Context, n int) error { return person.Create(ctx, caller(n)) })
			before := pairs.await(b, nil)
			b.StartTimer()
			begun := time.Now()
			each(b, func(ctx context.Context, n int) error {
				return person.Patch(ctx, caller(n), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"lifetime":"48h"}}`)))
			})
			pairs.await(b, before)
			report(b, begun)
		}
	})
}

// selfIssued is a pair as a caller gets it.
func selfIssued(b *testing.B) pki.Pair {
	b.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		b.Fatal(err)
	}
	pair, err := floorCA(b).IssueClient(pki.ClientRequest{CommonName: "caller", Identity: "spiffe://example.com/ns/fleet/client/caller", Lifetime: 24 * time.Hour}, key, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	return pair
}

var madeCA pki.Authority

func floorCA(b *testing.B) pki.Authority {
	b.Helper()
	if !madeCA.IsZero() {
		return madeCA
	}
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err == nil {
		madeCA, err = pki.NewRoot(pki.RootRequest{CommonName: "floor", Key: key, Lifetime: 240 * time.Hour}, time.Now())
	}
	if err != nil {
		b.Fatal(err)
	}
	return madeCA
}

// each does something for each certificate of the round, by several hands.
func each(b *testing.B, do func(ctx context.Context, n int) error) {
	b.Helper()
	floorCA(b)
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(hands)
	for n := range certificates {
		g.Go(func() error { return do(ctx, n) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

func caller(n int) *v1alpha1.ClientCertificate {
	name := fmt.Sprintf("caller-%d-%d", round, n)
	return &v1alpha1.ClientCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: name},
		Spec:       v1alpha1.ClientCertificateSpec{SecretName: name, AuthorityRef: v1alpha1.AuthorityReference{Name: fmt.Sprintf("authority-%d-%d", round, n%authorities)}},
	}
}

func makeAuthorities(b *testing.B) {
	b.Helper()
	for n := range authorities {
		authority := &v1alpha1.CertificateAuthority{
			ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: fmt.Sprintf("authority-%d-%d", round, n)},
			Spec:       v1alpha1.CertificateAuthoritySpec{Source: v1alpha1.AuthoritySource{Type: v1alpha1.SourceSelfSigned}},
		}
		if err := person.Create(b.Context(), authority); err != nil {
			b.Fatal(err)
		}
		testenv.Eventually(b, patience, authority.Name, func(ctx context.Context) error {
			if err := person.Get(ctx, client.ObjectKeyFromObject(authority), authority); err != nil {
				return err
			}
			if len(authority.Status.Generations) == 0 {
				return errors.New("it has no key yet")
			}
			return nil
		})
	}
}

// arrivals are the certificates that come, by the name of their Secret: each is parsed
// once, when the API server tells of it.
type arrivals struct {
	mu      sync.Mutex
	serials map[string]string
	err     error
}

// watchPairs tells of every pair that is stored from now on.
func watchPairs(b *testing.B) *arrivals {
	b.Helper()
	clients, err := kubernetes.NewForConfig(stack.Config())
	if err != nil {
		b.Fatal(err)
	}
	list, err := clients.CoreV1().Secrets(fleet).List(b.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	watch, err := clients.CoreV1().Secrets(fleet).Watch(b.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(watch.Stop)
	a := &arrivals{serials: map[string]string{}}
	go func() {
		for event := range watch.ResultChan() {
			secret, ok := event.Object.(*corev1.Secret)
			if !ok {
				continue
			}
			pair, err := pki.ParsePair(secret.Data["tls.crt"], secret.Data["tls.key"])
			a.mu.Lock()
			if err != nil {
				a.err = fmt.Errorf("%s: %w", secret.Name, err)
			} else {
				a.serials[secret.Name] = pair.Leaf().Serial().String()
			}
			a.mu.Unlock()
		}
	}()
	return a
}

// await waits until each certificate of the round is there, and is another than before.
func (a *arrivals) await(b *testing.B, before map[string]string) map[string]string {
	b.Helper()
	testenv.Eventually(b, patience, "all certificates", func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.err != nil {
			b.Fatal(a.err)
		}
		for n := range certificates {
			name := caller(n).Name
			if serial := a.serials[name]; serial == "" || serial == before[name] {
				return fmt.Errorf("%s is not there, or the one before", name)
			}
		}
		return nil
	})
	return maps.Clone(a.serials)
}

// report tells the time until now, and what the agent asked of the API server until it
// was quiet again, Events and Leases aside.
func report(b *testing.B, begun time.Time) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	b.ReportMetric(time.Since(begun).Seconds(), "s/fleet")
	count, since := 0, time.Now()
	var by map[string]int
	testenv.Eventually(b, patience, "a quiet agent", func(context.Context) error {
		by = requests(b, begun)
		now := 0
		for _, n := range by {
			now += n
		}
		if now != count {
			count, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return errors.New("it is still at work")
		}
		return nil
	})
	b.ReportMetric(float64(count)/certificates, "requests/certificate")
	b.Logf("requests: %v", by)
}

// requests counts the agent's since a time, by the audit log, by what they do.
func requests(b *testing.B, since time.Time) map[string]int {
	b.Helper()
	log, err := os.Open(stack.AuditLog())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	count := map[string]int{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb                     string
			User                     struct{ Username string }
			ObjectRef                struct{ Resource, Subresource string }
			ResponseStatus           struct{ Code int }
			RequestReceivedTimestamp time.Time
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue // the line that is being written
		}
		if event.User.Username == agentUser && event.ObjectRef.Resource != "events" && event.ObjectRef.Resource != "leases" && !event.RequestReceivedTimestamp.Before(since) {
			count[fmt.Sprintf("%s %s/%s %d", event.Verb, event.ObjectRef.Resource, event.ObjectRef.Subresource, event.ResponseStatus.Code)]++
		}
	}
	return count
}
