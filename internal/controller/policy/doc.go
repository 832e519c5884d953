// Package policy tells of every MutualTLSPolicy that this version does not enforce
// it. A policy that nobody enforces and nobody speaks of would look like protection.
//
// It refuses to judge what a policy asks for.
package policy
