// Package caughtup keeps a pass from deciding on an object as it was before the agent's own last write: such a decision costs
// a request that the API server refuses, and changes nothing.
//
// It refuses to know what is decided.
package caughtup
