package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stat shows the last value of each target.
func (c *canvas) stat(p panel, b box, answers []answer, _ window) error {
	width := b.w / float64(len(answers))
	for i, a := range answers {
		words, color := "no data", colors["faint"]
		f, err := p.field(a.legend)
		if err != nil {
			return err
		}
		if len(a.series) > 0 {
			words, color = format(a.series[0].last(), f.Unit), f.color(a.series[0].last())
		}
		middle := b.x + width*(float64(i)+0.5)
		c.text(middle, b.y+b.h*0.55, 22, width, color, "middle", words)
		c.text(middle, b.y+b.h*0.9, 11, width, colors["text"], "middle", a.legend)
	}
	return nil
}

// row is one of a table: its labels, and the value of each target.
type row struct {
	labels map[string]string
	values map[string]float64
}

// merge makes one row of the series of all targets with the same labels, and tells the
// columns: labels first.
func merge(answers []answer) (rows []*row, columns []string) {
	byLabels := map[string]*row{}
	var values []string
	for _, a := range answers {
		name := "Value"
		if len(answers) > 1 {
			name += " #" + a.refID
		}
		values = append(values, name)
		for _, s := range a.series {
			key := fmt.Sprint(s.Metric)
			if byLabels[key] == nil {
				byLabels[key] = &row{s.Metric, map[string]float64{}}
				rows = append(rows, byLabels[key])
			}
			byLabels[key].values[name] = s.last()
			columns = append(columns, slices.Collect(maps.Keys(s.Metric))...)
		}
	}
	slices.Sort(columns)
	return rows, append(slices.Compact(columns), values...)
}

// table shows one row for each set of labels, and as many rows as there is room for.
func (c *canvas) table(p panel, b box, answers []answer, _ window) error {
	rows, columns := merge(answers)
	columns = slices.DeleteFunc(columns, func(name string) bool { return p.column(name) == "" })
	for _, by := range p.Options.SortBy {
		if i := slices.IndexFunc(columns, func(name string) bool { return p.column(name) == by.DisplayName }); i >= 0 {
			slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(a.values[columns[i]], b.values[columns[i]]) })
		}
	}
	room, x := int(b.h/line)-2, b.x
	shares, all := widths(rows, columns)
	for i, name := range columns {
		width := b.w * shares[i] / all
		c.text(x, b.y+line-4, 11, width-6, colors["faint"], "start", p.column(name))
		f, err := p.field(p.column(name))
		if err != nil {
			return err
		}
		for j, r := range rows[:min(room, len(rows))] {
			words, color := r.labels[name], colors["text"]
			if value, ok := r.values[name]; ok {
				words, color = format(value, f.Unit), f.color(value)
			}
			c.text(x, b.y+line*float64(j+2)-4, 11, width-6, color, "start", words)
		}
		x += width
	}
	if len(rows) > room {
		c.text(b.x, b.y+b.h, 11, b.w, colors["faint"], "start", fmt.Sprintf("and %d more", len(rows)-room))
	}
	return nil
}

// widths are the shares of the columns: by their longest label, within bounds.
func widths(rows []*row, columns []string) (shares []float64, all float64) {
	for _, name := range columns {
		longest := 9
		for _, r := range rows {
			longest = max(longest, len(r.labels[name]))
		}
		shares = append(shares, float64(min(longest, 36)))
		all += shares[len(shares)-1]
	}
	return shares, all
}

// lines are the colours of lines, in turn.
var lines = []string{"#3274d9", "#e8720c", "#37872d", "#8f3bb8", "#e02f44", "#00939a", "#9a7d0a", "#5a5f6b"}

// timeseries shows lines over the window, from zero up.
func (c *canvas) timeseries(p panel, b box, answers []answer, w window) error {
	plot := box{b.x + 58, b.y + 4, b.w - 64, b.h - 22 - line*2}
	highest, drawn := 0.0, 0
	for _, a := range answers {
		for _, s := range a.series {
			for _, v := range s.Values {
				if finite(v.value) {
					highest = max(highest, v.value)
				}
			}
		}
	}
	highest = cmp.Or(highest, 1)
	for _, share := range []float64{0, 0.5, 1} {
		y := plot.y + plot.h*(1-share)
		c.line(colors["empty"], plot.x, y, plot.x+plot.w, y)
		c.text(plot.x-4, y+4, 10, 54, colors["faint"], "end", format(highest*share, p.FieldConfig.Defaults.Unit))
	}
	c.times(plot, w)
	for _, a := range answers {
		for _, s := range a.series {
			color := lines[drawn%len(lines)]
			c.values(plot, s, color, highest, w)
			if x, y := b.x+float64(drawn%3)*b.w/3, b.y+b.h-line*float64(1-drawn/3); drawn < 6 {
				c.rect(box{x, y - 8, 8, 8}, color, "none")
				c.text(x+12, y, 10, b.w/3-14, colors["text"], "start", s.name(a.legend))
			}
			drawn++
		}
	}
	return nil
}

// values shows a series as a line that breaks where nothing is known.
func (c *canvas) values(b box, s series, color string, highest float64, w window) {
	var xy []float64
	for i, v := range s.Values {
		if i > 0 && v.at.Sub(s.Values[i-1].at) > w.step()*3/2 || !finite(v.value) {
			c.line(color, xy...)
			xy = nil
		}
		if finite(v.value) {
			xy = append(xy, b.x+b.w*w.share(v.at), b.y+b.h*(1-v.value/highest))
		}
	}
	c.line(color, xy...)
}

// times writes when the window begins and ends.
func (c *canvas) times(b box, w window) {
	c.text(b.x, b.y+b.h+13, 10, 80, colors["faint"], "start", w.start().UTC().Format("15:04:05"))
	c.text(b.x+b.w, b.y+b.h+13, 10, 80, colors["faint"], "end", w.end.UTC().Format("15:04:05"))
}

// history shows a row of cells for each series; where nothing is known a cell is empty.
func (c *canvas) history(p panel, b box, answers []answer, w window) error {
	rows := map[string]series{}
	for _, a := range answers {
		for _, s := range a.series {
			rows[s.name(a.legend)] = s
		}
	}
	names := slices.SortedFunc(maps.Keys(rows), strings.Compare)
	shown := names[:min(int((b.h-20)/12), len(names))]
	plot := box{b.x + b.w*0.42, b.y, b.w * 0.58, b.h - 18}
	height, width := min(line, plot.h/float64(len(shown))), plot.w*float64(w.step())/float64(w.span)
	for i, name := range shown {
		y := plot.y + float64(i)*height
		c.text(b.x, y+height*0.8, min(11, height*0.9), b.w*0.42-6, colors["text"], "start", name)
		c.rect(box{plot.x, y, plot.w, height - 1}, colors["empty"], "none")
		for _, v := range rows[name].Values {
			c.rect(box{plot.x + (plot.w-width)*w.share(v.at), y, width, height - 1}, p.FieldConfig.Defaults.color(v.value), "none")
		}
	}
	c.times(plot, w)
	if len(names) > len(shown) {
		c.text(b.x, b.y+b.h-4, 11, b.w*0.42, colors["faint"], "start", fmt.Sprintf("and %d more", len(names)-len(shown)))
	}
	return nil
}
