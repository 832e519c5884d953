package proof

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testpki"
)

// alert is one that Prometheus says is firing.
type alert struct {
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"`
}

// prometheus is a real one that scrapes the agent under test.
type prometheus struct{ url string }

// impatient are the alerts whose time to hold is taken out of the rules: that time is
// what promtool tests.
var impatient = regexp.MustCompile(`(?s)(- alert: (?:SallyportAgentAbsent|SallyportCertificateRenewalLate|SallyportCRLEndsSoon|SallyportCRLTooLarge|SallyportCAEndsSoon|SallyportRotationBlocked|SallyportBroughtCAUnfit|SallyportTrustedCertificate\w+|SallyportPolicy\w+|SallyportAdmissionObjectChanged)\n.*?\n +for: )\w+`)

// limits are those of rules that would take too much or too long to reach, with what is in their place.
func limits() map[string]string {
	const full = "0.7 * 512 * 1024"
	return map[string]string{
		"> " + full: fmt.Sprintf("> %s * %d / %d", full, *callers, enough),
		"> 3 * 60":  "> 3",
	}
}

// startPrometheus runs one with the rules that are shipped, evaluated every second.
func startPrometheus(t *testing.T) prometheus {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("SALLYPORT_VERIFIERS") == "required" {
			t.Fatal("prometheus is not on the PATH")
		}
		t.Skip("prometheus is not on the PATH: nobody scrapes (Debian: prometheus)")
	}
	root, err := localstack.Root()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(root, "charts", "sallyport", "files", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shortened := impatient.ReplaceAllString(string(rules), "${1}0s")
	for limit, other := range limits() {
		if strings.Count(shortened, limit) != 1 {
			t.Fatalf("%q is not the limit of one rule", limit)
		}
		shortened = strings.Replace(shortened, limit, other, 1)
	}
	port, err := stack.Port()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	address := "127.0.0.1:" + strconv.Itoa(port)
	for name, content := range map[string]string{
		"rules.yaml": shortened,
		"prometheus.yaml": fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- {job_name: agent, honor_labels: true, static_configs: [{targets: [%q]}]}
- {job_name: webhook, honor_labels: true, static_configs: [{targets: [%q]}]}
`, installed.Agents[0].Address("metrics"), installed.Webhooks[0].Address("metrics")),
	} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	process, err := stack.Run(localstack.Command{Name: "prometheus", Binary: binary, Args: []string{
		"--config.file=" + filepath.Join(directory, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(directory, "data"),
		"--web.listen-address=" + address, "--log.level=warn",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Stop(context.WithoutCancel(t.Context())) })
	p := prometheus{url: "http://" + address}
	eventually(t, patience, "Prometheus to have scraped both", func(ctx context.Context) error {
		for _, series := range []string{"sallyport_agent_leader", "sallyport_admission_reviews_total"} {
			if n, err := p.count(ctx, series); err != nil || n == 0 {
				return errors.Join(err, fmt.Errorf("%d of %s", n, series))
			}
		}
		return nil
	})
	return p
}

// ask reads one answer of Prometheus's API.
func (p prometheus) ask(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(into)
}

func (p prometheus) count(ctx context.Context, query string) (int, error) {
	var answer struct {
		Data struct{ Result []any }
	}
	err := p.ask(ctx, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	return len(answer.Data.Result), err
}

// firing are the alerts that fire, by name.
func (p prometheus) firing(ctx context.Context) (map[string][]alert, error) {
	var answer struct {
		Data struct{ Alerts []alert }
	}
	if err := p.ask(ctx, "/api/v1/alerts", &answer); err != nil {
		return nil, err
	}
	firing := map[string][]alert{}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			firing[a.Labels["alertname"]] = append(firing[a.Labels["alertname"]], a)
		}
	}
	return firing, nil
}

// eventuallyFiring waits for an alert about an object; a name of "" is about none.
func (p prometheus) eventuallyFiring(t *testing.T, name, namespace, object string) {
	t.Helper()
	about := map[string]string{"namespace": namespace, "name": object}
	if object == "" {
		about = nil
	}
	p.eventually(t, name, about, true)
}

// eventually waits until an alert with these labels, among others, fires or does not.
func (p prometheus) eventually(t *testing.T, name string, about map[string]string, fires bool) {
	t.Helper()
	what := fmt.Sprintf("%s fires for %v: %t", name, about, fires)
	took := eventually(t, 3*patience, what, func(ctx context.Context) error {
		firing, err := p.firing(ctx)
		if err != nil {
			return err
		}
		found := slices.ContainsFunc(firing[name], func(a alert) bool {
			for label, value := range about {
				if a.Labels[label] != value {
					return false
				}
			}
			return true
		})
		if found != fires {
			return fmt.Errorf("firing are %v", firing)
		}
		return nil
	})
	t.Logf("%s after %s", what, took)
}

// What the runbooks call "How to provoke it", in front of a real Prometheus.
func TestAlertsFireInPrometheus(t *testing.T) {
	p := startPrometheus(t)
	edge(t, "watched")
	healthy := func() {
		t.Helper()
		eventually(t, patience, "no alert about the healthy edge", func(ctx context.Context) error {
			firing, err := p.firing(ctx)
			if err != nil {
				return err
			}
			var about []string
			for name, alerts := range firing {
				for _, a := range alerts {
					if a.Labels["namespace"] == "watched" || a.Labels["namespace"] == "" {
						about = append(about, name)
					}
				}
			}
			if len(about) > 0 {
				return fmt.Errorf("firing are %v", about)
			}
			return nil
		})
	}
	healthy()
	t.Run("SallyportEdgeOpen: an older Gateway takes the host", func(t *testing.T) {
		older := takeHost(t, "plain", "opened")
		p.eventuallyFiring(t, "SallyportEdgeOpen", "opened", "gateway-edge")
		if err := stack.Client().Delete(t.Context(), older); err != nil {
			t.Fatal(err)
		}
		eventuallyProven(t, "opened", "gateway-edge", forAll)
	})
	t.Run("SallyportCertificateEnded: the right to write the Secret taken away", func(t *testing.T) {
		p.drill(t, "unbound")
		right, err := stored(t.Context(), "rbac.authorization.k8s.io/v1", "RoleBinding", "unbound", "drill")
		if err != nil {
			t.Fatal(err)
		}
		if err := stack.Client().Delete(t.Context(), right); err != nil {
			t.Fatal(err)
		}
		p.eventuallyFiring(t, "SallyportCertificateRenewalLate", "unbound", "drill")
		p.eventuallyFiring(t, "SallyportCertificateEnded", "unbound", "drill")
	})
	healthy()
	t.Run("SallyportAgentAbsent, SallyportCertificateRenewalLate, SallyportCertificateEnded, SallyportCRLEndsSoon, SallyportCRLEnded, SallyportPolicyException*: nobody renews, and nobody ends", func(t *testing.T) {
		p.drill(t, "drill")
		excepted := p.except(t, "excepted", time.Minute)
		agent := installed.Agents[0].Process
		if err := agent.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		p.eventuallyFiring(t, "SallyportAgentAbsent", "", "")
		p.eventually(t, "SallyportPolicyExceptionEndsSoon", excepted, true) // in the second half of its time
		p.eventuallyFiring(t, "SallyportCertificateRenewalLate", "drill", "drill")
		p.eventuallyFiring(t, "SallyportCertificateEnded", "drill", "drill")
		p.eventuallyFiring(t, "SallyportCRLEndsSoon", "drill", "drill")
		p.eventuallyFiring(t, "SallyportCRLEnded", "drill", "drill")
		p.eventually(t, "SallyportPolicyExceptionOverdue", excepted, true)
		p.eventually(t, "SallyportPolicyExceptionEndsSoon", excepted, false)
		// One that lost its lease ends when it wakes up, and a kubelet starts another.
		if err := agent.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		p.eventually(t, "SallyportPolicyExceptionOverdue", excepted, false) // the agent ends it first of all
	})
	healthy()
	t.Run("SallyportCRLTooLarge: a crowd of callers is revoked at once", func(t *testing.T) { p.crowd(t, "crowd") })
	t.Run("SallyportBroughtCAUnfit, SallyportTrustedCertificate*, SallyportRotationBlocked, SallyportCAEndsSoon: what somebody has to do", func(t *testing.T) {
		p.drill(t, "bringing")
		p.bring(t, "bringing")
	})
	t.Run("SallyportPolicyViolated: a Gateway that was there before the policy", func(t *testing.T) {
		namespace(t, "demanding")
		apply(t, gatewayYAML("demanding", "edge", "demanding.example.com", "", "{mode: SIMPLE, credentialName: plain-open}")) // there since the first of these
		p.except(t, "demanding", 30*24*time.Hour)
		p.eventually(t, "SallyportPolicyViolated", map[string]string{"policy": "demanding"}, true)
	})
	t.Run("SallyportAdmissionObjectChanged: somebody lets mistakes through", func(t *testing.T) {
		p.weaken(t, "sallyport-gateway", "Ignore")
		p.eventually(t, "SallyportAdmissionObjectChanged", map[string]string{"kind": "ValidatingAdmissionPolicy", "name": "sallyport-gateway", "reason": "Changed"}, true)
		p.weaken(t, "sallyport-gateway", "Fail")
	})
	p.draw(t)
}

// weaken changes what an admission policy does when it cannot judge.
func (p prometheus) weaken(t *testing.T, policy, failure string) {
	t.Helper()
	o, err := stored(t.Context(), "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"spec": {"failurePolicy": "`+failure+`"}}`))); err != nil {
		t.Fatal(err)
	}
}

