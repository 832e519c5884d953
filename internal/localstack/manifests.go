package localstack

import (
	"fmt"
	"strings"
)

// ingressYAML is what Istio's gateway chart installs, less the Deployment. A Service
// cannot lead to loopback addresses, since EndpointSlices refuse them; the ServiceEntry
// is how istiod learns which port of which replica serves 443 and 80.
const ingressYAML = `apiVersion: v1
kind: ServiceAccount
metadata: {name: istio-ingressgateway, namespace: istio-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: istio-ingressgateway-sds, namespace: istio-system}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: istio-ingressgateway-sds, namespace: istio-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: istio-ingressgateway-sds}
subjects:
- {kind: ServiceAccount, name: istio-ingressgateway, namespace: istio-system}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {app: istio-ingressgateway, istio: ingressgateway}
  ports:
  - {name: https, port: 443, targetPort: https}
  - {name: http2, port: 80, targetPort: http2}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ingress-local, namespace: istio-system}
spec:
  hosts: [ingress.local]
  ports:
  - {number: 443, name: https, protocol: HTTPS}
  - {number: 80, name: http2, protocol: HTTP}
  resolution: STATIC
  endpoints:
%s`

const ingressEndpoint = `  - address: %s
    ports: {https: %d, http2: %d}
    labels: {app: istio-ingressgateway, istio: ingressgateway}
`

// podYAML names the container's ports, so that whoever resolves the Service's named
// target ports finds each replica, as in a cluster.
const podYAML = `apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: istio-system
  labels: {app: istio-ingressgateway, istio: ingressgateway}
spec:
  serviceAccountName: istio-ingressgateway
  nodeName: local
  containers:
  - name: istio-proxy
    image: none
    ports:
    - {name: https, containerPort: %d}
    - {name: http2, containerPort: %d}
    - {name: http-envoy-prom, containerPort: %d}
`

func ingressManifest(gateways []Gateway) string {
	var endpoints strings.Builder
	for _, g := range gateways {
		fmt.Fprintf(&endpoints, ingressEndpoint, g.Address, g.https, g.http)
	}
	return fmt.Sprintf(ingressYAML, endpoints.String())
}

func podManifest(g Gateway) string { return fmt.Sprintf(podYAML, g.Pod, g.https, g.http, g.prometheus) }

// workloadYAML leads a Service's host to a loopback port. The Service is there for
// whoever looks for it; its endpoints are the ServiceEntry's.
const workloadYAML = `apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  ports:
  - {name: http, port: %[3]d}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  hosts: [%[2]s.%[1]s.svc.cluster.local]
  location: MESH_INTERNAL
  ports:
  - {number: %[3]d, name: http, protocol: HTTP}
  resolution: STATIC
  endpoints:
  - {address: 127.0.0.1, ports: {http: %[4]d}}
`
