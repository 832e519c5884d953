package refusal

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// held is a Gateway that nobody opted in, with this server. Istio compares ages by
// the second and names after that, so its name comes first.
func held(host string, port int) string {
	return gatewayNamed("a-gateway", "annotations: {}", serverOn(port, "HTTPS", fmt.Sprintf("%q", host), "mode: SIMPLE, credentialName: a"))
}

// A host that an older Gateway has on the same port of the pods is refused, in
// whatever way either of the two spells it: Istio would drop the younger server
// without a word, and with it mutual TLS.
func TestHostsOfAnOlderGateway(t *testing.T) {
	rows := map[string]struct {
		theirs, ours string
		// port of the older server and of ours; 0 is 443.
		port, at int
		// index of the host in question among ours.
		index int
		// claims is the age that ours claims.
		claims string
	}{
		"the same host":                         {theirs: "a.HOST", ours: "a.HOST"},
		"the same wildcard":                     {theirs: "*.HOST", ours: "*.HOST"},
		"theirs in upper case":                  {theirs: "A.HOST", ours: "a.HOST"},
		"ours in upper case":                    {theirs: "a.HOST", ours: "A.HOST"},
		"theirs with a trailing dot":            {theirs: "a.HOST.", ours: "a.HOST"},
		"ours with a trailing dot":              {theirs: "a.HOST", ours: "a.HOST."},
		"theirs for one namespace":              {theirs: "somewhere/a.HOST", ours: "a.HOST"},
		"ours for its own namespace":            {theirs: "a.HOST", ours: "./a.HOST"},
		"theirs for all namespaces":             {theirs: "*/a.HOST", ours: "a.HOST"},
		"the same letters beyond ASCII":         {theirs: "XN--BCHER-KVA.HOST", ours: "xn--bcher-kva.HOST"},
		"another port that ends up on the same": {theirs: "a.HOST", ours: "a.HOST", port: 8443},
		"ours on a port that ends up on theirs": {theirs: "a.HOST", ours: "a.HOST", at: 8443},
		"the second host of a server":           {theirs: "b.HOST", ours: "a.HOST, b.HOST", index: 1},
		"another port that nobody translates":   {theirs: "a.HOST", ours: "a.HOST", port: 9443, at: 9443},
		"ours, which claims to be from before":  {theirs: "a.HOST", ours: "a.HOST", claims: "2001-01-01T00:00:00Z"},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			id := "held-" + strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return '-'
			}, strings.ToLower(name))
			host := id + ".example.com"
			p := places(t, id)
			namespace(t, id+"-older")
			port, at := cmp.Or(r.port, 443), cmp.Or(r.at, 443)
			older := strings.ReplaceAll(held(r.theirs, port), "HOST", host)
			create(t, fill(older, "v1", id+"-older"))
			names := `"` + strings.ReplaceAll(r.ours, ", ", `", "`) + `"`
			ours := strings.ReplaceAll(serverOn(at, "HTTPS", names, ""), "HOST", host)
			canonical := strings.ToLower(strings.TrimSuffix(strings.ReplaceAll(r.theirs[strings.Index(r.theirs, "/")+1:], "HOST", host), "."))
			metadata := "annotations: {" + mutual + "}"
			if r.claims != "" {
				metadata += ", creationTimestamp: " + r.claims
			}
			refused := row{
				object: gatewayNamed("edge", metadata, ours), field: fmt.Sprintf("spec.servers[0].hosts[%d]", r.index),
				found:  fmt.Sprintf("host %s on port %d of ingress default is held by the older Gateway %s-older/a-gateway", canonical, at, id),
				wayOut: "take the host off one of the two",
			}
			// The webhook hears of the older Gateway a moment after it is stored.
			awaitRefused(t, fill(refused.object, "v1", p.fresh))
			refused.refused(t, p, gatewayVersions)
		})
	}
}

// What looks like a conflict and is none is accepted.
func TestHostsThatNobodyElseHolds(t *testing.T) {
	const id = "free"
	namespace(t, id)
	namespace(t, id+"-older")
	create(t, fill(held("*.free.example.com", 443), "v1", id+"-older"))
	rows := map[string]string{
		"a narrower host under an older wildcard":   serverOn(443, "HTTPS", "a.free.example.com", ""),
		"a wildcard under an older wildcard":        serverOn(443, "HTTPS", `"*.a.free.example.com"`, ""),
		"the domain of an older wildcard":           serverOn(443, "HTTPS", "free.example.com", ""),
		"the same host on another port of the pods": serverOn(9443, "HTTPS", `"*.free.example.com"`, ""),
	}
	for name, s := range rows {
		t.Run(name, func(t *testing.T) {
			object := parse(t, fill(gateway(mutual, s), "v1", id))
			if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Gateway that had the host before the older one came keeps being editable, and
// every write says that somebody else serves it.
func TestAHostThatIsHeldAlreadyIsAWarning(t *testing.T) {
	const id = "already"
	namespace(t, id)
	namespace(t, id+"-older")
	create(t, fill(held("a.already.example.com", 443), "v1", id+"-older"))
	edge := create(t, fill(gateway(mtls+"mode: disabled", serverOn(443, "HTTPS", "a.already.example.com", "mode: SIMPLE, credentialName: b")), "v1", id))
	edge.SetAnnotations(map[string]string{mtls + "mode": "mutual"})
	shared.warnings.taken()
	testenv.Eventually(t, 5*time.Second, "a warning about the older Gateway", func(ctx context.Context) error {
		if err := shared.person.Update(ctx, edge.DeepCopy(), client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(shared.warnings.taken(), "\n")
		if !strings.Contains(said, "host a.already.example.com on port 443 of ingress default is held by the older Gateway already-older/a-gateway: Istio serves it from there, and drops the server that has it here") {
			return fmt.Errorf("the warnings are %q", said)
		}
		return nil
	})
}
