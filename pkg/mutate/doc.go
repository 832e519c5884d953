// Package mutate decides what a Gateway or an APIRule becomes because of what it
// asks for: an object, its predecessor and what is known of the edge in, a decision
// with a reason and JSON-patch operations out.
//
// It works on the raw object, so that fields it has never heard of stay as they
// are, and it writes only fields that intent governs. The same input gives the same
// bytes, and a patch applied to its own result is empty: server-side apply and
// GitOps tools see no drift.
//
// A value that the user set is accepted if it fits and denied with the reason if it
// does not, never overwritten. A value that was written for what the predecessor
// asked for follows what is asked for at present.
//
// The package refuses to know certificates, clients, clocks and metrics.
package mutate
