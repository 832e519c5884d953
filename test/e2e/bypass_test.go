package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// attempt is one way to call the edge.
type attempt struct {
	address, sni, host string
	http2              bool
	version            uint16 // the newest TLS; 0 for no limit
	certificates       []tls.Certificate
	sessions           tls.ClientSessionCache
}

// try returns the status of the answer, 0 if there is none, and whether the session
// was one that had been made before.
func (a attempt) try(ctx context.Context) (status int, resumed bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.address)
	if err != nil {
		return 0, false
	}
	defer func() { _ = raw.Close() }()
	config := &tls.Config{
		ServerName: a.sni, MinVersion: tls.VersionTLS12, MaxVersion: a.version, ClientSessionCache: a.sessions, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // what is asked is whom the edge lets in
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(a.certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &a.certificates[0], nil
		},
	}
	if a.http2 {
		config.NextProtos = []string{"h2"}
	}
	session := tls.Client(raw, config)
	if err := session.HandshakeContext(ctx); err != nil {
		return 0, false
	}
	resumed = session.ConnectionState().DidResume
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.host+"/status/418", http.NoBody)
	if err != nil {
		return 0, resumed
	}
	one := &http.Transport{
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return session, nil },
		DisableKeepAlives: !a.http2, Protocols: &http.Protocols{},
	}
	defer one.CloseIdleConnections()
	one.Protocols.SetHTTP1(!a.http2)
	one.Protocols.SetHTTP2(a.http2)
	answer, err := one.RoundTrip(request)
	if err != nil {
		return 0, resumed
	}
	if (answer.ProtoMajor == 2) != a.http2 {
		return 0, resumed
	}
	_ = answer.Body.Close()
	return answer.StatusCode, resumed
}

// session keeps the last one for whatever name it is asked.
type session struct{ last *tls.ClientSessionState }

func (s *session) Get(string) (*tls.ClientSessionState, bool)  { return s.last, s.last != nil }
func (s *session) Put(_ string, state *tls.ClientSessionState) { s.last = state }

// teapot is what the workload behind mutual TLS answers, and nothing else at the edge.
const teapot = 418

// openYAML is a Gateway of somebody who did not opt in, beside ours as Kyma's own is:
// a wildcard, SIMPLE, and an answer that no workload gives.
const openYAML = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: open, namespace: bypass-open}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["*.bypass.example.net"]
    tls: {mode: SIMPLE, credentialName: bypass-open}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: open, namespace: bypass-open}
spec:
  hosts: ["*.bypass.example.net"]
  gateways: [bypass-open/open]
  http: [{directResponse: {status: 204}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: redirect, namespace: bypass-open}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["one.bypass.example.net", "two.bypass.example.net", "a.wild.bypass.example.net"]
    tls: {httpsRedirect: true}
`

// protected is a host behind mutual TLS, and whose certificates open it.
type protected struct {
	host, namespace, object string
}

// thirdPortYAML is a Gateway whose host is served on a port of its own too, and beside it
// on that port the open Gateway's.
const thirdPortYAML = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: bypass-one, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [one.bypass.example.net]}
  - {port: {number: %[1]d, name: third, protocol: HTTPS}, hosts: [one.bypass.example.net]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: open-third, namespace: bypass-open}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %[1]d, name: https, protocol: HTTPS}
    hosts: ["*.bypass.example.net"]
    tls: {mode: SIMPLE, credentialName: bypass-open}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: open-third, namespace: bypass-open}
spec:
  hosts: ["*.bypass.example.net"]
  gateways: [bypass-open/open-third]
  http: [{directResponse: {status: 204}}]
---`

// trustedProxyYAML makes the gateways believe what one proxy before them says of the
// request, as numTrustedProxies does.
const trustedProxyYAML = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: trusted-proxy, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch:
      operation: MERGE
      value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, xff_num_trusted_hops: 1}}
