// Package admission answers admission reviews of Gateways and APIRules.
//
// Three layers, each ignorant of the next: Endpoint is HTTP (size, time and
// concurrency limits, strict decoding, one recover), Handler is the
// admission.Handler of controller-runtime (it gathers the namespace's default, the
// platform and the edge, and asks pkg/mutate), metrics count what was answered.
//
// An answer is a function of the review and of what the indexes hold at that
// moment: no client, no file, no Secret, no call, nothing written. A dry run is
// therefore an ordinary review, and whoever reaches the port can at most ask
// questions. When a review cannot be answered the response is an HTTP error, which
// the API server treats as its failurePolicy says (Ignore); what may be stored then
// is judged by the admission policies in the API server.
//
// The package refuses to know what annotations mean (pkg/intent), what a mutual
// Gateway looks like (pkg/mutate), and how its indexes are fed (cmd/webhook).
package admission
