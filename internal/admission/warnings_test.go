package admission

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestWarningsKeepWithinTheAPIServersLimits(t *testing.T) {
	long := strings.Repeat("a", 300)
	tests := map[string]struct{ given, want []string }{
		"none":             {nil, nil},
		"short":            {[]string{"a", "b"}, []string{"a", "b"}},
		"exactly as long":  {[]string{long[:256]}, []string{long[:256]}},
		"too long":         {[]string{long}, []string{long[:253] + "..."}},
		"cut inside of é":  {[]string{strings.Repeat("é", 200)}, []string{strings.Repeat("é", 126) + "..."}},
		"control, newline": {[]string{"a\x1b[31m\nb\u202ec\xff"}, []string{"a?[31m b?c?"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, boundWarnings(tt.given)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
	var many []string
	for range 1000 {
		many = append(many, long)
	}
	if got := len(boundWarnings(many)); got != maxWarnings/maxWarning {
		t.Errorf("%d warnings are sent, expected %d", got, maxWarnings/maxWarning)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain", 256)
	f.Add("é\x1b\u202e\xff\n", 5)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(limit%1024, len(ellipsis)+utf8.UTFMax)
		got := printable(text, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\n\r\u202e") {
			t.Errorf("printable(%q, %d) = %q", text, limit, got)
		}
		if again := printable(got, limit); again != got {
			t.Errorf("again: %q, before %q", again, got)
		}
	})
}
