// Package policy tells of every MutualTLSPolicy how many objects it is about, which of
// them do not meet it, and which of its exceptions have ended. The API server enforces it:
// a write is judged by the admission policies of the chart, whether an agent runs or not.
//
// It refuses to know what a policy demands (pkg/policy), and to change what does not meet
// one: that is a decision of whoever owns it.
package policy
