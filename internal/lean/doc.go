// Package lean makes what is kept in a cache small: it drops what nobody reads there, and
// keeps equal texts once. Thousands of objects say the same words.
//
// It refuses to know what an object means.
package lean
