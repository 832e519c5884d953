package cluster

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sallyport.dev/sallyport/internal/testpki"
)

// What a Secret has to hold to be the CA of an authority.
func TestBroughtFrom(t *testing.T) {
	now := time.Now()
	span := testpki.Around(now)
	root, other := testpki.Root(t, "root", span), testpki.Root(t, "other", span)
	sub := root.CA(t, "sub", span)
	subsub := sub.CA(t, "subsub", span)
	long := root.CA(t, "long", testpki.Span{From: span.From, To: span.To.Add(time.Hour)})
	fresh := func(of testpki.Issued) string { return string(of.CRL(t, 1, span)) }
	leaf := root.Leaf(t, "leaf", span)
	ended := testpki.Root(t, "ended", testpki.Span{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour)})
	later := testpki.Root(t, "later", testpki.Span{From: now.Add(time.Hour), To: now.Add(2 * time.Hour)})
	noCRLs := testpki.Root(t, "no CRLs", span, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	pair := func(of testpki.Issued, more ...string) map[string][]byte {
		data := map[string][]byte{"tls.crt": of.PEM(), "tls.key": of.KeyPEM(t)}
		for i := 0; i < len(more); i += 2 {
			data[more[i]] = []byte(more[i+1])
		}
		return data
	}
	for sentence, row := range map[string]struct {
		data map[string][]byte
		none bool // revocation None
		want string
	}{
		"a root and its key are":               {data: pair(root)},
		"with the root once more they are":     {data: pair(root, "ca.crt", string(root.PEM()))},
		"nothing is not":                       {want: "it has no tls.crt"},
		"a certificate alone is not":           {data: pair(root, "tls.key", ""), want: "it has no tls.key"},
		"a key of another is not":              {data: pair(root, "tls.key", string(other.KeyPEM(t))), want: "the private key does not belong to certificate"},
		"garbage is not":                       {data: pair(root, "tls.crt", "garbage"), want: "reading CA"},
		"another root behind it is not":        {data: pair(root, "tls.crt", string(root.PEM())+string(other.PEM())), want: `CA "other" is there and not above "root"`},
		"a leaf is not":                        {data: pair(leaf), want: "is not a CA"},
		"a CA below a root is":                 {data: pair(sub, "ca.crt", string(root.PEM()), "ca.crl", fresh(root))},
		"with the root behind it too":          {data: pair(sub, "tls.crt", string(sub.PEM())+string(root.PEM()), "ca.crl", fresh(root))},
		"two below it in any order are":        {data: pair(subsub, "ca.crt", string(root.PEM())+string(sub.PEM()), "ca.crl", fresh(root)+fresh(sub))},
		"one whose root is missing is not":     {data: pair(sub), want: `CA "sub" is signed by "CN=root", which is not there`},
		"one with a gap above it is not":       {data: pair(subsub, "ca.crt", string(root.PEM())), want: `CA "subsub" is signed by "CN=sub", which is not there`},
		"one without a CRL of its root is not": {data: pair(sub, "ca.crt", string(root.PEM())), want: `there is no CRL of CA "root" above it`},
		"one with a CRL of another is not":     {data: pair(sub, "ca.crt", string(root.PEM()), "ca.crl", fresh(other)), want: `there is no CRL of CA "root" above it`},
		"one with a stale CRL above is not":    {data: pair(sub, "ca.crt", string(root.PEM()), "ca.crl", string(root.CRL(t, 1, testpki.Span{From: now.Add(-time.Hour), To: now.Add(-time.Minute)}))), want: "above it: CRL 1 ended at"},
		"garbage for a CRL is not":             {data: pair(sub, "ca.crt", string(root.PEM()), "ca.crl", "garbage"), want: "reading CRL"},
		"without revocation no CRL is needed":  {data: pair(sub, "ca.crt", string(root.PEM())), none: true},
		"one that outlives its root is not":    {data: pair(long, "ca.crt", string(root.PEM()), "ca.crl", fresh(root)), want: "it ends at"},
		"a root with another above it is not":  {data: pair(root, "ca.crt", string(other.PEM())), want: `CA "other" is there and not above "root"`},
		"garbage above it is not":              {data: pair(root, "ca.crt", "garbage"), want: "reading the CAs above it: "},
		"a leaf above it is not":               {data: pair(sub, "ca.crt", string(root.PEM())+string(leaf.PEM())), want: "is not a CA"},
		"one thing twice above it is not":      {data: pair(sub, "ca.crt", string(root.PEM())+string(root.PEM())), want: `CA "root" is there twice`},
		"with too large CRLs above it is not":  {data: pair(sub, "ca.crt", string(root.PEM()), "ca.crl", strings.Repeat(fresh(root), 500)), want: "bytes, at most 131072 are taken"},
		"one that has ended is not":            {data: pair(ended), want: "ended at"},
		"one that has not begun is not":        {data: pair(later), want: "is not valid before"},
		"one that may not sign CRLs is not":    {data: pair(noCRLs), want: "may not sign CRLs: key usage cRLSign is missing"},
		"without revocation it is":             {data: pair(noCRLs), none: true},
		"a mebibyte of certificates is not":    {data: pair(root, "tls.crt", strings.Repeat(string(root.PEM()), 2000)), want: "at most"},
	} {
		t.Run(sentence+" a CA", func(t *testing.T) {
			got, err := broughtFrom(&corev1.Secret{Data: row.data}, !row.none, now)
			if row.want == "" {
				if err != nil || got.IsZero() {
					t.Fatalf("%v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || !got.IsZero() {
				t.Errorf("error %v, expected %q", err, row.want)
			}
		})
	}
}
