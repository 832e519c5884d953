package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// server answers reviews: it knows the tokens of prometheus, who may get /metrics, and of
// somebody, who may not.
type server struct {
	t     *testing.T
	asked []string
	err   error
	// wait holds answers up; nil does not.
	wait, waiting chan struct{}
}

func (s *server) Create(ctx context.Context, review client.Object, _ ...client.CreateOption) error {
	if s.wait != nil {
		s.waiting <- struct{}{}
		<-s.wait
	}
	if s.err != nil {
		return s.err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		s.t.Error("the question is not bounded")
	}
	switch r := review.(type) {
	case *authenticationv1.TokenReview:
		s.asked = append(s.asked, "who is "+r.Spec.Token)
		name, ok := strings.CutPrefix(r.Spec.Token, "token-of-")
		if ok {
			r.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
				Username: name, UID: "u-" + name, Groups: []string{"system:authenticated"}, Extra: map[string]authenticationv1.ExtraValue{"scope": {"a", "b"}},
			}}
		}
	case *authorizationv1.SubjectAccessReview:
		s.asked = append(s.asked, fmt.Sprintf("may %s %s %v %v %s %s", r.Spec.User, r.Spec.UID, r.Spec.Groups, r.Spec.Extra, r.Spec.NonResourceAttributes.Verb, r.Spec.NonResourceAttributes.Path))
		r.Status.Allowed = r.Spec.User == "prometheus"
	}
	return nil
}

func newGuarded(s *server) (http.Handler, *testclock.FakePassiveClock, *strings.Builder) {
	clock, log := testclock.NewFakePassiveClock(noon), &strings.Builder{}
	behind := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("behind")) })
	logger := funcr.New(func(prefix, args string) { log.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 9})
	return New("/metrics", s, clock, logger).Wrap(behind), clock, log
}

func get(t *testing.T, h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	request.Header["Authorization"] = authorization
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	return answer
}

func TestWhoIsLetThrough(t *testing.T) {
	prometheus := []string{"who is token-of-prometheus", "may prometheus u-prometheus [system:authenticated] map[scope:[a b]] get /metrics"}
	tests := map[string]struct {
		authorization []string
		err           error
		status        int
		asked         []string
	}{
		"who may":                        {[]string{"Bearer token-of-prometheus"}, nil, http.StatusOK, prometheus},
		"who may not":                    {[]string{"Bearer token-of-somebody"}, nil, http.StatusForbidden, []string{"who is token-of-somebody", "may somebody u-somebody [system:authenticated] map[scope:[a b]] get /metrics"}},
		"whom nobody knows":              {[]string{"Bearer guessed"}, nil, http.StatusUnauthorized, []string{"who is guessed"}},
		"without a token":                {nil, nil, http.StatusUnauthorized, nil},
		"with an empty token":            {[]string{"Bearer "}, nil, http.StatusUnauthorized, nil},
		"with a password":                {[]string{"Basic YTpi"}, nil, http.StatusUnauthorized, nil},
		"with two tokens, the first one": {[]string{"Bearer token-of-somebody", "Bearer token-of-prometheus"}, nil, http.StatusForbidden, []string{"who is token-of-somebody", "may somebody u-somebody [system:authenticated] map[scope:[a b]] get /metrics"}},
		"while nobody can be asked":      {[]string{"Bearer token-of-prometheus"}, errors.New("connection refused"), http.StatusInternalServerError, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, err: test.err}
			h, _, log := newGuarded(s)
			answer := get(t, h, test.authorization...)
			if answer.Code != test.status || (answer.Body.String() == "behind") != (test.status == http.StatusOK) {
				t.Errorf("%d %q, expected %d", answer.Code, answer.Body, test.status)
			}
			if diff := cmp.Diff(test.asked, s.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if strings.Contains(log.String(), "token-of") || strings.Contains(answer.Body.String(), "token-of") {
				t.Errorf("the token is told: %s %s", log, answer.Body)
			}
			if (log.Len() > 0) != (test.err != nil) {
				t.Errorf("log %q", log)
			}
		})
	}
}

// A token is asked about once a minute, and one that is refused each time.
func TestATokenIsRememberedForAMinute(t *testing.T) {
	s := &server{t: t}
	h, clock, _ := newGuarded(s)
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 2}, {59 * time.Second, 0}, {time.Minute, 2}, {119 * time.Second, 0}} {
		s.asked = nil
		clock.SetTime(noon.Add(step.after))
		if answer := get(t, h, "Bearer token-of-prometheus"); answer.Code != http.StatusOK || len(s.asked) != step.asked {
			t.Errorf("after %s: %d, asked %q, expected %d questions", step.after, answer.Code, s.asked, step.asked)
		}
	}
	s.asked = nil
	for range 3 {
		get(t, h, "Bearer guessed")
	}
	if len(s.asked) != 3 {
		t.Errorf("asked %q, expected three questions", s.asked)
	}
}

// What was known of a token does not outlive a failure to ask, and does not depend on it.
func TestWhoWasLetThroughIsLetThroughWhileNobodyCanBeAsked(t *testing.T) {
	s := &server{t: t}
	h, clock, _ := newGuarded(s)
	get(t, h, "Bearer token-of-prometheus")
	s.err = errors.New("connection refused")
	for after, want := range map[time.Duration]int{time.Second: http.StatusOK, 2 * time.Minute: http.StatusInternalServerError} {
		clock.SetTime(noon.Add(after))
		if got := get(t, h, "Bearer token-of-prometheus").Code; got != want {
			t.Errorf("after %s: %d, expected %d", after, got, want)
		}
	}
}

// Whoever can reach the port can make us remember and ask only so much.
func TestAFloodIsBounded(t *testing.T) {
	s := &server{t: t}
	g := New("/metrics", s, testclock.NewFakePassiveClock(noon), logr.Discard())
	for n := range 10 * maxHeld {
		g.hold(fmt.Sprint(n))
	}
	if len(g.held) > maxHeld {
		t.Errorf("%d tokens are remembered, expected %d at most", len(g.held), maxHeld)
	}
	if !g.holds(fmt.Sprint(10*maxHeld - 1)) {
		t.Error("the last one is forgotten")
	}

	slow := &server{t: t, wait: make(chan struct{}), waiting: make(chan struct{}), err: errors.New("too late")}
	h := New("/metrics", slow, testclock.NewFakePassiveClock(noon), logr.Discard()).Wrap(http.NotFoundHandler())
	codes := make(chan int)
	for range maxReviews {
		go func() { codes <- get(t, h, "Bearer guessed").Code }()
		<-slow.waiting
	}
	if got := get(t, h, "Bearer token-of-prometheus").Code; got != http.StatusServiceUnavailable {
		t.Errorf("one more answers %d, expected %d", got, http.StatusServiceUnavailable)
	}
	close(slow.wait)
	for range maxReviews {
		if got := <-codes; got != http.StatusInternalServerError {
			t.Errorf("one of them answers %d", got)
		}
	}
}
