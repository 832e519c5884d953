package metrics

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// Whatever a label holds, Prometheus reads it as it was, or where it was no UTF-8, as
// client_golang would have written it.
func TestAnyLabelIsReadBack(t *testing.T) {
	for name, value := range map[string]string{
		"a name":             "shop",
		"nothing":            "",
		"a newline":          "a.example.com\nsallyport_probe_result 1",
		"a quote":            `"} 1`,
		"a backslash":        `\n\`,
		"control characters": "\x00\x1b[31m\r\t",
		"other scripts":      "Größe 大小 \u202e",
		"what is no UTF-8":   "a\xff\xfeb\xc3",
		"very much":          strings.Repeat(`"`, 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetric("sallyport_test", "Test.", "first", "second")
			var text bytes.Buffer
			p := newPage(&text, 10)
			p.series(m, 7, value, "b")
			if err := p.finish(nil); err != nil {
				t.Fatal(err)
			}
			want := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_test", Help: "Test."}, []string{"first", "second"})
			want.WithLabelValues(strings.ToValidUTF8(value, "\ufffd"), "b").Set(7)
			if name == "what is no UTF-8" {
				want.Reset()
				want.WithLabelValues("a\ufffd\ufffdb\ufffd", "b").Set(7) // one for each byte
			}
			registry := prometheus.NewRegistry()
			registry.MustRegister(want)
			if err := testutil.GatherAndCompare(registry, &text); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of too many those of the lowest rank are left, in their order, and the others counted.
func TestWhatRanksFirstIsKept(t *testing.T) {
	type ranked struct{ at, rank int }
	rapid.Check(t, func(t *rapid.T) {
		ranks := rapid.SliceOf(rapid.IntRange(0, 20)).Draw(t, "ranks")
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		all := make([]ranked, len(ranks))
		for i, r := range ranks {
			all[i] = ranked{i, r}
		}
		p := newPage(&bytes.Buffer{}, limit)
		kept := slices.Collect(within(p, newMetric("sallyport_test", "Test.", "label"), slices.Values(all), func(r ranked) int64 { return int64(r.rank) }))

		want := slices.Clone(all)
		slices.SortStableFunc(want, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
		want = want[:min(limit, len(want))]
		slices.SortFunc(want, func(a, b ranked) int { return cmp.Compare(a.at, b.at) })
		if !slices.Equal(want, kept) {
			t.Errorf("kept %v of %v, expected %v", kept, all, want)
		}
		if got, want := p.dropped[0].series, len(all)-len(want); got != want {
			t.Errorf("%d are told to be dropped, expected %d", got, want)
		}
	})
}

// full takes so many bytes.
type full int

var errFull = errors.New("the other side is gone")

func (f *full) Write(text []byte) (int, error) {
	if len(text) > int(*f) {
		return 0, errFull
	}
	*f -= full(len(text))
	return len(text), nil
}

func TestAPageEndsWithItsWriter(t *testing.T) {
	room := full(2 * pageSize)
	p := newPage(&room, 10)
	m := newMetric("sallyport_test", "Test.", "label")
	for range 10000 {
		p.series(m, 1, "a")
	}
	if err := p.finish(nil); !errors.Is(err, errFull) {
		t.Errorf("error %v, expected %v", err, errFull)
	}
	if len(p.text) != 0 || cap(p.text) > 2*pageSize {
		t.Errorf("%d bytes are kept, with room for %d", len(p.text), cap(p.text))
	}
}

func TestAPageIsWrittenInPieces(t *testing.T) {
	var pieces []int
	p := newPage(writer(func(text []byte) (int, error) { pieces = append(pieces, len(text)); return len(text), nil }), 10)
	m := newMetric("sallyport_test", "Test.", "label")
	for range 5000 {
		p.series(m, 1, "a")
	}
	if err := p.finish(nil); err != nil || len(pieces) < 5 || slices.Max(pieces) > pageSize {
		t.Errorf("pieces of %v bytes, error %v", pieces, err)
	}
	if diff := gocmp.Diff(pageSize, cap(p.text)); diff != "" {
		t.Errorf("the page grew (-want +got):\n%s", diff)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }
