// Package evaluator is as much of an API server as decides what is stored, in one process: it plays
// the sequences of test/sequence a hundred times as fast as a real one, so that a hundred thousand take
// minutes. test/backstop plays some of the same on the real one; a digest tells whether both answered alike.
//
// What decides is the API server's own code, of the version that the local stack's is built from: the
// handlers of custom resources (decoding, conversion, pruning, defaults, schemas, patches, apply and its
// field owners, the status subresource, dry run), and the admission plugin of ValidatingAdmissionPolicies
// (matching, parameters, namespaces, conditions, variables, messages, failure policy, cost limits, warnings
// and audit annotations), fed with the policies, bindings and CustomResourceDefinitions as the chart renders
// them. Two things stand for others: a store in memory for etcd, and a function call for the connection.
//
// It refuses to know who may do what: all requests are the administrator's. There are no webhooks, no
// MutatingAdmissionPolicies (no generated MutualTLSPolicy asks for optIn), no quota and no garbage
// collection; a Namespace is stored as it comes, and policies and definitions are defaulted here.
package evaluator
