package clientcertificate

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestHowLongACallerPauses(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		unexpired int
		lifetime  time.Duration
		hasGood   bool
		want      time.Duration
	}{
		"few":                                {unexpired: freely - 1, lifetime: 90 * day},
		"one too many":                       {unexpired: freely, lifetime: 90 * day, hasGood: true, want: time.Minute},
		"three too many":                     {unexpired: freely + 2, lifetime: 90 * day, want: 4 * time.Minute},
		"very many":                          {unexpired: freely + 1000, lifetime: 64 * day, hasGood: true, want: day},
		"very many, and nothing good":        {unexpired: freely + 1000, lifetime: 64 * day, want: time.Hour},
		"many that are short-lived":          {unexpired: freely + 5, lifetime: 64 * time.Second, hasGood: true, want: time.Second},
		"many that are short-lived, no good": {unexpired: freely + 5, lifetime: 64 * time.Second, want: time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := pause(test.unexpired, test.lifetime, test.hasGood); got != test.want {
				t.Errorf("he pauses for %s, expected %s", got, test.want)
			}
		})
	}
}

// When a certificate was issued follows from what is told of it, whatever its lifetime.
func TestWhenTheLastCertificateWasIssued(t *testing.T) {
	told := func(notBefore, notAfter time.Time) *v1alpha1.ClientCertificate {
		return caller("a", noon.Add(-24*time.Hour), func(c *v1alpha1.ClientCertificate) {
			c.Status.NotBefore, c.Status.NotAfter = &metav1.Time{Time: notBefore}, &metav1.Time{Time: notAfter}
		})
	}
	for _, lifetime := range []time.Duration{time.Minute, time.Hour, 100 * time.Minute, 2 * time.Hour, 90 * 24 * time.Hour} {
		issued := noon.Add(-pki.Backdate(lifetime))
		if got := lastIssue(told(issued, noon.Add(lifetime)), noon.Add(time.Second)); got.Sub(noon).Abs() > time.Second {
			t.Errorf("one for %s was issued at %s, expected %s", lifetime, got, noon)
		}
	}
	if got := lastIssue(told(noon, noon.Add(time.Hour)), noon); !got.Equal(noon) {
		t.Errorf("one of a CA that has just begun was issued at %s, expected no later than now, %s", got, noon)
	}
}

// A Secret that was not read holds what the status tells of: its caller is not without a certificate.
func TestACertificateThatWasNotReadIsGoodAsLongAsItIsTold(t *testing.T) {
	ends := func(after time.Duration) *v1alpha1.ClientCertificate {
		return caller("a", noon, issued(1), func(c *v1alpha1.ClientCertificate) { c.Status.NotAfter = &metav1.Time{Time: noon.Add(after)} })
	}
	for name, test := range map[string]struct {
		seen look
		of   *v1alpha1.ClientCertificate
		want bool
	}{
		"told, not read":      {look{unread: true}, ends(time.Hour), true},
		"told to have ended":  {look{unread: true}, ends(-time.Hour), false},
		"read, nothing there": {look{}, ends(time.Hour), false},
	} {
		if got := test.seen.hasGood(test.of, wish{}, noon); got != test.want {
			t.Errorf("%s: %t, expected %t", name, got, test.want)
		}
	}
}
