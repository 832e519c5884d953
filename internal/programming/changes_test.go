package programming

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/ingress"
)

// What looks at everything is not to do so whenever a handshake with one Gateway ends otherwise.
func TestWhatMovesGateways(t *testing.T) {
	gateway := types.NamespacedName{Namespace: "shop", Name: "edge"}
	for name, test := range map[string]struct {
		change func(*Changes)
		want   int
	}{
		"pods or Services changed": {func(c *Changes) { c.Note(ingress.Change{}) }, 1},
		"a Gateway changed":        {func(c *Changes) { c.Note(ingress.Change{Gateway: gateway}) }, 1},
		"again before it was read": {func(c *Changes) { c.Note(ingress.Change{}); c.Note(ingress.Change{}) }, 1},
		"a finding":                {func(c *Changes) { c.Touch(gateway) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewChanges(ingress.NewIndex(nil))
			test.change(c)
			if got := len(c.Moved()); got != test.want {
				t.Errorf("it comes %d times, want %d", got, test.want)
			}
		})
	}
}
