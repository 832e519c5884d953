// Package refusal specifies what is refused once the product is installed, and in
// which words: every row is an object that a person might write, and the three things
// the answer has to name: the field, what was found there, and the way out.
//
// The chart is installed in a real API server, with two replicas of the webhook and
// one agent as processes; no istiod and no gateway, because nothing that is refused
// gets that far. Run with -v to read every answer as a person gets it.
package refusal
