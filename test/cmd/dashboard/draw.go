package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"time"
)

// Sizes in pixels. A dashboard has 24 columns; letter is the mean width of one of size 11.
const (
	columnWidth, rowHeight, gap, head = 58, 34, 6, 56
	line, letter                      = 17, 6.1
)

// colors are those of Grafana's light theme, by name, and ours.
var colors = map[string]string{"green": "#37872d", "red": "#e02f44", "orange": "#e8720c", "text": "#52545c", "faint": "#9a9ca5", "empty": "#e9eaee", "ink": "#24292e"}

// box is a place on the canvas, in pixels.
type box struct{ x, y, w, h float64 }

type canvas struct{ bytes.Buffer }

func (c *canvas) rect(b box, fill, stroke string) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" stroke="%s"/>`+"\n", b.x, b.y, b.w, b.h, fill, stroke)
}

// text writes as much as fits into a width; anchor is the side at x.
func (c *canvas) text(x, y, size, width float64, color, anchor, words string) {
	if fits, letters := int(width/(letter*size/11)), []rune(words); len(letters) > fits {
		words = string(letters[:max(fits-1, 0)]) + "…"
	}
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" font-size="%g" fill="%s" text-anchor="%s">`, x, y, size, color, anchor)
	_ = xml.EscapeText(c, []byte(words)) // a buffer takes everything
	c.WriteString("</text>\n")
}

// line connects points, which are the first, the second and so on: x, y, x, y.
func (c *canvas) line(color string, xy ...float64) {
	fmt.Fprintf(c, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, color)
	for _, v := range xy {
		fmt.Fprintf(c, "%.1f ", v)
	}
	c.WriteString("\"/>\n")
}

// draw asks for what every panel shows, and writes the picture.
func draw(ctx context.Context, out io.Writer, d dashboard, path string, p prometheus, w window) error {
	width, height := 24.0*columnWidth+gap, 0.0
	for _, panel := range d.Panels {
		height = max(height, float64((panel.GridPos.Y+panel.GridPos.H)*rowHeight+head))
	}
	c := &canvas{}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="Helvetica, Arial, sans-serif">`+"\n", width, height)
	c.rect(box{0, 0, width, height}, "#f4f5f7", "none")
	c.text(gap, 24, 18, width, colors["ink"], "start", d.Title)
	said := fmt.Sprintf("drawn from %s without Grafana, with the answers of a Prometheus; %s until %s", path, w.span, w.end.UTC().Format("2006-01-02 15:04:05 UTC"))
	c.text(gap, 43, 12, width, colors["text"], "start", said)
	for _, drawn := range d.Panels {
		g := drawn.GridPos
		at := box{float64(g.X*columnWidth + gap), float64(g.Y*rowHeight + head), float64(g.W*columnWidth - gap), float64(g.H*rowHeight - gap)}
		c.rect(at, "#ffffff", colors["empty"])
		c.text(at.x+8, at.y+17, 12, at.w-16, colors["ink"], "start", drawn.Title)
		if err := c.panel(ctx, d, drawn, box{at.x + 8, at.y + 26, at.w - 16, at.h - 32}, p, w); err != nil {
			return fmt.Errorf("drawing panel %q: %w", drawn.Title, err)
		}
	}
	c.WriteString("</svg>\n")
	_, err := c.WriteTo(out)
	return err
}

// answer is what a target of a panel was answered.
type answer struct {
	refID, legend string
	series        []series
}

func (c *canvas) panel(ctx context.Context, d dashboard, drawn panel, b box, p prometheus, w window) error {
	kind, known := map[string]func(panel, box, []answer, window) error{"stat": c.stat, "table": c.table, "timeseries": c.timeseries, "status-history": c.history}[drawn.Type]
	if !known {
		return fmt.Errorf("its type %q is not known", drawn.Type)
	}
	if drawn.Type == "stat" || drawn.Type == "table" {
		w.span = 0 // what is now
	}
	empty, answers := true, []answer{}
	for _, t := range drawn.Targets {
		found, err := p.ask(ctx, d.resolve(t.Expr), w)
		if err != nil {
			return err
		}
		empty = empty && len(found) == 0
		answers = append(answers, answer{t.RefID, t.LegendFormat, found})
	}
	if empty {
		c.text(b.x+b.w/2, b.y+b.h/2, 12, b.w, colors["faint"], "middle", "nothing")
		return nil
	}
	return kind(drawn, b, answers, w)
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// format writes a value in its unit.
func format(value float64, unit string) string {
	size := math.Abs(value)
	switch {
	case !finite(value):
		return "-"
	case unit == "s" && size >= 48*3600:
		return fmt.Sprintf("%.1f d", value/86400)
	case unit == "s" && size >= 1:
		return time.Duration(value * 1e9).Round(time.Second).String()
	case unit == "s":
		return fmt.Sprintf("%.3g ms", value*1000)
	case unit == "bytes" && size >= 1024:
		return fmt.Sprintf("%.1f KiB", value/1024)
	case unit == "reqps":
		return fmt.Sprintf("%.3g/s", value)
	}
	return fmt.Sprintf("%.4g", value)
}
