package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// dashboard is what is drawn of the JSON that Grafana reads.
type dashboard struct {
	Title      string
	Panels     []panel
	Templating struct {
		List []struct{ Name, AllValue string }
	}
}

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr, LegendFormat string }
	FieldConfig struct {
		Defaults  field
		Overrides []struct {
			Matcher    struct{ Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options struct {
		SortBy []struct{ DisplayName string }
	}
	Transformations []struct {
		Options struct {
			ExcludeByName map[string]bool
			RenameByName  map[string]string
		}
	}
}

// field is how values are shown.
type field struct {
	Unit       string
	Thresholds struct {
		Steps []struct {
			Color string
			Value *float64
		}
	}
}

func read(path string) (dashboard, error) {
	var d dashboard
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		return d, fmt.Errorf("reading the dashboard: %w", err)
	}
	return d, nil
}

// resolve puts values in place of variables, as Grafana does when All is chosen.
func (d dashboard) resolve(expr string) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", "2m")
	for _, v := range d.Templating.List {
		expr = strings.ReplaceAll(expr, "$"+v.Name, v.AllValue)
	}
	return expr
}

// field is how values of a name are shown.
func (p panel) field(name string) (field, error) {
	f := p.FieldConfig.Defaults
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			into := map[string]any{"unit": &f.Unit, "thresholds": &f.Thresholds}[property.ID]
			if o.Matcher.Options != name || into == nil {
				continue
			}
			if err := json.Unmarshal(property.Value, into); err != nil {
				return f, fmt.Errorf("reading %s of %q: %w", property.ID, name, err)
			}
		}
	}
	return f, nil
}

// color of a value: that of the last threshold it reaches.
func (f field) color(value float64) string {
	color := "text"
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return colors[color]
}

// column is the name of a column of a table, empty if it is not shown.
func (p panel) column(name string) string {
	for _, t := range p.Transformations {
		if t.Options.ExcludeByName[name] {
			return ""
		}
		if renamed := t.Options.RenameByName[name]; renamed != "" {
			name = renamed
		}
	}
	return name
}
