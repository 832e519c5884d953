// Package policy says what a MutualTLSPolicy demands of a Gateway or an APIRule, and in
// what a stored one falls short. It is the reference of the admission policies that the
// chart ships: the API server judges by their CEL, and a property test holds the two
// against each other.
//
// It refuses to know how a policy is enforced, what an object was before, and the time:
// which exceptions have ended is told to it.
package policy
