package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prometheus is asked through its HTTP API.
type prometheus struct {
	address string
	client  *http.Client
}

// window is the time that is shown.
type window struct {
	end  time.Time
	span time.Duration
}

func (w window) start() time.Time { return w.end.Add(-w.span) }

// step makes 120 values of a window.
func (w window) step() time.Duration { return max(w.span/120, time.Second) }

// share is where a moment lies in the window.
func (w window) share(at time.Time) float64 { return float64(at.Sub(w.start())) / float64(w.span) }

// series is one of an answer.
type series struct {
	Metric map[string]string
	Values []sample
}

type sample struct {
	at    time.Time
	value float64
}

// UnmarshalJSON implements json.Unmarshaler: [seconds, "value"].
func (s *sample) UnmarshalJSON(data []byte) (err error) {
	var seconds float64
	var value string
	if err := json.Unmarshal(data, &[]any{&seconds, &value}); err != nil {
		return err
	}
	s.at = time.UnixMilli(int64(seconds * 1000))
	s.value, err = strconv.ParseFloat(value, 64)
	return err
}

func (s series) last() float64 { return s.Values[len(s.Values)-1].value }

// name is the series in words.
func (s series) name(format string) string {
	for label, value := range s.Metric {
		format = strings.ReplaceAll(format, "{{"+label+"}}", value)
	}
	return format
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// ask answers with the values of an expression over a window, ordered.
func (p prometheus) ask(ctx context.Context, expr string, w window) ([]series, error) {
	seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	form := url.Values{"query": {expr}, "start": {seconds(w.start())}, "end": {seconds(w.end)}, "step": {strconv.FormatFloat(w.step().Seconds(), 'f', -1, 64)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address+"/api/v1/query_range?"+form.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for %q: %w", expr, err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for %q: %w", expr, err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("asking for %q: reading an answer %s: %w", expr, response.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("asking for %q: the answer is %s: %s", expr, response.Status, answer.Error)
	}
	found := answer.Data.Result
	slices.SortFunc(found, func(a, b series) int { return strings.Compare(fmt.Sprint(a.Metric), fmt.Sprint(b.Metric)) })
	return found, nil
}
