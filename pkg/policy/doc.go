// Package policy says what a MutualTLSPolicy demands of a Gateway or an APIRule, and in
// what a stored one falls short. Policy.Judge looks at one object, as admission can; it is
// the reference of the admission policies that the chart ships: the API server judges by
// their CEL, and a property test holds the two against each other. Policy.Findings looks at
// everything that is stored, and finds what takes from an object what it was judged by.
//
// What leads where is Istio's own opinion, with its file named at each rule: only that
// decides which server is dropped and which route is taken.
//
// The package refuses to know how a policy is enforced, what an object was before, and the
// time: which exceptions have ended is told to it, and so is where a Gateway lands.
package policy
