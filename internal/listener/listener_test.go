package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// open serves until the test ends, or stop is called; ended then has what Serve answered.
func open(t *testing.T, c Config) (s *Server, stop func(), ended chan error) {
	t.Helper()
	c.Name, c.Address, c.Log = "a test", "127.0.0.1:0", slog.DiscardHandler
	ctx, stop := context.WithCancel(context.Background())
	s, err := Listen(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- s.Serve(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return s, stop, ended
}

func caller(t *testing.T, config *tls.Config, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }

func TestEachProtocolIsServed(t *testing.T) {
	unstarted := httptest.NewUnstartedServer(nil) // for its certificate
	unstarted.StartTLS()
	pair := unstarted.TLS.Certificates[0]
	unstarted.Close()
	tests := map[string]struct {
		tls    *tls.Config
		http2  bool
		scheme string
		want   string
	}{
		"plain HTTP":      {nil, false, "http://", "HTTP/1.1"},
		"TLS":             {&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, false, "https://", "HTTP/1.1"},
		"TLS with HTTP/2": {&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, true, "https://", "HTTP/2.0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, _, _ := open(t, Config{Handler: http.HandlerFunc(hello), TLS: test.tls})
			if !strings.HasPrefix(s.URL(), test.scheme) || s.Name() != "a test" {
				t.Errorf("%s at %s, expected %s", s.Name(), s.URL(), test.scheme)
			}
			answer, err := caller(t, &tls.Config{InsecureSkipVerify: true}, test.http2).Get(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, err := io.ReadAll(answer.Body); err != nil || string(text) != test.want {
				t.Errorf("answered %q, %v, expected %s", text, err, test.want)
			}
		})
	}
}

func TestAnAddressInUseIsAnErrorAtOnce(t *testing.T) {
	s, _, _ := open(t, Config{Handler: http.HandlerFunc(hello)})
	_, err := Listen(t.Context(), Config{Name: "another", Address: s.Listener.Addr().String(), Log: slog.DiscardHandler})
	if err == nil || !strings.Contains(err.Error(), "listening for another: ") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v, expected that the address is in use", err)
	}
}

// A request that is being answered at the end is answered; then the port is free.
func TestWhatIsBeingAnsweredIsAnswered(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s, stop, ended := open(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		hello(w, r)
	})})
	got := make(chan error, 1)
	go func() {
		response, err := caller(t, nil, false).Get(s.URL())
		if err == nil {
			_ = response.Body.Close()
		}
		got <- err
	}()
	<-asked
	stop()
	for deadline := time.Now().Add(patience); ; { // until nobody new is let in
		connection, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			break
		}
		_ = connection.Close()
		if time.Now().After(deadline) {
			t.Fatal("new connections are taken after the end")
		}
	}
	close(answer)
	if err := <-got; err != nil {
		t.Errorf("the request failed: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serving ended with %v", err)
	}
}

// Whoever sends slowly, sends much or comes often is not waited for.
func TestLimits(t *testing.T) {
	s, _, _ := open(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusRequestTimeout)
		}
	})})
	for name, test := range map[string]struct{ sent, want string }{
		"headers without an end": {"GET / HTTP/1.1\r\nHost: a\r\nX: ", ""},
		"nothing":                {"", ""},
		"a body without an end":  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", "408"},
		"large headers":          {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(connection, test.sent) }()
			line, err := bufio.NewReader(connection).ReadString('\n')
			var timeout net.Error
			if (errors.As(err, &timeout) && timeout.Timeout()) || !strings.Contains(line, test.want) {
				t.Errorf("answered %q, %v, expected %q and an end within %s", line, err, test.want, readWithin)
			}
		})
	}
}
