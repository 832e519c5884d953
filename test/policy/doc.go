// Package policy specifies what MutualTLSPolicies refuse, warn of and note once the product is
// installed: a catalogue of objects, each with the demand that it does not meet, tried under every
// action with the webhook up, down, and flapping; who is opted in; and what the agent tells of what
// is stored.
//
// It refuses to know how the admission policies say it (test/backstop holds their CEL to
// pkg/policy), and what gateways make of what is stored (test/e2e, test/bypass).
package policy
