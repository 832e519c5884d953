package handshakes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Count is what one replica counted on one port since it began.
type Count struct {
	// Handshakes that were completed.
	Handshakes uint64
	// WithoutCertificate is in how many of them the caller had no certificate.
	WithoutCertificate uint64
	// Began is when it did, about; zero if it does not tell.
	Began time.Time
}

// errLeftOut says that a replica answers, and does not count handshakes.
var errLeftOut = errors.New("its statistics leave handshakes out")

// The counters, as Envoy names them for Prometheus (envoyproxy/envoy:source/common/tls/stats.h). A handshake is counted
// in the first whether it is resumed or not, and in the second as well if the session has no certificate of the caller
// (source/common/tls/context_impl.cc, logHandshake). One that fails because a certificate does not verify is in neither.
const (
	handshakesCounter = "envoy_listener_ssl_handshake"
	anonymousCounter  = "envoy_listener_ssl_no_certificate"
	listenerAddress   = "listener_address"
	// uptimeGauge is in seconds, and is brought up to date every few. Istio always takes it in, for its own readiness.
	uptimeGauge = "envoy_server_uptime"
)

// statistics is where Istio's proxies serve them to Prometheus (istio/istio:tools/packaging/common/envoy_bootstrap.json).
// The filter keeps the answer to what is read.
var statistics = "/stats/prometheus?filter=" + url.QueryEscape(`^(listener\..*\.ssl\.(handshake|no_certificate)|server\.uptime)$`)

const (
	// readTimeout bounds one look at one replica.
	readTimeout = 2 * time.Second
	// maxAnswer bounds what is read of its answer: some 200 bytes for each listener, of which there are a few; this is 300.
	// What is parsed takes 60 times as much memory at worst, for each of those that are asked at the same time.
	maxAnswer = 1 << 16
	// maxCount bounds a count: what is above is no whole number any more.
	maxCount = 1 << 53
	// maxUptime bounds what is believed of an uptime, in seconds: a century.
	maxUptime = 100 * 365 * 24 * 3600
)

// Reader asks replicas. It follows no redirect, goes through no proxy, and takes no longer answer than it can read at once.
type Reader struct {
	client http.Client
}

// NewReader returns a Reader.
func NewReader() *Reader {
	return &Reader{client: http.Client{
		Timeout:   readTimeout,
		Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Read is what a replica counted, by port. It is errLeftOut if it counts no handshakes.
func (r *Reader) Read(ctx context.Context, ip string, port uint32, now time.Time) (map[uint32]Count, error) {
	address := net.JoinHostPort(ip, strconv.FormatUint(uint64(port), 10))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+statistics, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for statistics: %w", err)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("port %d, where its statistics are, could not be reached", port) //nolint:errorlint // the text names addresses, and changes each time
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("port %d, where its statistics are, answered with status %d", port, answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errors.New("it is too long")
	}
	var counts map[uint32]Count
	if err == nil {
		counts, err = parse(text, now)
	}
	if err != nil && !errors.Is(err, errLeftOut) {
		return nil, fmt.Errorf("port %d, where its statistics are, answered with something else", port) //nolint:errorlint // the text would be the replica's
	}
	return counts, err
}

// parse reads counts by port. Listeners that share a port are added up; a port of which one number is left out has none.
func parse(text []byte, now time.Time) (map[uint32]Count, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading statistics: %w", err)
	}
	all, err := sums(families[handshakesCounter])
	if err != nil {
		return nil, err
	}
	anonymous, err := sums(families[anonymousCounter])
	if err != nil {
		return nil, err
	}
	var began time.Time
	for _, gauge := range families[uptimeGauge].GetMetric() {
		if uptime := gauge.GetGauge().GetValue(); uptime >= 0 && uptime < maxUptime {
			began = now.Add(-time.Duration(uptime) * time.Second)
		}
	}
	counts := map[uint32]Count{}
	for port, handshakes := range all {
		if without, both := anonymous[port]; both {
			counts[port] = Count{Handshakes: handshakes, WithoutCertificate: without, Began: began}
		}
	}
	if len(counts) == 0 {
		return nil, errLeftOut
	}
	return counts, nil
}

// sums adds the series of a counter up by port.
func sums(family *dto.MetricFamily) (map[uint32]uint64, error) {
	byPort := map[uint32]uint64{}
	for _, series := range family.GetMetric() {
		port, isPort := portOf(series)
		if !isPort {
			continue
		}
		value := series.GetCounter().GetValue()
		if !(value >= 0 && value < maxCount) { // nor NaN
			return nil, fmt.Errorf("the series of port %d is no count: %v", port, value)
		}
		if byPort[port] += uint64(value); byPort[port] >= maxCount {
			return nil, fmt.Errorf("the series of port %d are no count together: %d", port, byPort[port])
		}
	}
	return byPort, nil
}

// portOf is the port of a listener: the end of 0.0.0.0_8443 and [__]_8443.
func portOf(series *dto.Metric) (uint32, bool) {
	for _, label := range series.GetLabel() {
		if label.GetName() == listenerAddress {
			address := label.GetValue()
			port, err := strconv.ParseUint(address[strings.LastIndexByte(address, '_')+1:], 10, 16)
			return uint32(port), err == nil
		}
	}
	return 0, false
}
