package backstop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sequences are those that are played, each by its number: the first few, or as many as SALLYPORT_SEQUENCES says. It may
// say which as well (20001-40000), so that many can be played in several runs.
func sequences(t *testing.T, short int) (first, last int) {
	t.Helper()
	given := os.Getenv("SALLYPORT_SEQUENCES")
	if given == "" {
		return 1, short
	}
	from, to, some := strings.Cut(given, "-")
	if !some {
		from, to = "1", given
	}
	var errs [2]error
	first, errs[0] = strconv.Atoi(from)
	last, errs[1] = strconv.Atoi(to)
	if err := errors.Join(errs[:]...); err != nil || first < 1 || last < first {
		t.Fatalf("reading SALLYPORT_SEQUENCES %q, a number or two: %v", given, err)
	}
	return first, last
}

// player plays one sequence: it writes one object again and again, in any way there is.
type player struct {
	*rand.Rand
	kind     string
	versions []string
	at       within
	// as writes, and in is where MutualTLSPolicies apply; nil where none does.
	as client.Client
	in *world
	// stored is what the API server has, nil before it took anything.
	stored *unstructured.Unstructured
	// done are the operations so far, for the message.
	done []string
	// accepted and refused count what the policies said.
	accepted, refused int
}

var ways = []string{"update", "merge patch", "JSON patch", "apply by another, forced", "apply by another", "status", "metadata", "delete"}

// pick is any of some values.
func pick[T any](p *player, values ...T) T { return values[p.IntN(len(values))] }

// TestNoSequenceGetsPastThePolicies plays sequences of writes with no webhook in front,
// and holds each answer of the API server to the reference: what is refused there is
// never stored, and what is not is never refused.
func TestNoSequenceGetsPastThePolicies(t *testing.T) {
	const workers = 8
	first, last := sequences(t, 400)
	total := last - first + 1
	var next, accepted, refused atomic.Int64
	next.Store(int64(first - 1))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(last) && !t.Failed(); n = next.Add(1) {
				p := newPlayer(uint64(n))
				if err := p.play(t.Context()); err != nil {
					t.Errorf("sequence %d, %s %s/%s: %v\n%s", n, p.kind, p.at.namespace, p.at.name, err, strings.Join(p.done, "\n"))
				}
				accepted.Add(int64(p.accepted))
				refused.Add(int64(p.refused))
			}
		})
	}
	wg.Wait()
	if accepted.Load() < int64(total) || refused.Load() < int64(total) {
		t.Errorf("%d writes were accepted and %d refused in %d sequences: one of the two shows little", accepted.Load(), refused.Load(), total)
	}
	t.Logf("%d sequences, %d writes accepted, %d refused by a policy", total, accepted.Load(), refused.Load())
}

