package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testenv"
)

// BenchmarkEmergency tells how long it takes until every caller has a certificate of another CA after
// the CAs of all of them were found to be compromised at once: 10,000 under ten authorities, or as
// many as SALLYPORT_EMERGENCY says. It makes them first.
func BenchmarkEmergency(b *testing.B) {
	callers := 10_000
	if text := os.Getenv("SALLYPORT_EMERGENCY"); text != "" {
		var err error
		if callers, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	cluster(b)
	round++
	makeAuthorities(b)
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(hands)
	for n := range callers {
		g.Go(func() error {
			name := fmt.Sprintf("emergency-%d-%d", round, n)
			return person.Create(ctx, &v1alpha1.ClientCertificate{
				ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: name},
				Spec:       v1alpha1.ClientCertificateSpec{SecretName: name, AuthorityRef: v1alpha1.AuthorityReference{Name: fmt.Sprintf("authority-%d-%d", round, n%authorities)}},
			})
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	settle(b)
	for b.Loop() {
		bad := compromise(b)
		reissued := watchReissued(b, bad)
		begun := time.Now()
		for name, key := range bad {
			throwOut(b, name, key)
		}
		testenv.Eventually(b, 10*time.Minute, "certificates of other CAs for all", func(context.Context) error {
			if n := reissued.Load(); n < int64(callers) {
				return fmt.Errorf("%d of %d", n, callers)
			}
			return nil
		})
		took := time.Since(begun)
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(float64(callers)/took.Seconds(), "certificates/s")
	}
}

// compromise is the active key of each authority of the round.
func compromise(b *testing.B) map[string]string {
	b.Helper()
	bad := map[string]string{}
	for n := range authorities {
		name := fmt.Sprintf("authority-%d-%d", round, n)
		authority := &v1alpha1.CertificateAuthority{}
		if err := person.Get(b.Context(), client.ObjectKey{Namespace: fleet, Name: name}, authority); err != nil {
			b.Fatal(err)
		}
		bad[name] = authority.Status.Generations[len(authority.Status.Generations)-1].SubjectKeyID
	}
	return bad
}

// throwOut says that a key is in somebody else's hands.
func throwOut(b *testing.B, name, key string) {
	b.Helper()
	authority := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: name}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec": {"rotation": {"compromised": [%q]}}}`, key))
	if err := person.Patch(b.Context(), authority, patch); err != nil {
		b.Fatal(err)
	}
}

// watchReissued counts the callers whose status tells of another issuer than a bad one.
func watchReissued(b *testing.B, bad map[string]string) *atomic.Int64 {
	b.Helper()
	clients, err := dynamic.NewForConfig(stack.Config())
	if err != nil {
		b.Fatal(err)
	}
	resource := clients.Resource(v1alpha1.GroupVersion.WithResource("clientcertificates")).Namespace(fleet)
	list, err := resource.List(b.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	watch, err := resource.Watch(b.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(watch.Stop)
	keys := map[string]bool{}
	for _, key := range bad {
		keys[key] = true
	}
	count := &atomic.Int64{}
	go func() {
		done := map[string]bool{}
		for event := range watch.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			issuer, _, _ := unstructured.NestedString(object.Object, "status", "authorityKeyID")
			if issuer != "" && !keys[issuer] && !done[object.GetName()] {
				done[object.GetName()] = true
				count.Add(1)
			}
		}
	}()
	return count
}