`

// trustProxies is in force until the test ends.
func trustProxies(t *testing.T) {
	t.Helper()
	apply(t, trustedProxyYAML)
	t.Cleanup(func() {
		filter := &unstructured.Unstructured{}
		filter.SetAPIVersion("networking.istio.io/v1alpha3")
		filter.SetKind("EnvoyFilter")
		filter.SetNamespace("istio-system")
		filter.SetName("trusted-proxy")
		if err := shared.stack.Client().Delete(context.WithoutCancel(t.Context()), filter); err != nil {
			t.Error(err)
		}
	})
}

// Nobody reaches a workload behind mutual TLS but with a certificate of its own
// authority, whatever name is asked for in the handshake, whatever host in the request,
// in either HTTP, on a new session or an old one, on any port, and whatever a proxy says
// that is believed.
func TestBypassMatrix(t *testing.T) {
	trustProxies(t)
	port, err := shared.stack.Port()
	if err != nil {
		t.Fatal(err)
	}
	hosts := []protected{
		{"one.bypass.example.net", "bypass-one", "gateway-edge"},
		{"a.wild.bypass.example.net", "bypass-wild", "gateway-edge"},
		{"two.bypass.example.net", "bypass-two", "apirule-orders"},
	}
	for _, p := range hosts {
		namespace(t, p.namespace)
	}
	namespace(t, "bypass-open")
	serverSecret(t, "bypass-open", "*.bypass.example.net")
	apply(t, openYAML)
	apply(t, fmt.Sprintf(thirdPortYAML, port)+routeYAML("bypass-one", "edge", hosts[0].host))
	apply(t, gatewayYAML("v1", "bypass-wild", "edge", "*.wild.bypass.example.net")+"---"+routeYAML("bypass-wild", "edge", hosts[1].host))
	apply(t, ruleYAML("v2", "bypass-two", "orders", hosts[2].host, annotated, ""))
	right := map[string][]tls.Certificate{}
	for _, p := range hosts {
		ready(t, "MutualTLSEndpoint", p.namespace, p.object)
		friend := byRequest(t, p.namespace, "caller", "default")
		checkThreeAnswers(t, friend, p.host)
		right[p.namespace] = friend.Certificates
	}
	gateway := shared.stack.Gateways()[0]
	third := net.JoinHostPort(gateway.Address, strconv.Itoa(port))
	const openHost = "open.bypass.example.net"
	for _, address := range []string{gateway.HTTPS, third} {
		eventually(t, "the open Gateway's answer at "+address, func(ctx context.Context) error {
			if status, _ := (attempt{address: address, sni: openHost, host: openHost}).try(ctx); status != http.StatusNoContent {
				return fmt.Errorf("status %d", status)
			}
			return nil
		})
	}
	eventually(t, "the right caller at the third port", func(ctx context.Context) error {
		if status, _ := (attempt{address: third, sni: hosts[0].host, host: hosts[0].host, certificates: right["bypass-one"]}).try(ctx); status != teapot {
			return fmt.Errorf("status %d", status)
		}
		return nil
	})

	cells, reached, resumptions := 0, 0, 0
	judge := func(p protected, who string, certificates []tls.Certificate, what string, status int) {
		cells++
		if status != teapot {
			return
		}
		reached++
		if len(certificates) == 0 || &certificates[0] != &right[p.namespace][0] {
			t.Errorf("%s reaches the workload of %s: %s", who, p.host, what)
		}
	}
	for _, p := range hosts {
		for who, certificates := range map[string][]tls.Certificate{
			"nobody": nil, "a foreigner": foreigner(t).Certificates, "an expired caller": expired(t, p.namespace), "the right caller": right[p.namespace],
			"a caller of another authority": right[hosts[(indexOf(hosts, p)+1)%len(hosts)].namespace],
		} {
			for _, sni := range []string{p.host, hosts[0].host, hosts[1].host, "b.wild.bypass.example.net", hosts[2].host, openHost, ""} {
				for _, h := range []string{p.host, strings.ToUpper(p.host), p.host + ".", p.host + ":443"} {
					for n := range 6 {
						two, version, address := n%2 == 1, []uint16{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13}[n/2], gateway.HTTPS
						if n > 3 {
							address = third
						}
						what := fmt.Sprintf("%s, SNI %q, Host %q, HTTP/2 %t, %s", address, sni, h, two, tls.VersionName(version))
						kept := &session{}
						fresh := attempt{address: address, sni: sni, host: h, http2: two, version: version, certificates: certificates, sessions: kept}
						status, _ := fresh.try(t.Context())
						judge(p, who, certificates, what+", fresh", status)
						if who == "the right caller" && sni == p.host && h == p.host && (n < 4 || p == hosts[0]) && status != teapot {
							t.Errorf("the right caller does not reach %s: %s: status %d", p.host, what, status)
						}
						if kept.last == nil {
							continue
						}
						// The session that this made is taken to the protected host's own name.
						again := attempt{address: address, sni: p.host, host: h, http2: two, version: version, certificates: certificates, sessions: kept}
						status, resumed := again.try(t.Context())
						if resumed {
							resumptions++
						}
						judge(p, who, certificates, what+", its session resumed at "+p.host, status)
					}
				}
			}
		}
		for _, forwarded := range []string{"", "https"} {
			for _, address := range []string{gateway.HTTP, gateway.HTTPS, third} {
				judge(p, "nobody", nil, "plain HTTP at "+address+", X-Forwarded-Proto "+forwarded, plain(t, address, p.host, forwarded))
			}
		}
	}
	if cells < 300 || reached == 0 {
		t.Errorf("%d cells, %d of them reached a workload: the matrix shows nothing", cells, reached)
	}
	t.Logf("%d cells, %d reached a workload, all with its own callers' certificate; %d sessions were resumed", cells, reached, resumptions)
}

func indexOf(all []protected, p protected) int {
	for i := range all {
		if all[i] == p {
			return i
		}
	}
	return 0
}

// What admission refuses is refused for a reason: stored by somebody who did not opt
// in, each of these shapes lets a stranger through to the workload.
func TestTheMatrixSeesWhatIsOpen(t *testing.T) {
	const ns = "bypass-bad"
	namespace(t, ns)
	root := serverSecret(t, "bypass-bad", "*.bad.example.net")
	put(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "bypass-bad-cacert"},
		Data:       map[string][]byte{"ca.crt": root.Certificate().PEM()},
	})
	shapes := map[string]struct{ manifest, sni, host string }{
		"a mutual and a SIMPLE server on one Gateway": {`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mixed, namespace: bypass-bad}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["m.bad.example.net"], tls: {mode: MUTUAL, credentialName: bypass-bad}}
  - {port: {number: 443, name: b, protocol: HTTPS}, hosts: ["*.bad.example.net"], tls: {mode: SIMPLE, credentialName: bypass-bad}}
