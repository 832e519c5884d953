package issuer

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/rotate"
)

// fiveFields is cron as the API has it: no seconds, and no words for a whole schedule.
var fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Windows are the times in which an authority may enter another phase. With an error they never
// open: what is due within a phase goes on.
func Windows(spec []v1alpha1.RotationWindow) ([]rotate.Window, error) {
	parsed, err := windows(spec)
	if err != nil {
		return []rotate.Window{{Opens: func(time.Time) time.Time { return time.Time{} }}}, err
	}
	return parsed, nil
}

func windows(spec []v1alpha1.RotationWindow) ([]rotate.Window, error) {
	windows := make([]rotate.Window, len(spec))
	for i, w := range spec {
		at := fmt.Sprintf("spec.rotation.windows[%d]", i)
		zone := time.UTC
		if w.TimeZone != "" {
			var err error
			if zone, err = time.LoadLocation(w.TimeZone); err != nil || w.TimeZone == "Local" {
				return nil, fmt.Errorf("%s.timeZone: %q is no name of the IANA time zone database, such as Europe/Berlin", at, w.TimeZone)
			}
		}
		if strings.Contains(w.Schedule, "=") { // the library would read a time zone before it
			return nil, fmt.Errorf("%s.schedule: %q is not in the five fields of cron, such as 0 2 * * 6", at, w.Schedule)
		}
		schedule, err := fiveFields.Parse(w.Schedule)
		if err != nil {
			return nil, fmt.Errorf("%s.schedule: %q is not in the five fields of cron, such as 0 2 * * 6: %w", at, w.Schedule, err)
		}
		windows[i] = rotate.Window{Opens: func(after time.Time) time.Time { return schedule.Next(after.In(zone)) }, Duration: w.Duration.Duration}
	}
	return windows, nil
}
