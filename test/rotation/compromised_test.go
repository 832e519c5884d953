package rotation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// authority reads the CertificateAuthority.
func (r *run) authority(ctx context.Context) (*unstructured.Unstructured, error) {
	return stored(ctx, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", r.ns, "default")
}

// patch changes its rotation.
func (r *run) patch(rotation string) {
	r.t.Helper()
	testenv.Eventually(r.t, patience, "a change of spec.rotation", func(ctx context.Context) error {
		ca, err := r.authority(ctx)
		if err != nil {
			return err
		}
		return stack.Client().Patch(ctx, ca, client.RawPatch(types.MergePatchType, []byte(`{"spec": {"rotation": `+rotation+`}}`)))
	})
}

// condition is status, reason and message of one of its conditions.
func (r *run) condition(ctx context.Context, kind string) (status, reason, message string, err error) {
	ca, err := r.authority(ctx)
	if err != nil {
		return "", "", "", err
	}
	conditions, _, _ := unstructured.NestedSlice(ca.Object, "status", "conditions")
	for _, each := range conditions {
		if c, is := each.(map[string]any); is && c["type"] == kind {
			return fmt.Sprint(c["status"]), fmt.Sprint(c["reason"]), fmt.Sprint(c["message"]), nil
		}
	}
	return "", "", "", nil
}

// eventually waits until a condition has a status and a reason, and returns its message.
func (r *run) eventually(kind, status, reason string) (message string) {
	r.t.Helper()
	testenv.Eventually(r.t, patience, kind+" is "+status+" for "+reason, func(ctx context.Context) error {
		s, why, said, err := r.condition(ctx, kind)
		if err == nil && (s != status || why != reason) {
			err = fmt.Errorf("it is %s for %s: %s", s, why, said)
		}
		message = said
		return err
	})
	return message
}

// ledger reads the record, keys and all, as a thief would.
func (r *run) ledger(ctx context.Context) (rotate.Ledger, error) {
	var list corev1.SecretList
	if err := stack.Client().List(ctx, &list, client.InNamespace(product.Namespace), client.MatchingLabels{"mtls.sallyport.dev/ledger": "keys"}); err != nil {
		return rotate.Ledger{}, err
	}
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Annotations["mtls.sallyport.dev/owner"], "CertificateAuthority/"+r.ns+"/") {
			return rotate.DecodeLedger(list.Items[i].Data)
		}
	}
	return rotate.Ledger{}, errors.New("there is no ledger of " + r.ns)
}

// thieves have certificates of a generation that they signed themselves: alone, and with what
// vouches for the generation.
func (r *run) thieves(id string) (map[string]edge.Caller, string) {
	r.t.Helper()
	ledger, err := r.ledger(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	callers, keyID := map[string]edge.Caller{}, ""
	for _, g := range ledger.Generations() {
		if g.ID != id {
			continue
		}
		keyID = g.Authority.Certificate().SubjectKeyID()
		signers := map[string]pki.Authority{"alone": g.Authority}
		if !g.Cross.IsZero() {
			if signers["vouched for"], err = g.Authority.Through(g.Cross); err != nil {
				r.t.Fatal(err)
			}
		}
		for how, signer := range signers {
			key, err := pki.GenerateKey(pki.ECDSAP256)
			if err != nil {
				r.t.Fatal(err)
			}
			pair, err := signer.IssueClient(pki.ClientRequest{CommonName: "thief", Identity: "spiffe://example.com/ns/" + r.ns + "/client/prompt-0", Lifetime: time.Minute}, key, time.Now())
			if err != nil {
				r.t.Fatal(err)
			}
			certificate, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
			if err != nil {
				r.t.Fatal(err)
			}
			callers[how] = edge.Caller{Certificates: []tls.Certificate{certificate}}
		}
	}
	if keyID == "" {
		r.t.Fatalf("there is no generation %s", id)
	}
	return callers, keyID
}

// throwOut has thieves accepted everywhere, says that their generation is compromised, and waits
// until they are refused everywhere. They stay refused for a while.
func (r *run) throwOut(id string) {
	r.t.Helper()
	thieves, keyID := r.thieves(id)
	each := func(ctx context.Context, want func(edge.Answer) bool) error {
		for how, thief := range thieves {
			for _, at := range r.targets {
				if a := thief.Call(ctx, at.address, at.serverName, at.serverName, "/status/418", nil); !want(a) {
					return fmt.Errorf("a thief whose certificate is %s is answered %s at %s", how, a, at.address)
				}
			}
		}
		return nil
	}
	refused := func(a edge.Answer) bool { return a.Refusal != "" }
	testenv.Eventually(r.t, patience, "thieves accepted before anybody knows", func(ctx context.Context) error {
		return each(ctx, func(a edge.Answer) bool { return a.Status == http.StatusTeapot })
	})
	r.patch(`{"compromised": ["` + keyID + `"]}`)
	took := testenv.Eventually(r.t, patience, "thieves refused everywhere", func(ctx context.Context) error { return each(ctx, refused) })
	r.t.Logf("%s: refused everywhere after %s", id, took.Round(time.Millisecond))
	for range 10 {
		if err := each(r.t.Context(), refused); err != nil {
			r.t.Errorf("later: %v", err)
		}
	}
}

func TestCompromisedGenerations(t *testing.T) {
	t.Run("the next one, before it issues", func(t *testing.T) {
		r := begin(t, "next", slow)
		defer r.report()
		r.patch(`{"minimumOverlap": "1m"}`)
		r.askForRotation()
		r.eventually("Rotating", "True", "Trust")
		r.throwOut("g2")
		r.wantNoneRefused() // nobody had a certificate of it
	})
	t.Run("the one before, after another took its place", func(t *testing.T) {
		r := begin(t, "before", slow)
		defer r.report()
		r.patch(`{"minimumOverlap": "0s"}`)
		r.askForRotation()
		r.eventually("Rotating", "True", "Retire")
		testenv.Eventually(t, patience, "every caller with a certificate of g2", func(context.Context) error {
			for _, c := range r.callers {
				if issuer := c.shelf.take().pair.Leaf.Issuer.CommonName; !strings.Contains(issuer, " g2 ") {
					return fmt.Errorf("%s has one of %s", c.shelf.name, issuer)
				}
			}
			return nil
		})
		r.throwOut("g1")
		for _, refusal := range r.tally.named() {
			if !strings.Contains(refusal, " g1 ") { // who keeps a certificate of it is cut off, as he is told
				t.Error(refusal)
			}
		}
	})
	t.Run("the only one", func(t *testing.T) {
		r := begin(t, "only", slow)
		defer r.report()
		r.throwOut("g1")
		told := r.eventually("CallersCutOff", "True", "Compromised")
		for _, c := range r.callers {
			if !strings.Contains(told, r.ns+"/"+c.shelf.name) {
				t.Errorf("the condition does not name %s: %s", c.shelf.name, told)
			}
		}
		testenv.Eventually(t, patience, "callers with new certificates and the new trust", func(ctx context.Context) error {
			for _, c := range r.callers {
				fresh := &caller{kind: prompt, shelf: c.shelf}
				fresh.onboard(time.Now())
				for _, at := range r.targets {
					if _, err := fresh.call(ctx, at); err != nil {
						return fmt.Errorf("%s: %w", c.shelf.name, err)
					}
				}
			}
			return nil
		})
	})
}
