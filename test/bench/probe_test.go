package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/probe"
)

// probes are made in each round by each side, so many of them at the same time.
const (
	probes     = 1000
	sideBySide = 16
)

// BenchmarkProbe tells the processor time of a process that makes probes with a server of
// mutual TLS, ours beside blackbox_exporter, in turn: what is accepted and what is
// refused. A round is 1,000 probes of each; the figures are medians of the rounds, the
// ratio is that of theirs to ours within one round. Both run for the whole time, so that
// nothing of their start is counted.
//
// blackbox_exporter reads an answer with its prober of HTTP, and does not with that of
// TCP: then it tells success of who was refused. How that came out is told too.
func BenchmarkProbe(b *testing.B) {
	m := newMaterial(b, 1)
	startTarget(b, &m)
	ours, theirs := startChild(b, "prober", m), startBlackbox(b, m)
	for _, outcome := range []string{"accepted", "refused"} {
		b.Run(outcome, func(b *testing.B) {
			var figures, others, ratios []float64
			for b.Loop() {
				us := processorTimeOf(b, ours.command, func() {
					if got := ours.ask(b, outcome); got != "done" {
						b.Fatal(got)
					}
				})
				them := processorTimeOf(b, theirs.command, func() { theirs.probe(b, "http_"+outcome, outcome == "accepted") })
				figures, others, ratios = append(figures, us), append(others, them), append(ratios, them/us)
			}
			b.ReportMetric(median(figures), "cpu-s/1000-ours")
			b.ReportMetric(median(others), "cpu-s/1000-blackbox")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
	b.Run("success told by blackbox's TCP prober", func(b *testing.B) {
		for b.Loop() {
			for _, caller := range []string{"accepted", "refused", "anonymous"} {
				success, err := theirs.once(b.Context(), "tcp_"+caller)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(success, "of-"+caller)
			}
		}
	})
}

// processorTimeOf is what a process took while something went on, in seconds.
func processorTimeOf(b *testing.B, command *exec.Cmd, while func()) float64 {
	b.Helper()
	before := processorTime(b, command.Process.Pid)
	while()
	return (processorTime(b, command.Process.Pid) - before).Seconds()
}

// serveProber makes the probes of a round for each line, and says what went wrong.
func serveProber(m material, input io.Reader, output io.Writer) error {
	callers := map[string]*tls.Certificate{}
	for outcome, p := range map[string]pair{"accepted": m.Managed, "refused": m.Foreign} {
		certificate, err := p.forTLS()
		if err != nil {
			return err
		}
		callers[outcome] = &certificate
	}
	wanted := map[string]probe.Outcome{"accepted": probe.Accepted, "refused": probe.Refused}
	target := probe.Target{Address: m.Address, ServerName: host(0)}
	return answer(input, output, func(outcome string) (string, error) {
		err := all(func(ctx context.Context) error {
			if f := probe.Handshake(ctx, target, callers[outcome]); f.Outcome != wanted[outcome] || !f.Asked {
				return fmt.Errorf("facts %+v, expected %s", f, outcome)
			}
			return nil
		})
		if err != nil {
			return fmt.Sprint(err), nil
		}
		return "done", nil
	})
}

// all does something once for each probe of a round.
func all(do func(context.Context) error) error {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(sideBySide)
	for range probes {
		g.Go(func() error { return do(ctx) })
	}
	return g.Wait()
}

// blackbox is a running blackbox_exporter.
type blackbox struct {
	*child
	address, target string
	client          http.Client
}

// blackboxConfig has it do what Handshake does: it takes any server, presents one
// certificate, and speaks HTTP/1.1.
const blackboxConfig = `modules:
  http_accepted: {prober: http, timeout: 10s, http: {fail_if_not_ssl: true, enable_http2: false, preferred_ip_protocol: ip4, tls_config: &managed {insecure_skip_verify: true, server_name: HOST, cert_file: DIR/managed.crt, key_file: DIR/managed.key}}}
  http_refused: {prober: http, timeout: 10s, http: {fail_if_not_ssl: true, enable_http2: false, preferred_ip_protocol: ip4, tls_config: &foreign {insecure_skip_verify: true, server_name: HOST, cert_file: DIR/foreign.crt, key_file: DIR/foreign.key}}}
  tcp_accepted: {prober: tcp, timeout: 10s, tcp: {tls: true, preferred_ip_protocol: ip4, tls_config: *managed}}
  tcp_refused: {prober: tcp, timeout: 10s, tcp: {tls: true, preferred_ip_protocol: ip4, tls_config: *foreign}}
  tcp_anonymous: {prober: tcp, timeout: 10s, tcp: {tls: true, preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true, server_name: HOST}}}
`

// startBlackbox builds it from the module beside this file and starts it.
func startBlackbox(b *testing.B, m material) *blackbox {
	b.Helper()
	directory := b.TempDir()
	program := filepath.Join(directory, "blackbox_exporter")
	build := exec.CommandContext(b.Context(), "go", "build", "-C", "blackbox", "-o", program, "github.com/prometheus/blackbox_exporter")
	if output, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building blackbox_exporter: %v\n%s", err, output)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	for name, content := range map[string][]byte{
		"managed.crt": m.Managed.Certificate, "managed.key": m.Managed.Key,
		"foreign.crt": m.Foreign.Certificate, "foreign.key": m.Foreign.Key,
		"config.yaml": []byte(strings.NewReplacer("DIR", directory, "HOST", host(0)).Replace(blackboxConfig)),
	} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	command := exec.Command(program, "--config.file="+filepath.Join(directory, "config.yaml"), "--web.listen-address="+address, "--log.level=warn")
	running := &blackbox{
		child: started(b, command), address: address, target: m.Address,
		client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sideBySide}},
	}
	b.Cleanup(func() { _ = command.Process.Signal(os.Interrupt) })
	awaitServer(b, address)
	return running
}

// probe makes the probes of a round.
func (x *blackbox) probe(b *testing.B, module string, success bool) {
	b.Helper()
	err := all(func(ctx context.Context) error {
		got, err := x.once(ctx, module)
		if err == nil && (got == 1) != success {
			err = fmt.Errorf("%s: probe_success %g", module, got)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

var probeSuccess = regexp.MustCompile(`(?m)^probe_success (\S+)$`)

// once makes one probe and returns what it tells of its success.
func (x *blackbox) once(ctx context.Context, module string) (float64, error) {
	target := x.target
	if strings.HasPrefix(module, "http_") {
		target = "https://" + target + "/"
	}
	query := url.Values{"module": {module}, "target": {target}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.address+"/probe?"+query.Encode(), http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := x.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	found := probeSuccess.FindSubmatch(text)
	if found == nil {
		return 0, errors.New("no probe_success in " + string(text))
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
