package bypass

// shape is a Gateway that asks for mutual TLS and does not have it, or does not keep it.
// DOMAIN stands for a domain of its own, and NAME for a name; a route leads pay.DOMAIN to a
// workload.
type shape struct {
	name string
	// servers are those of the Gateway, older those of somebody else's that was there
	// before, and named says that the route names that one too.
	servers, older string
	named          bool
	// webhook and policies are what is answered to whoever writes it: by everything that
	// judges, and by the policies alone. Empty if it is stored.
	webhook, policies string
	// despite are the callers that get in although it was stored with everything in place,
	// open those that get in when nobody judges, nor puts right what is stored.
	despite, open []string
	// lost says that its own callers do not get in any more.
	lost bool
}

const (
	mutualServer   = `{port: {number: 443, name: mutual, protocol: HTTPS}, hosts: [pay.DOMAIN], tls: {mode: MUTUAL, minProtocolVersion: TLSV1_2, credentialName: bad}}`
	optionalServer = `{port: {number: 443, name: mutual, protocol: HTTPS}, hosts: [pay.DOMAIN], tls: {mode: OPTIONAL_MUTUAL, minProtocolVersion: TLSV1_2, credentialName: bad}}`
	lenientServer  = `{port: {number: 443, name: mutual, protocol: HTTPS}, hosts: [pay.DOMAIN], tls: {mode: MUTUAL, minProtocolVersion: TLSV1_2, credentialName: bad, insecureSkipVerify: true}}`
	openServer     = `{port: {number: 443, name: open, protocol: HTTPS}, hosts: [pay.DOMAIN], tls: {mode: SIMPLE, credentialName: bad}}`
	wildServer     = `{port: {number: 443, name: open, protocol: HTTPS}, hosts: ["*.DOMAIN"], tls: {mode: SIMPLE, credentialName: bad}}`
	worseServer    = `{port: {number: 443, name: open, protocol: HTTPS}, hosts: ["*.DOMAIN"], tls: {mode: SIMPLE, credentialName: worse}}`
	plainServer    = `{port: {number: 80, name: plain, protocol: HTTP}, hosts: [pay.DOMAIN]}`
	redirectServer = `{port: {number: 80, name: plain, protocol: HTTP}, hosts: [pay.DOMAIN], tls: {httpsRedirect: true}}`
)

// shapes are what is known to be bad. A Gateway is judged as it is and with the hosts that
// others hold; which routes name another Gateway as well is not judged. That is what
// docs/threat-model.md calls open, and what the last one shows.
//
// The first is the only one that the webhook does not refuse but puts right: it makes the
// open server mutual.
var shapes = []shape{
	{
		name: "a mutual and an open server with one certificate", servers: mutualServer + ", " + wildServer,
		policies: `spec.servers[1].tls.mode: found "SIMPLE", expected MUTUAL`,
		open:     []string{"a stranger", "nobody"},
	},
	{
		name: "a mutual and an open server with a certificate each", servers: mutualServer + ", " + worseServer,
		webhook:  `spec.servers[1].tls.credentialName: found "worse", expected "bad" as on the first server`,
		policies: `spec.servers[1].tls.mode: found "SIMPLE", expected MUTUAL`,
		open:     []string{"a stranger", "nobody"},
	},
	{
		name: "a server that lets in whoever has no certificate", servers: optionalServer,
		webhook:  `spec.servers[0].tls.mode: found "OPTIONAL_MUTUAL", expected MUTUAL`,
		policies: `spec.servers[0].tls.mode: found "OPTIONAL_MUTUAL", expected MUTUAL`,
		open:     []string{"nobody"},
	},
	{
		name: "a server that lets in whoever has a certificate", servers: lenientServer,
		webhook:  `spec.servers[0].tls.insecureSkipVerify: found true, with which callers are not verified`,
		policies: `spec.servers[0].tls: found "insecureSkipVerify"`,
		open:     []string{"a stranger"},
	},
	{
		name: "a server without TLS beside a mutual one", servers: mutualServer + ", " + plainServer,
		webhook:  `spec.servers[1].port.protocol: found "HTTP", expected HTTPS or TLS`,
		policies: `spec.servers[1].port.protocol: found "HTTP", expected HTTPS or TLS`,
		open:     []string{"nobody"},
	},
	{
		name: "a server that redirects beside a mutual one", servers: mutualServer + ", " + redirectServer,
		webhook:  `spec.servers[1].port.protocol: found "HTTP", expected HTTPS or TLS`,
		policies: `spec.servers[1].port.protocol: found "HTTP", expected HTTPS or TLS`,
		open:     []string{"nobody"},
	},
	{
		name: "an older open Gateway with the host, which the route names too", servers: mutualServer, older: openServer, named: true,
		webhook: `is held by the older Gateway older/`,
		open:    []string{"a stranger", "nobody"},
	},
	{
		// The older one takes the host, and mutual TLS is gone; so is the workload.
		name: "an older open Gateway with the host", servers: mutualServer, older: openServer,
		webhook: `is held by the older Gateway older/`, lost: true,
	},
	{
		name: "a Gateway without TLS that the route names too", servers: mutualServer, older: plainServer, named: true,
		despite: []string{"nobody"}, open: []string{"nobody"},
	},
}