const policyYAML = `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: MutualTLSPolicy
metadata: {name: %[1]s}
spec: {match: {namespaces: [%[1]s]}, require: {mode: Mutual}, action: Deny, exceptions: %[2]s}
`

// except makes a policy with an exception of some time, waits until Prometheus has heard of it, and tells the labels of
// alerts about it.
func (p prometheus) except(t *testing.T, name string, lasts time.Duration) map[string]string {
	t.Helper()
	apply(t, fmt.Sprintf(policyYAML, name, fmt.Sprintf("[{kind: Gateway, namespace: %s, name: legacy, reason: a drill, expirationTime: %q}]",
		name, time.Now().Add(lasts).UTC().Format(time.RFC3339))))
	series := `sallyport:policy_exception_seen_timestamp_seconds:first{policy="` + name + `"}`
	eventually(t, patience, "an exception of "+name+" that Prometheus remembers", func(ctx context.Context) error {
		if n, err := p.count(ctx, series); err != nil || n == 0 {
			return errors.Join(err, errors.New("none yet"))
		}
		return nil
	})
	return map[string]string{"policy": name, "kind": "Gateway", "namespace": name, "name": "legacy"}
}

// draw makes a picture of the dashboard with what this test has caused, where the
// environment says so (make dashboard).
func (p prometheus) draw(t *testing.T) {
	t.Helper()
	path := os.Getenv("SALLYPORT_DASHBOARD")
	if path == "" {
		return
	}
	root, err := localstack.Root()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "run", "./test/cmd/dashboard", "--prometheus="+p.url, "--range=5m")
	command.Dir, command.Stderr = root, os.Stderr
	picture, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// bring has alerts fire about what people bring, and about what they hold up.
