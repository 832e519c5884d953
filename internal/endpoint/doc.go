// Package endpoint keeps the MutualTLSEndpoints: one object for each opted-in
// Gateway or APIRule, in which people and pipelines read how it stands.
//
// It refuses to find out how anything stands.
package endpoint
