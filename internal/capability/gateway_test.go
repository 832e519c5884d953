package capability

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/mutate"
)

type (
	versions = []apiextensionsv1.CustomResourceDefinitionVersion
	schema   = apiextensionsv1.JSONSchemaProps
)

// version is one version of the Gateway CRD whose tls has these fields.
func version(name string, served bool, fields ...string) apiextensionsv1.CustomResourceDefinitionVersion {
	tls := schema{Properties: map[string]schema{}}
	for _, field := range fields {
		tls.Properties[field] = schema{Type: "string"}
	}
	server := schema{Properties: map[string]schema{"tls": tls}}
	servers := schema{Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &server}}
	spec := schema{Properties: map[string]schema{"servers": servers}}
	return apiextensionsv1.CustomResourceDefinitionVersion{
		Name: name, Served: served,
		Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema{Properties: map[string]schema{"spec": spec}}},
	}
}

func crd(v ...apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: v}}
}

func TestAFieldCountsIfEveryServedVersionHasIt(t *testing.T) {
	const field = "caCertCredentialName"
	tests := map[string]struct {
		versions versions
		want     bool
	}{
		"no version":                  {nil, false},
		"all have it":                 {versions{version("v1", true, "mode", field), version("v1beta1", true, field)}, true},
		"none has it":                 {versions{version("v1", true, "mode", "credentialName")}, false},
		"one served lacks it":         {versions{version("v1", true, field), version("v1alpha3", true)}, false},
		"one not served lacks it":     {versions{version("v1", true, field), version("v1alpha3", false)}, true},
		"only one not served has it":  {versions{version("v1", false, field)}, false},
		"a version without a schema":  {versions{{Name: "v1", Served: true}}, false},
		"a schema without properties": {versions{{Name: "v1", Served: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema{}}}}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mutate.Capabilities{CACertCredentialName: tt.want}, From(crd(tt.versions...))); diff != "" {
				t.Errorf("capabilities (-want +got):\n%s", diff)
			}
		})
	}
}

// reader hands out what it is told to, one reading after the other.
type reader struct {
	client.Reader

	readings chan func(*apiextensionsv1.CustomResourceDefinition) error
}

func (r reader) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	found, ok := object.(*apiextensionsv1.CustomResourceDefinition)
	if !ok || key.Name != GatewayCRD || key.Namespace != "" {
		return errors.New("asked for something else")
	}
	return (<-r.readings)(found)
}

func found(v ...apiextensionsv1.CustomResourceDefinitionVersion) func(*apiextensionsv1.CustomResourceDefinition) error {
	return func(into *apiextensionsv1.CustomResourceDefinition) error { crd(v...).DeepCopyInto(into); return nil }
}

var errAway = errors.New("the API server is away")

func away(*apiextensionsv1.CustomResourceDefinition) error { return errAway }

func TestTheLastGoodReadingStays(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	r := reader{readings: make(chan func(*apiextensionsv1.CustomResourceDefinition) error)}
	observed := make(chan error, 10)
	source := NewSource(r, c, func(err error) { observed <- err })
	if _, err := source.Capabilities(); !errors.Is(err, errNotRead) {
		t.Errorf("before the first reading: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Start(ctx) }()

	step := func(reading func(*apiextensionsv1.CustomResourceDefinition) error, next time.Duration) {
		t.Helper()
		r.readings <- reading
		deadline := time.After(10 * time.Second)
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for !c.HasWaiters() {
			select {
			case <-ticks.C:
			case <-deadline:
				t.Fatal("no timer was started")
			}
		}
		c.Step(next - time.Nanosecond)
		if !c.HasWaiters() {
			t.Fatalf("read again before %s", next)
		}
		c.Step(time.Nanosecond)
	}
	check := func(want bool, wantErr error) {
		t.Helper()
		got, err := source.Capabilities()
		if got.CACertCredentialName != want || !errors.Is(err, wantErr) {
			t.Errorf("capabilities %+v, %v; expected %v, %v", got, err, want, wantErr)
		}
	}
	step(away, retry)
	check(false, errAway)
	step(away, retry)
	step(found(version("v1", true)), refresh)
	check(false, nil)
	step(found(version("v1", true, "caCertCredentialName")), refresh)
	check(true, nil)
	step(away, retry)
	check(true, nil)
	cancel()
	// The reading that is under way ends, and with it the source.
	r.readings <- away
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A change is told once: away, found, away.
	close(observed)
	var told []bool
	for err := range observed {
		told = append(told, err != nil)
	}
	if diff := cmp.Diff([]bool{true, false, true}, told); diff != "" {
		t.Errorf("errors observed (-want +got):\n%s", diff)
	}
}
