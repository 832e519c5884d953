// Package kyma plays the part of Kyma in a local stack: the CRD of APIRules, and a
// stand-in for the operator that turns an APIRule into a VirtualService. Kyma's own
// operator is on no registry.
//
// The stand-in does what decides whether and where a request arrives: it looks the
// named Gateway up, retries with a delay that doubles from one second, attaches the
// VirtualService to that Gateway alone, matches hosts, paths and methods, and sets
// request headers. It watches no Gateways and acts on a change of generation only,
// as the original does. It leaves out what has no part in TLS: authorization and
// JWT, CORS, short-lived migrations, the conversion webhook (an object keeps the
// fields it was written with), and the checks on the workload.
package kyma