func (p prometheus) bring(t *testing.T, ns string) {
	t.Helper()
	now := time.Now()
	between := func(from, to time.Duration) testpki.Span { return testpki.Span{From: now.Add(from), To: now.Add(to)} }
	corporate := testpki.Root(t, "corporate", between(-time.Hour, 24*time.Hour))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "corporate", Annotations: map[string]string{"mtls.sallyport.dev/use-as-ca": "corporate"}},
		Type:       corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": corporate.PEM(), "tls.key": corporate.KeyPEM(t)},
	}
	if err := stack.Client().Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	partners, err := json.Marshal([]map[string]string{
		{"name": "soon", "certificate": string(testpki.Root(t, "soon", between(-23*time.Hour, time.Hour)).PEM())},
		{"name": "ended", "certificate": string(testpki.Root(t, "ended", between(-2*time.Hour, -time.Hour)).PEM())},
	})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, fmt.Sprintf(broughtYAML, ns, partners))
	p.eventuallyFiring(t, "SallyportTrustedCertificateEndsSoon", ns, "partners")
	p.eventuallyFiring(t, "SallyportTrustedCertificateLeftOut", ns, "partners")
	change(t, "v1", "Secret", ns, "corporate", func(o map[string]any) { o["data"] = map[string]any{"tls.crt": "eA==", "tls.key": "eA=="} })
	p.eventuallyFiring(t, "SallyportBroughtCAUnfit", ns, "corporate")
	p.eventuallyFiring(t, "SallyportRotationBlocked", ns, "paused")
	p.eventuallyFiring(t, "SallyportCAEndsSoon", ns, "paused")
}

