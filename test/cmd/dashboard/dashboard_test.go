package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const chart = "../../../charts/sallyport/files/dashboard.json"

// fakePrometheus answers every query in the form of Prometheus, with the same series:
// three values, and a hole in the middle of the window where it is asked for one.
func fakePrometheus(t *testing.T, asked *[]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		expr, begin, end := r.FormValue("query"), number(t, r, "start"), number(t, r, "end")
		*asked = append(*asked, expr)
		if strings.Contains(expr, "broken") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error: broken"}`)
			return
		}
		if strings.Contains(expr, "absent") {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
			return
		}
		values := []any{[]any{begin, "0"}}
		if end > begin {
			values = append(values, []any{begin + 1, "NaN"}, []any{end, "1"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": []any{
			map[string]any{"metric": map[string]string{"namespace": "shop", "name": "gateway-<edge>", "kind": "Server"}, "values": values},
		}}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func number(t *testing.T, r *http.Request, name string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(r.FormValue(name), 64)
	if err != nil {
		t.Errorf("%s is %q", name, r.FormValue(name))
	}
	return value
}

// words are all the text elements of a picture that is well-formed XML.
func words(t *testing.T, svg string) []string {
	t.Helper()
	var found []string
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok && strings.TrimSpace(string(data)) != "" {
			found = append(found, string(data))
		}
	}
}

func TestEveryPanelOfTheChartIsDrawn(t *testing.T) {
	var asked []string
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--prometheus", fakePrometheus(t, &asked), "--dashboard", chart, "--end", "2026-11-25T12:00:00Z", "--range", "10m"}, &stdout, &stderr)
	if code != 0 || stderr.Len() > 0 {
		t.Fatalf("code %d: %s", code, stderr.String())
	}
	all := strings.Join(words(t, stdout.String()), "\n")
	d, err := read(chart)
	if err != nil {
		t.Fatal(err)
	}
	targets := 0
	for _, p := range d.Panels {
		targets += len(p.Targets)
		if !strings.Contains(all, p.Title) {
			t.Errorf("panel %q is not in the picture", p.Title)
		}
	}
	if len(asked) != targets {
		t.Errorf("%d questions, expected one for each of %d targets", len(asked), targets)
	}
	for _, expr := range asked {
		if strings.Contains(expr, "$") {
			t.Errorf("a variable is left in %q", expr)
		}
	}
	for _, want := range []string{"drawn from " + chart + " without Grafana", "10m0s until 2026-11-25 12:00:00 UTC", "gateway-<edge>", "ends in"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in the picture:\n%s", want, all)
		}
	}
}

func TestWhatIsNotKnownIsNotDrawn(t *testing.T) {
	one := func(kind, expr string) string {
		return fmt.Sprintf(`{"title": "D", "panels": [{"type": %q, "title": "P", "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8}, "targets": [{"refId": "A", "expr": %q, "legendFormat": "{{name}}"}],
			"fieldConfig": {"defaults": {"unit": "s", "thresholds": {"steps": [{"color": "red", "value": null}, {"color": "green", "value": 1}]}}}}]}`, kind, expr)
	}
	tests := map[string]struct {
		dashboard, said string
		drawn           []string
	}{
		"an expression that is wrong": {one("stat", "broken"), `drawing panel "P": asking for "broken": the answer is 400 Bad Request: parse error: broken`, nil},
		"a panel of another kind":     {one("piechart", "up"), `drawing panel "P": its type "piechart" is not known`, nil},
		"no JSON":                     {"{", "reading the dashboard: unexpected end of JSON input", nil},
		"nothing to show":             {one("stat", "absent"), "", []string{"nothing"}},
		"a line with a hole":          {one("timeseries", "up"), "", []string{"gateway-<edge>", "1s"}},
		"cells with a hole":           {one("status-history", "up"), "", []string{"gateway-<edge>"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dashboard.json")
			if err := os.WriteFile(path, []byte(test.dashboard), 0o600); err != nil {
				t.Fatal(err)
			}
			var asked []string
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"--prometheus", fakePrometheus(t, &asked), "--dashboard", path}, &stdout, &stderr)
			if test.said != "" {
				if got := strings.TrimPrefix(strings.TrimSpace(stderr.String()), "dashboard: "); code != 1 || got != test.said {
					t.Errorf("code %d, said %q, expected %q", code, got, test.said)
				}
				return
			}
			all := strings.Join(words(t, stdout.String()), "\n")
			for _, want := range test.drawn {
				if code != 0 || !strings.Contains(all, want) {
					t.Errorf("code %d, %q is not in the picture: %s%s", code, want, all, stderr.String())
				}
			}
			if strings.Contains(stdout.String(), "NaN") {
				t.Error("NaN is drawn")
			}
		})
	}
}

func TestValuesHaveUnits(t *testing.T) {
	for _, test := range []struct {
		value float64
		unit  string
		want  string
	}{
		{30 * 86400, "s", "30.0 d"}, {-3 * 86400, "s", "-3.0 d"}, {3661, "s", "1h1m1s"}, {-90, "s", "-1m30s"}, {0.1042, "s", "104 ms"},
		{2048, "bytes", "2.0 KiB"}, {12, "bytes", "12"}, {0.5, "reqps", "0.5/s"}, {3, "short", "3"}, {1.5, "", "1.5"},
	} {
		if got := format(test.value, test.unit); got != test.want {
			t.Errorf("%v in %q is %q, expected %q", test.value, test.unit, got, test.want)
		}
	}
}
