// Package listener opens a port and serves HTTP on it, with limits: on how long a
// request may take, how large it may be, and how many there are at a time. Anybody who
// can reach the port may try to use it up.
//
// It refuses to know what is served.
package listener