---` + routeYAML(ns, "mixed", "m.bad.example.net"), "x.bad.example.net", "m.bad.example.net"},
		"OPTIONAL_MUTUAL": {`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: optional, namespace: bypass-bad}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["o.worse.example.net"], tls: {mode: OPTIONAL_MUTUAL, credentialName: bypass-bad}}
---` + routeYAML(ns, "optional", "o.worse.example.net"), "o.worse.example.net", "o.worse.example.net"},
		"a route bound to two Gateways": {`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: bypass-bad}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["t.worst.example.net"], tls: {mode: MUTUAL, credentialName: bypass-bad}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: side, namespace: bypass-bad}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["*.worst.example.net"], tls: {mode: SIMPLE, credentialName: bypass-bad}}
---` + strings.Replace(routeYAML(ns, "two", "t.worst.example.net"), "gateways: [bypass-bad/two]", "gateways: [bypass-bad/two, bypass-bad/side]", 1), "x.worst.example.net", "t.worst.example.net"},
		"a server that redirects, behind a proxy that is believed": {`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: redirecting, namespace: bypass-bad}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["r.evil.example.net"], tls: {mode: MUTUAL, credentialName: bypass-bad}}
  - {port: {number: 80, name: b, protocol: HTTP}, hosts: ["r.evil.example.net"], tls: {httpsRedirect: true}}
---` + routeYAML(ns, "redirecting", "r.evil.example.net"), "", "r.evil.example.net"},
	}
	trustProxies(t)
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			apply(t, shape.manifest)
			eventually(t, "a stranger at the workload", func(ctx context.Context) error {
				gateway := shared.stack.Gateways()[0]
				status, _ := (attempt{address: gateway.HTTPS, sni: shape.sni, host: shape.host}).try(ctx)
				if shape.sni == "" {
					status = plain(t, gateway.HTTP, shape.host, "https")
				}
				if status != teapot {
					return fmt.Errorf("status %d", status)
				}
				return nil
			})
		})
	}
}

// plain calls without TLS, as behind a proxy that says what it had.
func plain(t *testing.T, address, host, forwarded string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/status/418", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	if forwarded != "" {
		request.Header.Set("X-Forwarded-Proto", forwarded)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// serverSecret puts a server certificate into the ingress namespace, as somebody does
// who makes his own, and returns its CA.
func serverSecret(t *testing.T, name, host string) pki.Authority {
	t.Helper()
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.IssueServer(pki.ServerRequest{Hosts: []string{host}, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	put(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: leaf.CertificatePEM(), corev1.TLSPrivateKeyKey: leaf.KeyPEM()},
	})
	return root
}

func put(t *testing.T, object client.Object) {
	t.Helper()
	if err := shared.stack.Client().Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// expired is a certificate of a namespace's own authority that ended an hour ago. Only
// who reads the ledger can make it.
func expired(t *testing.T, ns string) []tls.Certificate {
	t.Helper()
	ledger, err := rotate.DecodeLedger(ledgerOf(t, "keys", ns, "default").Data)
	if err != nil {
		t.Fatal(err)
	}
	active, _ := ledger.Active()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	// The CA began a moment ago; what it signs begins with it.
	leaf, err := active.Authority.IssueClient(pki.ClientRequest{CommonName: "caller", Identity: "spiffe://" + trustDomain + "/ns/" + ns + "/client/caller", Lifetime: time.Second}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of a certificate", func(context.Context) error {
		if left := time.Until(leaf.Leaf().NotAfter()); left > -time.Second {
			return fmt.Errorf("it lives %s more", left)
		}
		return nil
	})
	pair, err := tls.X509KeyPair(leaf.CertificatePEM(), leaf.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}
