package localstack

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLastLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		n    int
		want string
	}{
		"fewer lines than asked":              {"a\nb\n", 3, "a\nb"},
		"exactly as many":                     {"a\nb\nc\n", 3, "a\nb\nc"},
		"more lines than asked":               {"a\nb\nc\nd\n", 2, "c\nd"},
		"no newline at the end":               {"a\nb\nc", 2, "b\nc"},
		"one line":                            {"a\nb", 1, "b"},
		"nothing":                             {"", 2, ""},
		"empty lines at the end do not count": {"a\nb\n\n\n", 1, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lastLines([]byte(c.text), c.n); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTailOfALongLogIsItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.log")
	write(t, path, strings.Repeat(strings.Repeat("x", 99)+"\n", 2*tailBytes/100)+"the reason\n")
	got := tail(path, 2)
	if want := strings.Repeat("x", 99) + "\nthe reason"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTailSaysWhyThereIsNone(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.log")
	write(t, empty, "\n")
	if got := tail(empty, 2); got != "(the log is empty)" {
		t.Errorf("of an empty log: %q", got)
	}
	if got := tail(empty+".none", 2); !strings.HasPrefix(got, "(no log: ") {
		t.Errorf("of a missing log: %q", got)
	}
}
