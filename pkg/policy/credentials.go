package policy

import (
	"slices"

	"sallyport.dev/sallyport/pkg/intent"
)

// borrows: a server names a Secret of another Gateway. Secrets are found by name alone in the ingress namespace, so
// callers are verified by the CAs of whoever owns it.
func (f *finder) borrows(g, i int) bool {
	s := &f.gateways[g].servers[i]
	for _, c := range credentials(object(s.raw["tls"])) {
		for _, namespace := range append(s.namespaces(), "") {
			if owner := f.ownerOf(namespace, c.name); owner != "" && owner != f.gateways[g].key {
				f.add(&f.gateways[g].Object, ReasonBorrowedCredential, path(i, "tls."+c.field),
					"found %s, a Secret of Gateway %s: this server shows callers its certificate and lets in whom it trusts, as the owner of that Gateway sees fit; remove it, and Secrets of this Gateway are used", quoted(c.name), shown(owner))
				return true
			}
		}
	}
	return false
}

// lends: a Gateway that the policy is not about names a Secret of this one, and speaks in its name.
func (f *finder) lends(g, i int) {
	s := &f.gateways[g].servers[i]
	for _, c := range credentials(object(s.raw["tls"])) {
		for _, namespace := range s.namespaces() {
			if f.ownerOf(namespace, c.name) != f.gateways[g].key {
				continue
			}
			by := slices.Concat(f.naming[secretKey{namespace, c.name}], f.naming[secretKey{namespace, intent.CASecretFor(c.name)}])
			if n := slices.IndexFunc(by, func(n naming) bool { return !f.coversGateway[n.gateway] }); n >= 0 {
				f.add(&f.gateways[g].Object, ReasonBorrowedCredential, path(i, "tls."+c.field),
					"found %s, which spec.servers[%d] of Gateway %s names too: it serves with the key of this Gateway, on its own terms; take it off there", quoted(c.name), by[n].server, shown(f.gateways[by[n].gateway].key))
				return
			}
		}
	}
}

// unmanagedTrust: callers are verified by CAs that the agent does not manage: nobody renews or revokes by them, and who
// may write them says who gets in.
func (f *finder) unmanagedTrust(g, i int) {
	s := &f.gateways[g].servers[i]
	tls := object(s.raw["tls"])
	if text(tls["mode"]) == "ISTIO_MUTUAL" {
		return // the mesh's own CA
	}
	ca, isSecret := trust(tls)
	const why = "nobody here renews, revokes or watches those: whoever writes them says who gets in; opt the Gateway in with CAs of an authority, and leave this out"
	switch {
	case !isSecret && ca.name != "":
		f.add(&f.gateways[g].Object, ReasonUnmanagedTrust, path(i, "tls."+ca.field), "found %s, CAs in a file or a ConfigMap: %s", quoted(ca.name), why)
	case !isSecret, reservedFor(ca.name) == f.gateways[g].key:
		// None are named, with which Istio refuses every caller, or the ones that only the agent can make.
	default:
		for _, namespace := range s.namespaces() {
			if f.managed[secretKey{namespace, ca.name}] == "" {
				f.add(&f.gateways[g].Object, ReasonUnmanagedTrust, path(i, "tls."+ca.field), "callers are verified by the CAs in Secret %s of namespace %s, which is not managed: %s", quoted(ca.name), shown(namespace), why)
				return
			}
		}
	}
}