func newPlayer(seed uint64) *player {
	p := &player{Rand: rand.New(rand.NewPCG(seed, 7)), as: admin, kind: "Gateway", versions: []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"}} //nolint:gosec // a seed that can be played again
	if p.IntN(3) == 0 {
		p.kind, p.versions = "APIRule", []string{"gateway.kyma-project.io/v2", "gateway.kyma-project.io/v2alpha1", "gateway.kyma-project.io/v1beta1"}
	}
	p.at = within{namespace: "shop", name: fmt.Sprintf("sequence-%d", seed)}
	if p.IntN(4) == 0 {
		p.at.namespace, p.at.label = "asking", "mutual"
	}
	return p
}

func (p *player) play(ctx context.Context) error {
	for range 3 + p.IntN(6) {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return p.remove(ctx)
}

// remove deletes what is stored, at once.
func (p *player) remove(ctx context.Context) error {
	gone := p.stored
	if p.stored = nil; gone == nil {
		return nil
	}
	if err := admin.Patch(ctx, gone, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		return err
	}
	return admin.Delete(ctx, gone)
}

// step makes one write and compares.
func (p *player) step(ctx context.Context) error {
	version := pick(p, p.versions...)
	p.at.version = version[strings.LastIndex(version, "/")+1:]
	way := "create"
	if p.stored != nil {
		way = pick(p, ways...)
		// As the API server has it in this version, which is what policies see as the old one.
		p.stored.SetAPIVersion(version)
		if err := admin.Get(ctx, client.ObjectKeyFromObject(p.stored), p.stored); err != nil {
			return err
		}
	}
	if way == "delete" {
		p.done = append(p.done, way)
		return p.remove(ctx)
	}
	wanted := p.next(way)
	wanted.SetAPIVersion(version)
	encoded, err := json.Marshal(map[string]any{"annotations": wanted.GetAnnotations(), "labels": wanted.GetLabels(), "spec": wanted.Object["spec"]})
	if err != nil {
		return err
	}
	p.done = append(p.done, fmt.Sprintf("%s as %s: %s", way, version, encoded))
	var old map[string]any
	if p.stored != nil {
		old = p.stored.Object
	}
	result, err := p.write(ctx, way, wanted)
	if err != nil {
		return p.explain(err, way, old, wanted)
	}
	p.accepted++
	p.stored = result
	if why := p.judge(old, result.Object); why != "" {
		return fmt.Errorf("it was stored, though %s", why)
	}
	return p.in.compareWarnings(p.kind, old, result.Object)
}

// judge is why an object must not be stored; empty if it may.
func (p *player) judge(old, now map[string]any) string {
	if why := judge(p.kind, old, now, p.at); why != "" {
		return why
	}
	return p.in.denies(p.kind, old, now)
}

// explain holds a refusal to the reference. Another refusal than that of a policy says
// nothing: a schema's, or a conflict of two appliers.
func (p *player) explain(err error, way string, old map[string]any, wanted *unstructured.Unstructured) error {
	if !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
		if strings.Contains(err.Error(), "field not declared in schema") || apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsBadRequest(err) {
			return nil
		}
		return err
	}
	p.refused++
	switch {
	case strings.HasPrefix(way, "apply"): // what the merge came to, nobody can see
		return nil
	case way == "metadata" || way == "status":
		return fmt.Errorf("a write of %s alone was refused: %w", way, err)
	case p.judge(old, wanted.Object) == "":
		return fmt.Errorf("it was refused, and nothing is wrong with it: %w", err)
	}
	return nil
}

func (p *player) write(ctx context.Context, way string, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	result := wanted.DeepCopy()
	p.in.listen()
	switch way {
	case "create":
		return result, p.as.Create(ctx, result)
	case "update", "metadata":
		return result, p.as.Update(ctx, result)
	case "status":
		return result, p.as.Status().Update(ctx, result)
	case "merge patch":
		before := p.stored.DeepCopy()
		before.SetAPIVersion(wanted.GetAPIVersion())
		return result, p.as.Patch(ctx, result, client.MergeFrom(before))
	case "JSON patch":
		operations, err := json.Marshal([]map[string]any{
			{"op": "add", "path": "/metadata/annotations", "value": table(wanted.Object, "metadata", "annotations")},
			{"op": "add", "path": "/metadata/labels", "value": table(wanted.Object, "metadata", "labels")},
			{"op": "add", "path": "/spec", "value": wanted.Object["spec"]},
		})
		if err != nil {
			return nil, err
		}
		return result, p.as.Patch(ctx, result, client.RawPatch(types.JSONPatchType, operations))
	}
	result.SetManagedFields(nil)
	result.SetResourceVersion("")
	options := []client.ApplyOption{client.FieldOwner("another")}
	if way == "apply by another, forced" {
		options = append(options, client.ForceOwnership)
	}
	return result, p.as.Apply(ctx, client.ApplyConfigurationFromUnstructured(result), options...)
}

// next is what the next write wants: a new object, or the stored one with changes.
func (p *player) next(way string) *unstructured.Unstructured {
	if p.stored == nil {
		o := &unstructured.Unstructured{Object: map[string]any{"kind": p.kind, "metadata": map[string]any{"namespace": p.at.namespace, "name": p.at.name}}}
		p.renew(o)
		return o
	}
	o := p.stored.DeepCopy()
	switch way {
	case "metadata":
		switch p.IntN(3) {
		case 0:
			o.SetLabels(map[string]string{"changed": strconv.Itoa(p.IntN(100))})
		case 1:
			o.SetFinalizers(pick(p, []string{"example.com/a"}, nil))
		case 2:
			if err := unstructured.SetNestedSlice(o.Object, []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": strconv.Itoa(p.IntN(100))}}, "metadata", "ownerReferences"); err != nil {
				panic(err)
			}
		}
		p.keepLabels(o)
	case "status":
		o.Object["spec"] = p.spec()
	default:
		p.renew(o)
	}
	return o
}

// keepLabels keeps labels of ours that are stored: to take one away is no change of
// metadata alone.
func (p *player) keepLabels(o *unstructured.Unstructured) {
	labels := o.GetLabels()
	for key, value := range p.stored.GetLabels() {
		if strings.HasPrefix(key, ourPrefix) {
			labels[key] = value
		}
	}
}

// renew changes annotations, the spec, or both.
func (p *player) renew(o *unstructured.Unstructured) {
	if p.stored == nil || p.IntN(3) > 0 {
		annotations := p.annotations()
		o.SetAnnotations(annotations)
	}
	if p.stored == nil || p.IntN(3) > 0 {
		o.Object["spec"] = p.spec()
	}
	p.in.vary(p, o)
	if p.IntN(20) == 0 {
		o.SetLabels(map[string]string{ourPrefix + "managed": "true"})
	}
	o.Object = runtime.DeepCopyJSON(normal(o.Object))
}

// normal is an object as JSON has it.
func normal(o map[string]any) map[string]any {
	encoded, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &u.Object); err != nil {
		panic(err)
	}
	for key, value := range u.Object {
		u.Object[key] = integers(value)
	}
	return u.Object
}

