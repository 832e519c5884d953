package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/listener"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// running is a webhook under test.
type running struct {
	*webhook
	api    *apiServer
	pair   string
	client *http.Client
	stop   context.CancelFunc
	// ended is closed when the webhook has stopped, with err.
	ended chan struct{}
	err   error
}

func start(t *testing.T, change func(*Options)) *running {
	t.Helper()
	api := startAPIServer(t)
	directory := t.TempDir()
	settings := filepath.Join(directory, "config.yaml")
	if err := os.WriteFile(settings, []byte("trustDomain: example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const anywhere = "127.0.0.1:0"
	options := Options{
		Settings: settings, Kubeconfig: api.kubeconfig(t), ServingCertificates: filepath.Join(directory, "pair"),
		ListenAddress: anywhere, MetricsAddress: anywhere, HealthAddress: anywhere, LogLevel: "debug",
	}
	if change != nil {
		change(&options)
	}
	config, err := options.config()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log := slog.NewJSONHandler(t.Output(), &slog.HandlerOptions{Level: config.level})
	w, err := newWebhook(ctx, config, clock.RealClock{}, log)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{webhook: w, api: api, pair: options.ServingCertificates, stop: stop, ended: make(chan struct{})}
	r.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	go func() { defer close(r.ended); r.err = w.serve(ctx) }()
	t.Cleanup(func() { stop(); <-r.ended })
	return r
}

// mount puts a new pair where the webhook looks, and has the client trust it.
func (r *running) mount(t *testing.T) (notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	notAfter = time.Now().Add(time.Hour).Truncate(time.Second)
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "webhook"}, DNSNames: []string{"sallyport-webhook.sallyport-system.svc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	r.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "sallyport-webhook.sallyport-system.svc", MinVersion: tls.VersionTLS12},
	}
	if err := os.MkdirAll(r.pair, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.key": {Type: "PRIVATE KEY", Bytes: keyDER}, "tls.crt": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(r.pair, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return notAfter
}

func (r *running) get(t *testing.T, s *listener.Server, path string) (status int, body string) {
	t.Helper()
	response, err := r.client.Get(s.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// ready waits until the webhook says this about its readiness.
func (r *running) ready(t *testing.T, status int, says string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for range ticks.C {
		gotStatus, body := r.get(t, r.health, "/readyz")
		if gotStatus == status && strings.Contains(body, says) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz says %d %q, expected %d %q", gotStatus, body, status, says)
		}
	}
}

// review asks about a Gateway in a namespace and returns the patch.
func (r *running) review(t *testing.T, namespace string, annotations map[string]string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": "1", "operation": "CREATE", "namespace": namespace, "name": "edge",
			"kind": map[string]any{"group": "networking.istio.io", "version": "v1", "kind": "Gateway"},
			"object": map[string]any{
				"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
				"metadata": map[string]any{"namespace": namespace, "name": "edge", "annotations": annotations},
				"spec": map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
					"port": map[string]any{"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": []any{"shop.example.com"},
				}}},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.client.Post(r.reviews.URL()+"/mutate", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answered admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&answered); err != nil || answered.Response == nil {
		t.Fatalf("status %d: %v", response.StatusCode, err)
	}
	if !answered.Response.Allowed {
		t.Fatalf("denied: %s", answered.Response.Result.Message)
	}
	return string(answered.Response.Patch)
}

func TestAWebhookFromItsStartToItsEnd(t *testing.T) {
	// client-go's own: a filtered watch that is stopped while it sends stays.
	filtered := goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop")
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), filtered)
	r := start(t, func(o *Options) { o.ShutdownDelay = time.Second })

	r.ready(t, http.StatusServiceUnavailable, "no serving certificate")
	notAfter := r.mount(t)
	r.ready(t, http.StatusServiceUnavailable, "indexes of Gateways, Services, Pods and Namespaces are not synced")
	if status, body := r.get(t, r.health, "/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz says %d %q while there is nothing a restart would mend", status, body)
	}
	r.api.installGateways()
	r.ready(t, http.StatusOK, "ok")

	annotated := r.review(t, "shop", map[string]string{"mtls.sallyport.dev/mode": "mutual"})
	if !strings.Contains(annotated, `"MUTUAL"`) || !strings.Contains(annotated, "shop.edge.mtls-cacert") {
		t.Errorf("patch %s lacks the mode or the CA Secret that the CRD allows to name", annotated)
	}
	if patch := r.review(t, "labelled", nil); !strings.Contains(patch, `"MUTUAL"`) {
		t.Errorf("patch %s in a namespace whose label asks", patch)
	}
	if patch := r.review(t, "shop", nil); patch != "" {
		t.Errorf("patch %s of a Gateway that asks for nothing", patch)
	}
	status, metrics := r.get(t, r.metrics, "/metrics")
	for _, line := range []string{
		`sallyport_admission_reviews_total{kind="Gateway",reason="Injected",verdict="Patched"} 2`,
		`sallyport_webhook_certificate_reloads_total{result="taken"} 1`,
		"sallyport_build_info{", "sallyport_admission_duration_seconds_count 3", "go_goroutines", "process_resident_memory_bytes",
	} {
		if status != http.StatusOK || !strings.Contains(metrics, line) {
			t.Errorf("/metrics (%d) lacks %s", status, line)
		}
	}
	if got, ok := r.webhook.pair.NotAfter(); !ok || !got.Equal(notAfter) {
		t.Errorf("serving until %s, expected %s", got, notAfter)
	}

	r.stop()
	r.ready(t, http.StatusServiceUnavailable, "shutting down")
	if patch := r.review(t, "labelled", nil); !strings.Contains(patch, `"MUTUAL"`) {
		t.Errorf("no answer while the API server may still ask: %s", patch)
	}
	select {
	case <-r.ended:
		if r.err != nil {
			t.Error(r.err)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if asked := r.api.asked(); len(asked) > 0 {
		t.Errorf("asked the API server for more than it may: %q", asked)
	}
	r.api.CloseClientConnections()
	r.api.Close()
}

func TestEachListenerServesItsPathsOnly(t *testing.T) {
	r := start(t, nil)
	r.mount(t)
	r.ready(t, http.StatusServiceUnavailable, "indexes")
	paths := []string{"/", "/mutate", "/mutate/", "/metrics", "/metrics/", "/healthz", "/readyz", "/healthz/", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"}
	for _, l := range []struct {
		*listener.Server
		serves map[string]int
	}{
		{r.reviews, map[string]int{"/mutate": http.StatusMethodNotAllowed}},
		{r.metrics, map[string]int{"/metrics": http.StatusOK}},
		{r.health, map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable}},
	} {
		for _, path := range paths {
			want, ok := l.serves[path]
			if !ok {
				want = http.StatusNotFound
			}
			if status, _ := r.get(t, l.Server, path); status != want {
				t.Errorf("%s answers %s with %d, expected %d", l.Name(), path, status, want)
			}
		}
	}
}

func TestTheAPIServersProtocolIsSpoken(t *testing.T) {
	r := start(t, nil)
	r.mount(t)
	r.ready(t, http.StatusServiceUnavailable, "indexes")
	used, ok := r.client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", r.client.Transport)
	}
	transport := used.Clone()
	transport.ForceAttemptHTTP2, transport.DisableKeepAlives = true, false
	r.client.Transport = transport
	defer transport.CloseIdleConnections()
	response, err := r.client.Post(r.reviews.URL()+"/mutate", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 || response.StatusCode != http.StatusBadRequest {
		t.Errorf("%s %s, expected HTTP/2 and 400", response.Proto, response.Status)
	}
	if state := response.TLS; state.Version != tls.VersionTLS13 || state.DidResume {
		t.Errorf("TLS version %x, resumed %v", state.Version, state.DidResume)
	}
}

func TestABodyThatTricklesIsNotWaitedFor(t *testing.T) {
	r := start(t, nil)
	r.mount(t)
	r.ready(t, http.StatusServiceUnavailable, "indexes")
	body, stalled := io.Pipe()
	defer stalled.Close()
	go func() { _, _ = stalled.Write([]byte("{")) }()
	began := time.Now()
	response, err := r.client.Post(r.reviews.URL()+"/mutate", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s after %s, expected 408", response.Status, time.Since(began))
	}
	if _, metrics := r.get(t, r.metrics, "/metrics"); !strings.Contains(metrics, `sallyport_admission_reviews_total{kind="other",reason="Interrupted",verdict="Refused"} 1`) {
		t.Error("it was not counted")
	}
}

func TestAnAddressInUseIsAnErrorAtOnce(t *testing.T) {
	r := start(t, nil)
	for _, change := range []func(*Options){
		func(o *Options) { o.ListenAddress = r.reviews.Listener.Addr().String() },
		func(o *Options) { o.HealthAddress = r.reviews.Listener.Addr().String() },
		func(o *Options) { o.MetricsAddress = r.reviews.Listener.Addr().String() },
	} {
		options := r.config.options
		options.ListenAddress, options.HealthAddress, options.MetricsAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		change(&options)
		config, err := options.config()
		if err != nil {
			t.Fatal(err)
		}
		_, err = newWebhook(t.Context(), config, clock.RealClock{}, slog.DiscardHandler)
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("error %v, expected that the address is in use", err)
		}
	}
}
