package programming

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// What is stored behind a Gateway that cannot be programmed, whose authority cannot be read, or is gone: its own generations g1 and g2,
// a partner's CA, and one of which nobody knows whose it is.
func TestWhatRemainsTrusted(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	cas, order := map[string]pki.BundleEntry{}, []string{"g1", "g2", "partner", "unknown"}
	for _, name := range order {
		parsed, err := pki.ParseCertificates(testpki.Root(t, name, testpki.Around(now)).PEM())
		if err != nil {
			t.Fatal(err)
		}
		cas[name] = pki.BundleEntry{CA: parsed[0]}
	}
	ended, err := pki.ParseCertificates(testpki.Root(t, "ended", testpki.Span{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour)}).PEM())
	if err != nil {
		t.Fatal(err)
	}
	cas["ended"] = pki.BundleEntry{CA: ended[0]}
	const withdrawn = v1alpha1.GenerationWithdrawn
	for sentence, row := range map[string]struct {
		stored      []string
		compromised []string
		states      [2]v1alpha1.GenerationState
		gone, named bool
		expected    []string
		nobody      bool
	}{
		"all stays":                          {stored: order, expected: order},
		"all stays of one that is gone":      {stored: order, gone: true, expected: order},
		"a compromised one goes":             {stored: order, compromised: []string{"g1"}, expected: []string{"g2", "partner", "unknown"}},
		"so does who may vouch for it":       {stored: order, compromised: []string{"g2"}, expected: []string{"partner", "unknown"}},
		"unless it went before":              {stored: []string{"g1"}, compromised: []string{"g2"}, expected: []string{"g1"}},
		"one that was withdrawn goes":        {stored: order, states: [2]v1alpha1.GenerationState{withdrawn, v1alpha1.GenerationActive}, expected: []string{"g2", "partner", "unknown"}},
		"a compromised partner goes":         {stored: order, compromised: []string{"partner"}, expected: []string{"g1", "g2", "unknown"}},
		"partners go where names count":      {stored: order, named: true, expected: []string{"g1", "g2", "unknown"}},
		"the last one goes":                  {stored: []string{"g1"}, compromised: []string{"g1"}, nobody: true},
		"the last one goes, a partner":       {stored: []string{"partner"}, named: true, nobody: true},
		"what has ended is left to gateways": {stored: []string{"ended"}},
		"one that has ended holds up none":   {stored: []string{"ended", "g1", "g2"}, compromised: []string{"g1"}, expected: []string{"g2"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			v := vouched{accepted: accepted{problem: &issuer.Problem{}}, others: []rotate.TrustedCertificate{{Name: "partner", Entries: []pki.BundleEntry{cas["partner"]}}}}
			v.Object = &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}}
			for i, id := range []string{"g1", "g2"} {
				v.Object.Status.Generations = append(v.Object.Status.Generations, v1alpha1.AuthorityGeneration{ID: id, SubjectKeyID: cas[id].CA.SubjectKeyID(), State: row.states[i]})
			}
			for _, name := range row.compromised {
				v.Object.Spec.Rotation.Compromised = append(v.Object.Spec.Rotation.Compromised, cas[name].CA.SubjectKeyID())
			}
			if row.gone {
				v.Object, v.others = nil, nil
			}
			var stored []pki.BundleEntry
			for _, name := range row.stored {
				stored = append(stored, cas[name])
			}
			f := &facts{}
			if row.named {
				f.trust.namedBy = "allowed-clients"
			}
			trusted, nobody := remainingOf(stored, []vouched{v}, f, now)
			var found []string
			for _, ca := range trusted.Certificates() {
				found = append(found, ca.X509().Subject.CommonName)
			}
			slices.Sort(found)
			if diff := cmp.Diff(row.expected, found); diff != "" || nobody != row.nobody {
				t.Errorf("nobody: %t, expected %t; trusted (-expected +found):\n%s", nobody, row.nobody, diff)
			}
		})
	}
}
