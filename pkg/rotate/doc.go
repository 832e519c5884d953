// Package rotate decides what of an authority and of its certificates is due, and
// makes what it decided on: observed state, wishes and an instant in, a plan with
// reasons and the next time to look out; then plan in, verified material out.
//
// Ledger is the record of one authority: its generations with their keys, CRLs and
// probe certificates. Serials is the record of what was issued to callers. Both
// know their stored form, because a record that cannot be read must never be taken
// for one that is empty.
//
// The package refuses to know where records and Secrets are kept, who watches them,
// and what time it is.
package rotate