func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		return int64(v)
	}
	return value
}

func (p *player) annotations() map[string]string {
	found := map[string]string{"note": strconv.Itoa(p.IntN(5))}
	if p.IntN(8) > 0 {
		found[ourPrefix+"mode"] = pick(p, "mutual", "mutual", "mutual", "mutual", "optional", "disabled", "Mutual", "", "strict")
	}
	if p.IntN(3) == 0 {
		found[ourPrefix+"min-tls"] = pick(p, "TLSv1.2", "TLSv1.3", "TLSv1.3", "1.3")
	}
	if p.IntN(4) == 0 && p.kind == "Gateway" {
		found[ourPrefix+"allowed-clients"] = pick(p, "client/billing", "client/billing, spiffe://example.com/ns/x/client/y")
	}
	if p.IntN(3) == 0 && p.kind == "APIRule" {
		found[ourPrefix+"client-headers"] = pick(p, "uri", "uri, serial", "uri, email")
	}
	if p.IntN(6) == 0 {
		key := pick(p, "key-algorithm", "authorities", "certificate-lifetime", "server-certificate")
		found[ourPrefix+key] = pick(p, grammar[p.kind][key][0], grammar[p.kind][key][0], "!")
	}
	if p.IntN(4) == 0 {
		found[ourPrefix+"server-certificate"] = "provided"
		if p.kind == "APIRule" && p.IntN(4) > 0 {
			found[ourPrefix+"server-credential-name"] = pick(p, "own", "own", "own", "own-cacert", "a.mtls")
		}
	}
	if p.IntN(15) == 0 {
		found[pick(p, "Mtls.sallyport.dev/mode", ourPrefix+"modes", ourPrefix+"Mode", ourPrefix+"owner", ourPrefix+"adopt", ourPrefix+"unreferenced-since")] = "mutual"
	}
	return found
}

func (p *player) spec() map[string]any {
	if p.kind == "APIRule" {
		return p.rule()
	}
	return p.gateway()
}

// gateway is the spec of a complete one, as one of the modes has it, with up to two
// things changed.
func (p *player) gateway() map[string]any {
	base := p.at.namespace + "." + p.at.name + ".mtls"
	server := map[string]any{
		"port":  map[string]any{"number": int64(443), "name": "https", "protocol": pick(p, "HTTPS", "HTTPS", "https", "TLS")},
		"hosts": []any{"a.example.com"},
		"tls":   map[string]any{"mode": pick(p, "MUTUAL", "MUTUAL", "MUTUAL", "OPTIONAL_MUTUAL"), "credentialName": base, "caCertCredentialName": base + "-cacert", "minProtocolVersion": pick(p, "TLSV1_2", "TLSV1_2", "TLSV1_3")},
	}
	if p.IntN(5) == 0 {
		table(server, "tls")["subjectAltNames"] = pick(p,
			[]any{"spiffe://example.com/ns/" + p.at.namespace + "/client/billing", "spiffe://example.com/sallyport/probe"},
			[]any{"spiffe://example.com/sallyport/probe", "spiffe://example.com/ns/x/client/y", "spiffe://example.com/ns/" + p.at.namespace + "/client/billing"},
			[]any{"spiffe://example.com/ns/other/client/billing"}, []any{})
	}
	if p.IntN(4) == 0 {
		table(server, "tls")["credentialName"] = "own" // whose CA stands apart
	}
	servers := []any{server}
	if p.IntN(4) == 0 {
		second := runtime.DeepCopyJSON(server)
		second["port"] = map[string]any{"number": int64(8443), "name": "second", "protocol": pick(p, "HTTPS", "HTTP", "TCP", "GRPC")}
		if p.IntN(2) == 0 {
			p.spoil(second)
		}
		servers = append(servers, second)
	}
	for range p.IntN(3) {
		if p.IntN(2) == 0 {
			p.spoil(server)
		}
	}
	if p.IntN(30) == 0 {
		servers = []any{}
	}
	return map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": servers}
}

