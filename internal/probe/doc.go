// Package probe calls servers the way a stranger would, and tells what was seen.
//
// Handshake makes one TLS connection, with a certificate or without one, and returns
// facts: what the server showed, and whether it let the caller in. An HTTP answer is an
// acceptance, a TLS alert about the certificate is a refusal, and everything else is
// unknown: a server that is down, silent or confused has refused nobody. Check compares
// facts with an expectation and is pure.
//
// Whatever a server answers, a call ends in time, reads little, and its words are short
// and printable. The same behaviour of a server gives the same words, so that who keeps
// them sees a change where there is one.
//
// The package refuses to know who is called, when, with whose certificate, and what
// follows from a finding.
package probe
