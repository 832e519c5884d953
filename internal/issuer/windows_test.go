package issuer

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
)

func TestWindowsOpenInTheirTimeZone(t *testing.T) {
	spec := []v1alpha1.RotationWindow{{Schedule: "30 2 * * 6", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "America/New_York"}}
	parsed, err := windows(spec)
	if err != nil {
		t.Fatal(err)
	}
	// The first of November 2026 is a Sunday: on the Saturday before summer time still holds.
	got := parsed[0].Opens(time.Date(2026, 10, 28, 0, 0, 0, 0, time.UTC))
	if want := time.Date(2026, 10, 31, 6, 30, 0, 0, time.UTC); !got.Equal(want) || parsed[0].Duration != time.Hour {
		t.Errorf("it opens at %s for %s, expected %s", got, parsed[0].Duration, want)
	}
	if got, want := parsed[0].Opens(got), time.Date(2026, 11, 7, 7, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("then at %s, expected %s", got, want)
	}
}

func TestWindowsThatCannotBeRead(t *testing.T) {
	for schedule, zone := range map[string]string{
		"": "", "@daily": "", "* * * *": "", "0 25 * * *": "", "0 2 * * 6 2026": "", "TZ=UTC 0 2 * * 6": "", "0 2 * * 6": "Mars/Olympus", "0 3 * * 6": "Local", "@every 1s": "",
	} {
		_, err := windows([]v1alpha1.RotationWindow{{Schedule: schedule, TimeZone: zone}})
		if err == nil || !strings.HasPrefix(err.Error(), "spec.rotation.windows[0].") {
			t.Errorf("%q in %q: %v", schedule, zone, err)
		}
	}
}
