package metrics

import (
	"net/http"
	"strings"
)

// CountConflicts counts the updates and patches that an API server answers with 409: each
// lost to somebody else's write (RFC 9110 section 15.5.10; Kubernetes API conventions,
// "Concurrency Control and Consistency"). A lease that another replica holds is none.
func (c *Counters) CountConflicts(next http.RoundTripper) http.RoundTripper {
	return counting{next: next, counters: c}
}

type counting struct {
	next     http.RoundTripper
	counters *Counters
}

// WrappedRoundTripper lets client-go find who can end a request.
func (c counting) WrappedRoundTripper() http.RoundTripper { return c.next }

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	writes := request.Method == http.MethodPut || request.Method == http.MethodPatch
	if err == nil && writes && response.StatusCode == http.StatusConflict && !strings.Contains(request.URL.Path, "/leases/") {
		c.counters.Conflict()
	}
	return response, err
}
