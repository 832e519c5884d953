package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

const (
	// gateways with a host and so many replicas each make a thousand targets.
	gateways, replicas = 500, 2
	targets            = gateways * replicas
	// period is how often each target is tried, window how long that is watched.
	period, window = 15 * time.Second, time.Minute
	// profile names the files that get a profile of the process that proves.
	profile = "SALLYPORT_BENCH_PROFILE"
)

// BenchmarkThousandTargets tells what it costs to try 1,000 targets every 15 seconds, or
// as often as a Prover has it with so many: the processor time of a process that does
// nothing else, with the heap that the agent allows itself, as a share of one core. Of
// each target all is expected that can be: it has CRLs and a list of callers.
func BenchmarkThousandTargets(b *testing.B) {
	m := newMaterial(b, gateways)
	startTarget(b, &m)
	m.Handshakes = 6
	prover := startChild(b, "prover", m)
	testenv.Eventually(b, patience, "everything is proven", func(context.Context) error {
		if now := prover.tell(b); now.Proven != targets {
			return fmt.Errorf("%d of %d", now.Proven, targets)
		}
		return nil
	})
	time.Sleep(period)
	if os.Getenv(profile) != "" {
		prover.ask(b, "profile")
	}
	for b.Loop() {
		before, begun := prover.tell(b), time.Now()
		took := processorTimeOf(b, prover.command, func() { time.Sleep(window) })
		after := prover.tell(b)
		if after.Changed != before.Changed || after.Proven != targets {
			b.Fatalf("something else was found: %+v, then %+v", before, after)
		}
		made := float64(after.Handshakes - before.Handshakes)
		b.ReportMetric(took/time.Since(begun).Seconds(), "cores")
		b.ReportMetric(made/time.Since(begun).Seconds(), "handshakes/s")
		b.ReportMetric(float64(after.Unclear-before.Unclear), "unclear")
		b.ReportMetric(1000*took/made, "cpu-ms/handshake")
	}
	memory(b, prover.command.Process.Pid, "")
}

// told is what a Prover did so far.
type told struct {
	// Handshakes were made, of which Unclear were judged neither way; Changed were the
	// times that something else was found.
	Handshakes, Unclear, Changed int64
	// Proven is the number of targets that met everything.
	Proven int
}

func notMet(f probe.Finding) bool { return f.Verdict != probe.Met }

func (c *child) tell(b *testing.B) told {
	b.Helper()
	var t told
	if err := json.Unmarshal([]byte(c.ask(b, "tell")), &t); err != nil {
		b.Fatal(err)
	}
	return t
}

// serveProver proves everything that the target serves, and tells how far it is.
func serveProver(m material, input io.Reader, output io.Writer) error {
	if os.Getenv("GOGC") == "" { // as the agent does
		debug.SetGCPercent(25)
	}
	var t told
	prover := proving.New(proving.Config{
		Period: period, TrustDomain: trustDomain, Addresses: proving.Addresses{Local: true}, Clock: clock.RealClock{},
		Changed: func(types.NamespacedName) { atomic.AddInt64(&t.Changed, 1) },
		Tried: func(outcome probe.Outcome, _ time.Duration) {
			atomic.AddInt64(&t.Handshakes, 1)
			if outcome == probe.Unknown {
				atomic.AddInt64(&t.Unclear, 1)
			}
		},
	})
	subjects, err := subjects(m)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		prover.Prove(s, time.Now())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- prover.Start(ctx) }()
	defer pprof.StopCPUProfile()
	err = answer(input, output, func(line string) (string, error) {
		if line == "profile" {
			return line, startProfile(os.Getenv(profile) + "-" + strconv.Itoa(m.Handshakes))
		}
		now := told{Handshakes: atomic.LoadInt64(&t.Handshakes), Unclear: atomic.LoadInt64(&t.Unclear), Changed: atomic.LoadInt64(&t.Changed)}
		for _, r := range prover.Snapshot() {
			if len(r.Findings) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(r.Findings)), notMet) {
				now.Proven++
			}
		}
		text, err := json.Marshal(now)
		return string(text), err
	})
	cancel()
	return errors.Join(err, <-ended)
}

// startProfile writes a profile of this process until it ends.
func startProfile(file string) error {
	written, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(written)
}

// subjects are a Gateway for each host, with all replicas at the one address.
func subjects(m material) ([]proving.Subject, error) {
	ca, err := pki.ParseAuthority(m.CA.Certificate, m.CA.Key)
	if err != nil {
		return nil, err
	}
	revoked, err := pki.ParsePair(m.Revoked.Certificate, m.Revoked.Key)
	if err != nil {
		return nil, err
	}
	ip, service, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	var pods []ingress.Replica
	for n := range replicas {
		pods = append(pods, ingress.Replica{
			Ingress: ingress.Ingress{Name: "public", Namespace: "istio-system"}, Pod: fmt.Sprintf("gateway-%d", n), IP: ip, Port: uint32(port),
		})
	}
	var all []proving.Subject
	for n := range gateways {
		served, err := pki.ParsePair(m.Servers[host(n)].Certificate, m.Servers[host(n)].Key)
		if err != nil {
			return nil, err
		}
		all = append(all, proving.Subject{
			Endpoint: types.NamespacedName{Namespace: fleet, Name: fmt.Sprintf("gateway-%d", n)},
			Gateway:  types.NamespacedName{Namespace: fleet, Name: strconv.Itoa(n)},
			Servers:  []proving.Server{{Hosts: []string{host(n)}, Replicas: pods}},
			Optional: m.Handshakes < 4, AllowList: m.Handshakes > 4, Revocation: m.Handshakes > 4,
			Issuer: rotate.Generation{ID: "g1", State: rotate.Active, Authority: ca, Probe: revoked}, Held: []pki.Certificate{ca.Certificate()},
			Leaf: served.Leaf(),
		})
	}
	return all, nil
}