// enough callers fill seven tenths of what fits, at some 67 bytes for each. With fewer the alert has its limit in proportion.
const enough = 5600

var callers = flag.Int("callers", enough/20, "how many callers are revoked at once; 5600 are what SallyportCRLTooLarge is about")

// crowd revokes a crowd: each has a certificate for a key of its own, and loses it with its object.
func (p prometheus) crowd(t *testing.T, ns string) {
	t.Helper()
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")
	apply(t, "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: crowd, namespace: "+ns+"}, spec: {source: {type: SelfSigned}}}")
	began := time.Now()
	var group errgroup.Group
	group.SetLimit(8)
	for n := range *callers {
		group.Go(func() error {
			caller, err := newCaller(ns, n)
			if err != nil {
				return err
			}
			return stack.Client().Create(t.Context(), caller)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	each := func(what string, ask func(*unstructured.Unstructured, error) error) { // one after the other: most have come that far by then
		t.Helper()
		for n := range *callers {
			eventually(t, 5*patience, callerName(n)+" "+what, func(ctx context.Context) error {
				return ask(stored(ctx, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", ns, callerName(n)))
			})
		}
		t.Logf("each of %d %s after %s", *callers, what, time.Since(began).Round(time.Second))
	}
	each("has a certificate", func(caller *unstructured.Unstructured, err error) error {
		if _, has, _ := unstructured.NestedString(caller.Object, "status", "certificate"); err == nil && !has {
			err = errors.New("it has none")
		}
		return err
	})
	all := &unstructured.Unstructured{}
	all.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	all.SetKind("ClientCertificate")
	if err := stack.Client().DeleteAllOf(t.Context(), all, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	each("is gone", func(_ *unstructured.Unstructured, err error) error {
		if err == nil {
			err = errors.New("it is there")
		}
		return client.IgnoreNotFound(err)
	})
	p.eventuallyFiring(t, "SallyportCRLTooLarge", ns, "crowd")
}

func callerName(n int) string { return fmt.Sprintf("caller-%04d", n) }

// newCaller is a ClientCertificate for a key that is made here, and revoked with it.
func newCaller(ns string, n int) (*unstructured.Unstructured, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "mtls.sallyport.dev/v1alpha1", "kind": "ClientCertificate", "metadata": map[string]any{"namespace": ns, "name": callerName(n)},
		"spec": map[string]any{
			"authorityRef": map[string]any{"name": "crowd"}, "deletionPolicy": "Revoke",
			"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		},
	}}, nil
}

const broughtYAML = `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: corporate, namespace: %[1]s}
spec:
  source: {type: Secret, secret: {name: corporate}}
  revocation: {mode: CRL}
  serverCertificates: {lifetime: 30m}
  clientCertificates: {lifetime: 30m, maxLifetime: 30m}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: partners, namespace: %[1]s}
spec: {source: {type: SelfSigned}, revocation: {mode: None}, trustedCertificates: %[2]s}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: paused, namespace: %[1]s}
spec:
  source: {type: SelfSigned, selfSigned: {lifetime: 80s}}
  serverCertificates: {lifetime: 10s}
  clientCertificates: {lifetime: 10s, maxLifetime: 10s}
  revocation: {validity: 60s, refreshEvery: 20s}
  rotation: {paused: true}
`

// drill makes what the runbook of SallyportCertificateEnded applies, in a namespace of its
// own and with a shorter life, and waits until Prometheus has heard of it.
func (p prometheus) drill(t *testing.T, ns string) {
	t.Helper()
	apply(t, fmt.Sprintf(drillYAML, ns, product.Namespace))
	series := `sallyport:certificate_renewal_timestamp_seconds:max{kind="Client", namespace="` + ns + `"}`
	eventually(t, patience, "a certificate in "+ns+" that Prometheus remembers", func(ctx context.Context) error {
		if n, err := p.count(ctx, series); err != nil || n == 0 {
			return errors.Join(err, errors.New("none yet"))
		}
		return nil
	})
}

const drillYAML = `
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: drill, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sallyport-client-secrets}
subjects: [{kind: ServiceAccount, name: sallyport-agent, namespace: %[2]s}]
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: drill, namespace: %[1]s}
spec: {source: {type: SelfSigned}, revocation: {validity: 60s, refreshEvery: 20s}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: drill, namespace: %[1]s}
spec: {authorityRef: {name: drill}, secretName: drill, lifetime: 40s}
`
