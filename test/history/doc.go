// Package history replays every revision of what the agent stored, and holds it to what has to
// be true at every moment, not only in the end: the invariants I1 to I9.
//
// It refuses to know how the agent decides: it reads what gateways, callers and the next agent
// read.
package history
