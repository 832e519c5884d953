package handshakes

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asEnvoy is what Envoy answers to what is asked: recorded from the local stack.
const asEnvoy = `# TYPE envoy_listener_ssl_handshake counter
envoy_listener_ssl_handshake{listener_address="0.0.0.0_8443"} 12
# TYPE envoy_listener_ssl_no_certificate counter
envoy_listener_ssl_no_certificate{listener_address="0.0.0.0_8443"} 3
`

// replica is a stand-in for a gateway replica that answers with a text.
func replica(t testing.TB, answer http.HandlerFunc) (ip string, port uint32) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	ip, text, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return ip, uint32(number)
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func TestWhatAReplicaAnswers(t *testing.T) {
	series := func(name, address, value string) string {
		return fmt.Sprintf("%s{listener_address=%q} %s\n", name, address, value)
	}
	both := func(address, all, without string) string {
		return "# TYPE " + handshakesCounter + " counter\n" + series(handshakesCounter, address, all) + "# TYPE " + anonymousCounter + " counter\n" + series(anonymousCounter, address, without)
	}
	const other = "answered with something else"
	tests := map[string]struct {
		answer http.HandlerFunc
		want   map[uint32]Count
		fails  string
	}{
		"as Envoy":                           {answer: says(asEnvoy), want: map[uint32]Count{8443: {Handshakes: 12, WithoutCertificate: 3}}},
		"since when":                         {answer: says(asEnvoy + "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 90\n"), want: map[uint32]Count{8443: {Handshakes: 12, WithoutCertificate: 3, Began: noon.Add(-90 * time.Second)}}},
		"since no time":                      {answer: says(asEnvoy + "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 1e300\n"), want: map[uint32]Count{8443: {Handshakes: 12, WithoutCertificate: 3}}},
		"an IPv6 listener":                   {answer: says(both("[__]_8443", "4", "0")), want: map[uint32]Count{8443: {Handshakes: 4, WithoutCertificate: 0}}},
		"listeners of one port":              {answer: says(strings.Replace(asEnvoy, "# TYPE envoy_listener_ssl_no", series(handshakesCounter, "[__]_8443", "5")+"# TYPE envoy_listener_ssl_no", 1)), want: map[uint32]Count{8443: {Handshakes: 17, WithoutCertificate: 3}}},
		"nothing is counted":                 {answer: says(""), fails: errLeftOut.Error()},
		"only the one number":                {answer: says("# TYPE " + handshakesCounter + " counter\n" + series(handshakesCounter, "0.0.0.0_8443", "5")), fails: errLeftOut.Error()},
		"only the one number of a port":      {answer: says(series(handshakesCounter, "0.0.0.0_9443", "5") + both("0.0.0.0_8443", "1", "0")), fails: other}, // a TYPE after its series
		"not of a port":                      {answer: says(both("internal", "5", "1")), fails: errLeftOut.Error()},
		"below zero":                         {answer: says(both("0.0.0.0_8443", "-1", "0")), fails: other},
		"no number":                          {answer: says(both("0.0.0.0_8443", "NaN", "0")), fails: other},
		"without end":                        {answer: says(both("0.0.0.0_8443", "+Inf", "0")), fails: other},
		"more than can be counted":           {answer: says(both("0.0.0.0_8443", "1e300", "0")), fails: other},
		"more than can be counted, together": {answer: says(both("0.0.0.0_8443", "9007199254740991", "0") + series(anonymousCounter, "[__]_8443", "9007199254740991") + series(anonymousCounter, "10.0.0.1_8443", "1")), fails: other},
		"cut off":                            {answer: says(asEnvoy[:len(asEnvoy)-2]), fails: other},
		"a page":                             {answer: says("<html>not found</html>"), fails: other},
		"too long":                           {answer: says(asEnvoy + strings.Repeat("# nothing\n", maxAnswer/10)), fails: other},
		"as long as may be":                  {answer: says(asEnvoy + strings.Repeat("#\n", (maxAnswer-len(asEnvoy))/2)), want: map[uint32]Count{8443: {Handshakes: 12, WithoutCertificate: 3}}},
		"an error":                           {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, fails: "answered with status 403"},
		"a way elsewhere, which is not gone": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, fails: "answered with status 302"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ip, port := replica(t, test.answer)
			got, err := NewReader().Read(t.Context(), ip, port, noon)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || got != nil {
					t.Fatalf("read %v, %v; want an error with %q", got, err, test.fails)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("error %v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestAReplicaThatIsNotThere(t *testing.T) {
	ip, port := replica(t, says(""))
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0")) // nobody answers here
	if err != nil {
		t.Fatal(err)
	}
	address, _ := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	if _, err := NewReader().Read(t.Context(), ip, uint32(address.Port), noon); err == nil || errors.Is(err, errLeftOut) { //nolint:gosec // a port
		t.Errorf("reading port %d of nobody (somebody is at %d): %v", address.Port, port, err)
	}
}

// An agent has some 200 MiB, and asks eight replicas at the same time: what one of them answers must not take what all share.
func TestWhatAnAnswerTakes(t *testing.T) {
	var text strings.Builder
	for n := 0; text.Len() < maxAnswer-16; n++ {
		fmt.Fprintf(&text, "a%s 1\n", strconv.FormatInt(int64(n), 36))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parse([]byte(text.String()), noon); !errors.Is(err, errLeftOut) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; taken > 16 {
		t.Errorf("an answer of %d bytes takes %d MiB", text.Len(), taken)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(asEnvoy))
	f.Add([]byte("envoy_listener_ssl_handshake{listener_address=\"_\"} 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		counts, err := parse(text, noon)
		if err != nil && counts != nil {
			t.Errorf("counts %v beside the error %v", counts, err)
		}
	})
}
