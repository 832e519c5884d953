package admission

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxWarning and maxWarnings are bytes: of one warning, and of all together. The
	// API server itself cuts warnings off beyond 256 runes and 4096 in total, without
	// a sign; see k8s.io/apiserver/pkg/endpoints/filters/warning.go.
	maxWarning  = 256
	maxWarnings = 4096
	// maxMessage bounds the text of a denial. A denial names every bad field, and an
	// object may have hundreds; the first ones say enough.
	maxMessage = 2048
	// ellipsis is the sign that something was cut off.
	ellipsis = "..."
)

// boundWarnings cuts each warning to its limit and drops those beyond the total.
func boundWarnings(warnings []string) []string {
	var bounded []string
	total := 0
	for _, warning := range warnings {
		warning = printable(warning, maxWarning)
		if total += len(warning); total > maxWarnings {
			break
		}
		bounded = append(bounded, warning)
	}
	return bounded
}

// printable makes text fit for a terminal and a header: valid UTF-8, nothing that
// moves a cursor or reverses a line, at most limit bytes.
func printable(text string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		default:
			return r
		}
	}, text)
	if len(clean) <= limit {
		return clean
	}
	cut := limit - len(ellipsis)
	for !utf8.RuneStart(clean[cut]) {
		cut--
	}
	return clean[:cut] + ellipsis
}
