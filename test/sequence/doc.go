// Package sequence plays sequences of writes of Gateways and APIRules on an API server, in any way
// there is to write, with no webhook in front, and holds every answer to a reference that was written
// in Go from the design's words: what the reference refuses is never stored, and what it does not is
// never refused. Where MutualTLSPolicies apply, pkg/policy says what they deny and warn of.
//
// A sequence follows from its number, so that it can be played again, and becomes the same on every
// server: test/backstop plays some on the real one, and test/evaluator a hundred thousand on the API
// server's own handlers and evaluator, in one process. The server has to have what the chart installs,
// and the Namespaces shop, asking (labelled with the default mode mutual) and awaiting.
//
// It refuses to know what an API server is made of, and what the policies look like.
package sequence
