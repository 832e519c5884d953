// Package rotation has callers of four kinds call a real edge all the time while its CA is
// replaced again and again, and holds it to the promise that none of them is ever refused.
//
// It refuses to know how a rotation works: it sees what a caller sees, and the status.
package rotation
