package guard

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// heldFor is for how long a token that was let in is let in again without a question.
	heldFor = time.Minute
	// maxHeld bounds how many tokens are remembered.
	maxHeld = 64
	// reviewWithin bounds one question to the API server.
	reviewWithin = 2 * time.Second
	// maxReviews bounds how many callers are asked about at a time: anybody who can reach
	// the port can make us ask.
	maxReviews = 4
)

// Creator sends reviews to the API server and takes its answers.
type Creator interface {
	Create(ctx context.Context, review client.Object, options ...client.CreateOption) error
}

// Guard lets those through whose token the API server knows, and who may get a path there
// (a ClusterRole with nonResourceURLs). It asks what controller-runtime's filter for metrics
// asks (pkg/metrics/filters), with the client there is: that filter brings k8s.io/apiserver
// along, which costs 17 MiB of memory whether it is used or not.
type Guard struct {
	path    string
	reviews Creator
	clock   clock.PassiveClock
	log     logr.Logger
	slots   chan struct{}

	mu   sync.Mutex
	held map[[sha256.Size]byte]time.Time
}

// New returns a guard of a path.
func New(path string, reviews Creator, c clock.PassiveClock, log logr.Logger) *Guard {
	return &Guard{path: path, reviews: reviews, clock: c, log: log, slots: make(chan struct{}, maxReviews), held: map[[sha256.Size]byte]time.Time{}}
}

// Wrap puts the guard before a handler.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !given || token == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is wanted", http.StatusUnauthorized)
			return
		}
		if g.holds(token) {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case g.slots <- struct{}{}:
		default:
			http.Error(w, "too many callers to ask about at a time: try again", http.StatusServiceUnavailable)
			return
		}
		status, err := g.review(r.Context(), token)
		<-g.slots
		switch {
		case err != nil:
			g.log.Error(err, "asking who may get a path", "path", g.path)
			http.Error(w, "the API server could not be asked who may get this", http.StatusInternalServerError)
		case status != http.StatusOK:
			http.Error(w, http.StatusText(status), status)
		default:
			g.hold(token)
			next.ServeHTTP(w, r)
		}
	})
}

// review asks whose a token is, and whether he may get the path: OK, Unauthorized or Forbidden.
func (g *Guard) review(ctx context.Context, token string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewWithin)
	defer cancel()
	who := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := g.reviews.Create(ctx, who); err != nil {
		return 0, fmt.Errorf("reviewing a token: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	may := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: g.path, Verb: "get"},
	}}
	if err := g.reviews.Create(ctx, may); err != nil {
		return 0, fmt.Errorf("reviewing the access of %s: %w", user.Username, err)
	}
	if !may.Status.Allowed || may.Status.Denied {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// holds reports whether a token was let in a short while ago. Only its hash is kept.
func (g *Guard) holds(token string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.held[sha256.Sum256([]byte(token))]
	return ok && g.clock.Now().Before(until)
}

func (g *Guard) hold(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	for key, until := range g.held {
		if !now.Before(until) || len(g.held) >= maxHeld {
			delete(g.held, key)
		}
	}
	g.held[sha256.Sum256([]byte(token))] = now.Add(heldFor)
}
