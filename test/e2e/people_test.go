package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// table is what `kubectl get` prints: the API server makes it.
func table(t *testing.T, resource, namespace string) (columns []string, rows [][]any) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(shared.stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := kube.RESTClient().Get().
		AbsPath("/apis/mtls.sallyport.dev/v1alpha1/namespaces/"+namespace+"/"+resource).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var printed metav1.Table
	if err := json.Unmarshal(raw, &printed); err != nil {
		t.Fatal(err)
	}
	for _, c := range printed.ColumnDefinitions {
		if c.Priority == 0 {
			columns = append(columns, c.Name)
		}
	}
	for _, row := range printed.Rows {
		rows = append(rows, row.Cells[:len(columns)])
	}
	return columns, rows
}

func TestPeopleSeeWhatIsGoingOn(t *testing.T) {
	const ns, host = "callers", "callers.example.com"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", host))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	certificateFor(t, ns, "billing", "default")
	ready(t, "CertificateAuthority", ns, "default")

	tests := map[string]struct {
		columns []string
		row     map[string]string
		filled  []string
	}{
		"mutualtlsendpoints": {
			[]string{"Name", "Kind", "Object", "Mode", "Ready", "Proven", "Expires", "Age"},
			map[string]string{"Name": "gateway-edge", "Kind": "Gateway", "Object": "edge", "Mode": "Mutual", "Ready": "True", "Proven": "True"}, []string{"Expires", "Age"},
		},
		"certificateauthorities": {
			[]string{"Name", "Source", "Ready", "Rotating", "Expires", "Endpoints", "Age"},
			map[string]string{"Name": "default", "Source": "SelfSigned", "Ready": "True", "Rotating": "Stable"}, []string{"Expires", "Endpoints", "Age"},
		},
		"clientcertificates": {
			[]string{"Name", "Authority", "Ready", "Expires", "Renewal", "Age"},
			map[string]string{"Name": "billing", "Authority": "default", "Ready": "True"}, []string{"Expires", "Renewal", "Age"},
		},
	}
	for resource, test := range tests {
		t.Run(resource, func(t *testing.T) {
			columns, rows := table(t, resource, ns)
			if !slices.Equal(columns, test.columns) {
				t.Fatalf("columns %q, expected %q", columns, test.columns)
			}
			if len(rows) != 1 {
				t.Fatalf("%d rows", len(rows))
			}
			for column, want := range test.row {
				if found := rows[0][slices.Index(columns, column)]; found != want {
					t.Errorf("%s is %v, expected %s", column, found, want)
				}
			}
			for _, column := range test.filled {
				if found := rows[0][slices.Index(columns, column)]; found == nil || found == "" || found == "<unknown>" {
					t.Errorf("%s is empty", column)
				}
			}
		})
	}
}

// The short names are what people type: kubectl finds the kinds by them.
func TestShortNames(t *testing.T) {
	kube, err := kubernetes.NewForConfig(shared.stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	list, err := kube.Discovery().ServerResourcesForGroupVersion("mtls.sallyport.dev/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, resource := range list.APIResources {
		found = append(found, resource.ShortNames...)
	}
	slices.Sort(found)
	if got := strings.Join(found, " "); got != "mca mcc mte mtlspolicy" {
		t.Errorf("short names: %s", got)
	}
}
