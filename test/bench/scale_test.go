package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testenv"
)

// foreign Secrets lie in the ingress namespace, and are none of ours.
const foreign = 30_000

// BenchmarkScale tells what the agent holds in memory, and how long it takes from its
// start until it has looked at everything and is quiet again, beside 30,000 Secrets of
// others and with more and more certificates of ours. SALLYPORT_SCALE is how many, in
// rising order; 1000,10000 by itself. Callers come first, then Gateways beside them.
func BenchmarkScale(b *testing.B) {
	sizes := scale(b)
	cluster(b)
	settle(b)
	b.Run("nothing", restart)
	others(b)
	b.Run(fmt.Sprintf("foreign=%d", foreign), restart)
	callers := func(ctx context.Context, n int) error {
		name := fmt.Sprintf("scale-%d", n)
		return person.Create(ctx, &v1alpha1.ClientCertificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: name},
			Spec:       v1alpha1.ClientCertificateSpec{SecretName: name, AuthorityRef: v1alpha1.AuthorityReference{Name: fmt.Sprintf("authority-%d-%d", round, n%authorities)}},
		})
	}
	round++
	makeAuthorities(b)
	grow(b, "callers", sizes, callers)
	grow(b, "gateways", sizes, func(ctx context.Context, n int) error { return person.Create(ctx, gateway(n)) })
}

func scale(b *testing.B) []int {
	b.Helper()
	text := os.Getenv("SALLYPORT_SCALE")
	if text == "" {
		text = "1000,10000"
	}
	var sizes []int
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			b.Fatalf("SALLYPORT_SCALE is %q, expected rising numbers with commas between them", text)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

func gateway(n int) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{
			"namespace": fleet, "name": fmt.Sprintf("scale-%d", n),
			"annotations": map[string]any{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": fmt.Sprintf("authority-%d-%d", round, n%authorities)},
		},
		"spec": map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
			"port":  map[string]any{"number": int64(443), "name": "https", "protocol": "HTTPS"},
			"hosts": []any{fmt.Sprintf("h%d.example.com", n)},
		}}},
	}}
}

// grow makes what is missing up to each size, and starts the agent again at each.
func grow(b *testing.B, what string, sizes []int, create func(context.Context, int) error) {
	b.Helper()
	have := 0
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%s=%d", what, size), func(b *testing.B) {
			g, ctx := errgroup.WithContext(b.Context())
			g.SetLimit(hands)
			for ; have < size; have++ {
				n := have
				g.Go(func() error { return create(ctx, n) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			settle(b)
			memory(b, installed.Agents[0].Process.PID(), "after-issue-")
			restart(b)
		})
	}
}

func others(b *testing.B) {
	b.Helper()
	data := map[string][]byte{"a": bytes.Repeat([]byte{'x'}, 2000)}
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(hands)
	for n := range foreign {
		g.Go(func() error {
			return person.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: fmt.Sprintf("other-%d", n)}, Data: data})
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// restart stops the agent and starts it, once for each iteration; it tells the time and
// the processor time until it is quiet, and its memory then.
func restart(b *testing.B) {
	agent := installed.Agents[0].Process
	var took, work time.Duration
	for b.Loop() {
		if err := agent.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if err := agent.Start(); err != nil {
			b.Fatal(err)
		}
		took += settle(b).Sub(begun)
		work += processorTime(b, agent.PID())
	}
	b.ReportMetric(took.Seconds()/float64(b.N), "start-s")
	b.ReportMetric(work.Seconds()/float64(b.N), "start-cpu-s")
	memory(b, agent.PID(), "")
}

// settle waits until the agent has done next to nothing for three seconds, looking many
// times a second, and says when that began.
func settle(b *testing.B) time.Time {
	b.Helper()
	agent := installed.Agents[0].Process
	last, since := processorTime(b, agent.PID()), time.Now()
	testenv.Eventually(b, 10*time.Minute, "a quiet agent", func(context.Context) error {
		now := processorTime(b, agent.PID())
		if now-last > 10*time.Millisecond { // more than a renewed lease costs
			since = time.Now()
		}
		last = now
		if time.Since(since) < 3*time.Second {
			return errors.New("it is at work")
		}
		return nil
	})
	return since
}

// processorTime is that of a process, in ticks of 10 ms (proc_pid_stat(5)).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, err := strconv.Atoi(fields[11])
	system, systemErr := strconv.Atoi(fields[12])
	if err := errors.Join(err, systemErr); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory reports the resident set of a process, what of it are pages of its own, and its peak
// (proc_pid_status(5)).
func memory(b *testing.B, pid int, when string) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for name, unit := range map[string]string{"VmRSS:": "RSS-MiB", "RssAnon:": "anonymous-MiB", "VmHWM:": "peak-MiB"} {
		_, rest, found := strings.Cut(string(text), name)
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			b.Fatalf("the status of the process has no %s", name)
		}
		kibibytes, err := strconv.Atoi(fields[0])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(kibibytes)/1024, when+unit)
	}
}
