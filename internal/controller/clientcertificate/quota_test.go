package clientcertificate

import (
	"testing"
	"time"
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
