package backstop

import "fmt"

const mtls = "mtls.sallyport.dev/"

// edgeTLS is the tls block that the webhook writes into Gateway shop/edge.
const edgeTLS = "mode: MUTUAL, credentialName: shop.edge.mtls, caCertCredentialName: shop.edge.mtls-cacert, minProtocolVersion: TLSV1_2"

// gatewayIn is a Gateway v1 with one server.
func gatewayIn(namespace, name, annotations, tls string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s, annotations: {%s}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {%s}
`, name, namespace, annotations, tls)
}

// ruleIn is an APIRule with one rule; the spec of the given version, with more lines
// at its end.
func ruleIn(version, namespace, name, annotations, gateway string, headers ...string) string {
	host := "hosts: [orders.example.com]"
	if version == "v1beta1" {
		host = "host: orders.example.com"
	}
	if gateway != "" {
		gateway = "gateway: " + gateway
	}
	request := ""
	if len(headers) > 0 {
		request = ", request: {headers: {" + headers[0] + "}}"
	}
	return fmt.Sprintf(`
apiVersion: gateway.kyma-project.io/%s
kind: APIRule
metadata: {name: %s, namespace: %s, annotations: {%s}}
spec:
  %s
  %s
  service: {name: orders, port: 8080}
  rules:
  - {path: /, methods: [GET], noAuth: true%s}
`, version, name, namespace, annotations, host, gateway, request)
}

// secretIn is a Secret.
func secretIn(namespace, name, kind, metadata, data string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %q, namespace: %s%s}
type: %s
stringData: {%s}
`, name, namespace, metadata, kind, data)
}

// mark is the agent's mark for an owner.
func mark(owner string) string {
	return fmt.Sprintf(", labels: {%smanaged: \"true\"}, annotations: {%sowner: %s}", mtls, mtls, owner)
}
