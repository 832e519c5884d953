// Package guard lets those through whom the API server lets through: it asks whose a
// bearer token is, and whether he may get a path there.
//
// It refuses to know what is behind the path, and to decide anything of its own.
package guard
