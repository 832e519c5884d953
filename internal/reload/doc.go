// Package reload keeps a value that is read from a mounted directory current: it
// watches the directory, polls it as well (a watch can miss what a mount or a
// network file system does), and publishes the last good value. A reload that
// fails changes nothing but a counter, so that a half-written or broken file never
// takes away what works.
//
// It refuses to know what the files mean (the caller's Parse does, except for the
// serving pair in serving.go) and to talk to any API server.
package reload