// spoil changes one thing of a server, mostly for the worse.
func (p *player) spoil(server map[string]any) {
	settings := table(server, "tls")
	if settings == nil {
		return
	}
	switch p.IntN(14) {
	case 0:
		delete(server, "tls")
	case 1:
		settings["mode"] = pick(p, "SIMPLE", "PASSTHROUGH", "ISTIO_MUTUAL", "AUTO_PASSTHROUGH", "OPTIONAL_MUTUAL")
	case 2:
		delete(settings, pick(p, "mode", "credentialName", "caCertCredentialName", "minProtocolVersion"))
	case 3:
		settings["insecureSkipVerify"] = pick(p, true, false)
	case 4:
		settings[pick(p, "serverCertificate", "privateKey", "caCertificates", "caCrl")] = pick(p, "/etc/certs/x.pem", "")
	case 5:
		settings["credentialName"] = pick(p, "", "own", "own-cacert", "other.edge.mtls", "kubernetes-gateway://a/b", "configmap://a", "builtin://")
	case 6:
		settings["caCertCredentialName"] = pick(p, "other", "own-cacert", "configmap://a", "")
	case 7:
		settings["credentialName"], settings["caCertCredentialName"] = "own", "own-cacert"
	case 8:
		settings["minProtocolVersion"] = pick(p, "TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_3")
	case 9:
		settings["httpsRedirect"] = pick(p, true, false)
	case 10:
		table(server, "port")["protocol"] = pick(p, "HTTP", "HTTP2", "GRPC", "TCP", "MONGO", "tls")
	case 11:
		server["hosts"] = pick(p, []any{"*"}, []any{"a.example.com", "*/*"}, []any{"./*"}, []any{"*.example.com"}, []any{"*/b.example.com"})
	case 12:
		settings[pick(p, "verifyCertificateSpki", "verifyCertificateHash")] = pick(p, []any{"c"}, []any{})
	case 13:
		settings["cipherSuites"] = pick(p, []any{}, []any{"ECDHE-RSA-AES128-GCM-SHA256"})
	}
}

func (p *player) rule() map[string]any {
	headers := map[string]any{}
	if p.IntN(2) == 0 {
		asked := pick(p, []string{"uri"}, []string{"uri", "serial"})
		for name, header := range identityHeader {
			value := name + "="
			for _, a := range asked {
				if a == name {
					value += header[1]
				}
			}
			headers[header[0]] = value
		}
		switch p.IntN(6) {
		case 0:
			headers["x-client-cert-uri"] = "me"
		case 1:
			delete(headers, "X-Client-Cert-Dns")
		case 2:
			headers["X-Client-Cert-Subject"] = "%DOWNSTREAM_PEER_SUBJECT%"
		}
	}
	rule := map[string]any{"path": "/*", "methods": []any{"GET"}, "noAuth": true}
	if len(headers) > 0 {
		rule["request"] = map[string]any{"headers": headers}
	}
	rules := []any{rule}
	if p.IntN(4) == 0 {
		rules = append(rules, map[string]any{"path": "/other", "methods": []any{"GET"}, "noAuth": true})
	}
	spec := map[string]any{"service": map[string]any{"name": "a", "port": int64(80)}, "rules": rules}
	if gateway := pick(p, "", "shop/edge", "shop/edge", "kyma-system/kyma-gateway", p.at.namespace+"/"+p.at.name+"-mtls"); gateway != "" {
		spec["gateway"] = gateway
	}
	if p.IntN(15) == 0 {
		spec["externalGateway"] = "somewhere/else"
	}
	if p.at.version == "v1beta1" {
		spec["host"] = "a.example.com"
		return spec
	}
	spec["hosts"] = []any{"a.example.com"}
	return spec
}
