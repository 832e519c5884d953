// Package startup reads what both binaries are started with: addresses, a log
// level, the platform's settings, and the way to the API server.
//
// It refuses to know which of the two binaries asks, and to read flags.
package startup
