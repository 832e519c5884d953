package install

import (
	"strings"
	"testing"
)

// BenchmarkMost gives the settings the most that is read of what is worst for them, and a
// mebibyte, which is refused unread. The goal is ten milliseconds for a mebibyte; who can
// write the settings is the platform itself.
func BenchmarkMost(b *testing.B) {
	const mebibyte = 1 << 20
	filled := func(text string) []byte { return []byte(strings.Repeat(text, mebibyte/len(text)+1)[:mebibyte]) }
	for name, text := range map[string][]byte{
		"lists": filled("- "), "flow": filled("["), "objects": filled("{a: "), "keys": filled("a: b\n"), "comments": filled("# a\n"), "one-string": filled("a"),
		"aliases":   []byte("a: &a [x]\n" + strings.Repeat("b: *a\n", maxSize/6)),
		"bomb":      bomb(),
		"ingresses": []byte("trustDomain: example.com\ningresses:\n" + strings.Repeat("- {name: a, namespace: b, selector: {a: b}}\n", maxSize/48)),
	} {
		for size, in := range map[string][]byte{"mebibyte": text, "most": text[:min(len(text), maxSize)]} {
			b.Run(name+"/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = Parse(in)
				}
			})
		}
	}
}

// bomb is nine lists, each of which names the one before nine times.
func bomb() []byte {
	text := "a0: &a0 [x]\n"
	for n := range 9 {
		before, own := string(rune('0'+n)), string(rune('1'+n))
		text += "a" + own + ": &a" + own + " [" + strings.TrimSuffix(strings.Repeat("*a"+before+",", 9), ",") + "]\n"
	}
	return []byte(text)
}
