// Package proof breaks the edge on purpose, in each way that a certificate in a Secret
// does not show, and holds the agent to finding it out from outside: the right
// expectation at the right replica, in the condition and in the metrics, within a period.
//
// It has a stack of its own, because it freezes istiod and gateways.
package proof

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
)

const (
	// period is how often the agent under test tries each host of each replica.
	period = 3 * time.Second
	// ingress is the namespace of the gateways.
	ingress = "istio-system"
	// patience is how long anything may take that is waited for.
	patience = 60 * time.Second
)

var (
	stack     *localstack.Stack
	installed *product.Product
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, _ *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{Replicas: 2, Progress: os.Stderr}); err != nil {
		return stack, nil, err
	}
	installed, err = product.Install(ctx, stack, product.Options{
		TrustDomain: "example.com", Progress: os.Stderr,
		AgentArgs: []string{"--probe-period=" + period.String(), "--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s", "--leader-election-retry-period=500ms"},
	})
	return stack, installed, err
}

func eventually(t *testing.T, limit time.Duration, what string, ask func(ctx context.Context) error) time.Duration {
	t.Helper()
	return testenv.Eventually(t, limit, what, ask)
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if err := stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

// namespace makes one with a workload.
func namespace(t *testing.T, name string) {
	t.Helper()
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	if err := stack.Httpbin(t.Context(), name, "httpbin", 80); err != nil {
		t.Fatal(err)
	}
}

// gatewayYAML is a Gateway; annotations may be empty, tls too.
func gatewayYAML(namespace, name, host, annotations, tls string) string {
	if tls != "" {
		tls = ", tls: " + tls
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s, annotations: {%s}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["%s"]%s}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  hosts: ["%[4]s"]
  gateways: [%[2]s/%[1]s]
  http: [{route: [{destination: {host: httpbin.%[2]s.svc.cluster.local, port: {number: 80}}}]}]
`, name, namespace, annotations, host, tls)
}

const mutual = "mtls.sallyport.dev/mode: mutual"

// replica is the name of a gateway's pod as metrics and conditions tell it.
func replica(n int) string { return ingress + "/" + stack.Gateway(n).Pod }

// scrape reads the agent's metrics.
func scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+installed.Agents[0].Address("metrics")+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// findings are what the metrics tell of an endpoint, as "<replica> <expectation>" to
// "Met" or to the reason why not.
func findings(ctx context.Context, namespace, name string) (map[string]string, error) {
	families, err := scrape(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	each := func(family string, take func(labels map[string]string, value float64)) {
		for _, m := range families[family].GetMetric() {
			labels := map[string]string{}
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if labels["namespace"] == namespace && labels["name"] == name {
				take(labels, m.GetGauge().GetValue())
			}
		}
	}
	each("sallyport_probe_result", func(labels map[string]string, value float64) {
		if value == 1 {
			found[labels["replica"]+" "+labels["expectation"]] = "Met"
		}
	})
	each("sallyport_probe_finding", func(labels map[string]string, _ float64) {
		found[labels["replica"]+" "+labels["expectation"]] = labels["reason"]
	})
	return found, nil
}

// deviations leaves what is not met.
func deviations(found map[string]string) []string {
	var not []string
	for what, reason := range found {
		if reason != "Met" {
			not = append(not, what+": "+reason)
		}
	}
	slices.Sort(not)
	return not
}

// endpoint reads how a Gateway stands.
func endpoint(ctx context.Context, namespace, name string) (*v1alpha1.MutualTLSEndpoint, error) {
	e := &v1alpha1.MutualTLSEndpoint{}
	object, err := stored(ctx, "mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint", namespace, name)
	if err != nil {
		return nil, err
	}
	return e, fromUnstructured(object, e)
}

// eventuallyProven waits until the condition says so and every expectation is met at
// both replicas.
func eventuallyProven(t *testing.T, namespace, name string, expectations int) {
	t.Helper()
	eventually(t, patience, namespace+"/"+name+" is proven", func(ctx context.Context) error {
		e, err := endpoint(ctx, namespace, name)
		if err != nil {
			return err
		}
		found, err := findings(ctx, namespace, name)
		if err != nil {
			return err
		}
		if not := deviations(found); len(found) != 2*expectations || len(not) > 0 {
			return fmt.Errorf("%d findings, not met are %v; conditions %s", len(found), not, told(e))
		}
		if !meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionProven) || !meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("conditions %s", told(e))
		}
		if r := e.Status.Replicas; r == nil || r.Proven != 2 || r.Total != 2 {
			return fmt.Errorf("replicas %+v", r)
		}
		return nil
	})
}

func told(e *v1alpha1.MutualTLSEndpoint) string {
	var all []string
	for _, c := range e.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s (%s: %s)", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(all, ", ")
}

// eventuallyBroken waits until exactly these expectations are not met, and the condition
// names them, and returns how long that took.
func eventuallyBroken(t *testing.T, namespace, name, reason string, want ...string) time.Duration {
	t.Helper()
	slices.Sort(want)
	took := eventually(t, patience, "findings of "+namespace+"/"+name, func(ctx context.Context) error {
		found, err := findings(ctx, namespace, name)
		if err != nil {
			return err
		}
		if got := deviations(found); !slices.Equal(got, want) {
			return fmt.Errorf("not met are %q, expected %q", got, want)
		}
		return nil
	})
	if took > period+time.Second {
		t.Logf("LATE: found after %s, a period and a second are %s", took.Round(10*time.Millisecond), period+time.Second)
	}
	eventually(t, patience, "the condition of "+namespace+"/"+name, func(ctx context.Context) error {
		e, err := endpoint(ctx, namespace, name)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionProven)
		if c == nil || c.Reason != reason || c.Status == metav1.ConditionTrue {
			return fmt.Errorf("conditions %s", told(e))
		}
		for _, what := range want {
			replica, expectation, _ := strings.Cut(strings.Split(what, ":")[0], " ")
			if !strings.Contains(c.Message, expectation+" of replica "+replica) || !strings.Contains(c.Message, "Gateway "+namespace+"/") {
				return fmt.Errorf("the condition says %q", c.Message)
			}
		}
		if meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionReady) {
			return errors.New("it says that it is ready")
		}
		return nil
	})
	return took
}

// secret reads a Secret of the ingress.
func secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := stack.Client().Get(ctx, client.ObjectKey{Namespace: ingress, Name: name}, &s)
	return &s, err
}
