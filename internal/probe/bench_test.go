package probe_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/probe"
)

// benchServer names the file that holds what the server of the benchmark needs. It is a
// process of its own, so that only the caller's processor time is counted.
const benchServer = "SALLYPORT_PROBE_BENCH_SERVER"

// serveBenchmark is that process: it lives until its input ends.
func serveBenchmark(file string) {
	served := must(tls.LoadX509KeyPair(file, file))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(must(os.ReadFile(file + ".ca")))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	config := &tls.Config{Certificates: []tls.Certificate{served}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				overTLS(config, envoy)(connection)
			}()
		}
	}()
	io.WriteString(os.Stdout, listener.Addr().String()+"\n")
	io.Copy(io.Discard, os.Stdin)
}

func startBenchServer(b *testing.B, e edge) string {
	b.Helper()
	file := b.TempDir() + "/pair"
	for name, content := range map[string][]byte{file: append(e.leaf.PEM(), e.leaf.KeyPEM(b)...), file + ".ca": e.ca.PEM()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), benchServer+"="+file)
	server.Stderr = os.Stderr
	input, output := must(server.StdinPipe()), must(server.StdoutPipe())
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		input.Close()
		server.Wait()
	})
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// BenchmarkHandshake tells what one call costs the caller: cpu-ms/op is processor time
// of user and system, as an accepted call waits most of its time. Calls are made side by
// side.
func BenchmarkHandshake(b *testing.B) {
	e := newEdge(b)
	address := startBenchServer(b, e)
	for _, bench := range []struct {
		name    string
		present *tls.Certificate
		target  probe.Target
		want    probe.Outcome
	}{
		{"accepted", e.managed, probe.Target{}, probe.Accepted},
		{"accepted TLS 1.2", e.managed, probe.Target{MaxVersion: tls.VersionTLS12}, probe.Accepted},
		{"opaque", e.managed, probe.Target{Opaque: true}, probe.Accepted},
		{"refused", e.foreign, probe.Target{}, probe.Refused},
		{"refused TLS 1.2", e.foreign, probe.Target{MaxVersion: tls.VersionTLS12}, probe.Refused},
		{"no certificate", nil, probe.Target{}, probe.Refused},
	} {
		b.Run(bench.name, func(b *testing.B) {
			target := bench.target
			target.Address, target.ServerName = address, host
			b.ReportAllocs()
			b.SetParallelism(32)
			begun := processorTime(b)
			b.RunParallel(func(each *testing.PB) {
				for each.Next() {
					ctx, cancel := context.WithTimeout(context.Background(), patient)
					if facts := probe.Handshake(ctx, target, bench.present); facts.Outcome != bench.want {
						b.Errorf("facts %+v", facts)
					}
					cancel()
				}
			})
			b.ReportMetric(float64(processorTime(b)-begun)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
