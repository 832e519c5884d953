// Package mounted keeps the CA pairs that are mounted into the agent: each directory by
// its name, with the last good pair, and a word when one of them changes.
//
// It refuses to know which authority uses which directory, and whether a pair is fit for
// it.
package mounted
