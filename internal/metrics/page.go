package metrics

import (
	"io"
	"iter"
	"strconv"
	"unicode/utf8"
)

// pageSize is how many bytes are gathered until they are written.
const pageSize = 16 << 10

// page writes series as text, straight from what is cached. The client library's registry
// makes objects of all series of a scrape, and checks and sorts them: with 10,000 callers
// that takes ten times as long, and 36 MB, more than half of what the agent needs for
// everything else.
//
// All series of a metric have to come one after another, no two of them with the same
// labels. (https://prometheus.io/docs/instrumenting/exposition_formats/)
type page struct {
	to   io.Writer
	text []byte
	last *metric
	err  error
	// limit bounds the series of one metric; dropped tells how many there were more.
	limit   int
	dropped []dropped
}

// dropped says how many series of a metric were left out.
type dropped struct {
	metric string
	series int
}

func newPage(to io.Writer, limit int) *page {
	return &page{to: to, text: make([]byte, 0, pageSize), limit: limit}
}

// series writes one, with the values of its labels in their order.
func (p *page) series(m *metric, value int64, labels ...string) {
	if m != p.last {
		p.text, p.last = append(p.text, m.header...), m
	}
	for i, label := range labels {
		p.text = append(p.text, m.opens[i]...)
		p.text = appendLabel(p.text, label)
	}
	p.text = append(p.text, `"} `...)
	p.text = strconv.AppendInt(p.text, value, 10)
	p.text = append(p.text, '\n')
	if len(p.text) >= pageSize-pageSize/8 {
		p.flush()
	}
}

// flush writes what was gathered. After an error nothing is written any more.
func (p *page) flush() {
	if p.err == nil {
		_, p.err = p.to.Write(p.text)
	}
	p.text = p.text[:0]
}

// finish tells what was left out, and flushes.
func (p *page) finish(m *metric) error {
	for _, d := range p.dropped {
		p.series(m, int64(d.series), d.metric)
	}
	p.flush()
	return p.err
}

// appendLabel appends the value of a label as it has to be written.
func appendLabel(text []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return appendEscaped(text, value)
		}
	}
	return append(text, value...) // names of objects end here
}

func appendEscaped(text []byte, value string) []byte {
	for _, r := range value { // what is no UTF-8 comes as utf8.RuneError
		switch r {
		case '\\', '"':
			text = append(text, '\\', byte(r))
		case '\n':
			text = append(text, '\\', 'n')
		default:
			text = utf8.AppendRune(text, r)
		}
	}
	return text
}

// within are those of all that the page has room for: those of the lowest rank. The
// others are counted.
func within[T any](p *page, m *metric, all iter.Seq[T], rank func(T) int64) iter.Seq[T] {
	count := 0
	for range all {
		count++
	}
	p.dropped = append(p.dropped, dropped{m.name, max(0, count-p.limit)})
	if count <= p.limit {
		return all
	}
	return lowest(p.limit, count, all, rank)
}
