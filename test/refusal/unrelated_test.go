package refusal

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asked is how often the API server asked our webhooks, by its own count.
func asked(t *testing.T) int {
	t.Helper()
	clients, err := kubernetes.NewForConfig(shared.stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines, sum := bufio.NewScanner(bytes.NewReader(text)), 0
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, labels, _ := strings.Cut(lines.Text(), "{")
		if name != "apiserver_admission_webhook_admission_duration_seconds_count" || !strings.Contains(labels, "sallyport") {
			continue
		}
		n, err := strconv.Atoi(labels[strings.LastIndexByte(labels, ' ')+1:])
		if err != nil {
			t.Fatalf("reading %q: %v", lines.Text(), err)
		}
		sum += n
	}
	return sum
}

// What has nothing to do with us is not slowed by us: the API server does not ask the
// webhook about it.
func TestWhatIsUnrelatedNeverReachesTheWebhook(t *testing.T) {
	const ns, rounds = "unrelated", 20
	namespace(t, ns)
	for name, manifest := range map[string]string{
		"a Secret":              `{apiVersion: v1, kind: Secret, metadata: {name: plain-%d, namespace: unrelated}, stringData: {a: b}}`,
		"a Secret of a gateway": `{apiVersion: v1, kind: Secret, metadata: {name: theirs-%d, namespace: istio-system}, type: Opaque, stringData: {a: b}}`,
		"a ConfigMap":           `{apiVersion: v1, kind: ConfigMap, metadata: {name: plain-%d, namespace: unrelated}}`,
		"a Service":             `{apiVersion: v1, kind: Service, metadata: {name: plain-%d, namespace: unrelated}, spec: {ports: [{port: 80}]}}`,
		"a VirtualService":      `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: plain-%d, namespace: unrelated}, spec: {hosts: [a]}}`,
		"an open Gateway": `{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: open-%d, namespace: unrelated}, spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 443, name: https, protocol: HTTPS}, hosts: [open.example.org], tls: {mode: SIMPLE, credentialName: a}}]}}`,
		"an open APIRule": `{apiVersion: gateway.kyma-project.io/v2, kind: APIRule, metadata: {name: open-%d, namespace: unrelated}, spec: {hosts: [open.example.org], gateway: kyma-system/kyma-gateway,
  service: {name: a, port: 80}, rules: [{path: /, methods: [GET], noAuth: true}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			before := asked(t)
			for n := range rounds {
				if err := shared.person.Create(t.Context(), parse(t, fmt.Sprintf(manifest, n)), client.DryRunAll); err != nil {
					t.Fatal(err)
				}
			}
			if now := asked(t); now != before {
				t.Errorf("%d writes: the webhook was asked %d times, expected never", rounds, now-before)
			}
		})
	}
	// The count can see.
	before := asked(t)
	object := parse(t, fill(gateway(mutual, server("")), "v1", ns))
	if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if asked(t) == before {
		t.Error("a Gateway that opted in: the webhook was not asked")
	}
}
