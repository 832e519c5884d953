package backstop

import (
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// may asks the API server whether a user may do something.
func may(t *testing.T, user string, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated"}, ResourceAttributes: &what,
	}}
	if err := admin.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func of(group, resource string) authorizationv1.ResourceAttributes {
	return authorizationv1.ResourceAttributes{Group: group, Resource: resource}
}

func in(namespace string, what authorizationv1.ResourceAttributes) authorizationv1.ResourceAttributes {
	what.Namespace = namespace
	return what
}

func named(name string, what authorizationv1.ResourceAttributes) authorizationv1.ResourceAttributes {
	what.Name = name
	return what
}

var (
	writing  = []string{"create", "update", "patch", "delete", "deletecollection"}
	allVerbs = append([]string{"get", "list", "watch"}, writing...)
)

// What neither of the two may do, whatever they were talked into: each row is one kind
// of object, and each of its verbs is asked for.
func TestWhatNobodyOfUsMayDo(t *testing.T) {
	const admissionregistration, rbac, istio, ours = "admissionregistration.k8s.io", "rbac.authorization.k8s.io", "networking.istio.io", "mtls.sallyport.dev"
	agentMayNot := map[string]struct {
		what  authorizationv1.ResourceAttributes
		verbs []string
	}{
		"Secrets of all namespaces":                  {of("", "secrets"), allVerbs},
		"Secrets of a namespace that is no ingress":  {in("kube-system", of("", "secrets")), allVerbs},
		"a list of callers' Secrets":                 {in("shop", of("", "secrets")), []string{"list", "watch", "deletecollection"}},
		"callers' Secrets, to be rid of them":        {in("shop", of("", "secrets")), []string{"patch", "delete"}},
		"the keys of authorities, to be rid of them": {in(system, of("", "secrets")), []string{"patch", "delete", "deletecollection"}},
		"events, but for telling":                    {of("events.k8s.io", "events"), []string{"get", "list", "watch", "update", "delete", "deletecollection"}},
		"trust, but for publishing":                  {of("", "configmaps"), []string{"list", "watch", "patch", "delete", "deletecollection"}},
		"all Secrets of an ingress at once":          {in("istio-system", of("", "secrets")), []string{"deletecollection"}},
		"admission policies, but for looking":        {of(admissionregistration, "validatingadmissionpolicies"), writing},
		"their bindings, but for looking":            {of(admissionregistration, "validatingadmissionpolicybindings"), writing},
		"mutating admission policies":                {of(admissionregistration, "mutatingadmissionpolicies"), allVerbs}, // this install opts nothing in
		"validating webhooks":                        {of(admissionregistration, "validatingwebhookconfigurations"), allVerbs},
		"the webhooks of others":                     {named("istio-sidecar-injector", of(admissionregistration, "mutatingwebhookconfigurations")), allVerbs},
		"its own webhook, but for caBundle":          {named("sallyport", of(admissionregistration, "mutatingwebhookconfigurations")), []string{"create", "update", "delete"}},
		"ClusterRoles":                               {of(rbac, "clusterroles"), append([]string{"escalate", "bind"}, allVerbs...)},
		"Roles":                                      {in(system, of(rbac, "roles")), append([]string{"escalate", "bind"}, allVerbs...)},
		"RoleBindings":                               {in("shop", of(rbac, "rolebindings")), allVerbs},
		"a shell in a pod":                           {in("istio-system", authorizationv1.ResourceAttributes{Resource: "pods", Subresource: "exec"}), []string{"create", "get"}},
		"pods, but for looking":                      {in("istio-system", of("", "pods")), []string{"create", "update", "patch", "delete"}},
		"nodes":                                      {of("", "nodes"), allVerbs},
		"tokens of others":                           {in(system, authorizationv1.ResourceAttributes{Resource: "serviceaccounts", Subresource: "token"}), []string{"create"}},
		"impersonation":                              {of("", "users"), []string{"impersonate"}},
		"Namespaces, but for looking":                {of("", "namespaces"), []string{"create", "update", "patch", "delete"}},
		"VirtualServices":                            {of(istio, "virtualservices"), []string{"create", "update", "patch", "delete"}},
		"the status of a Gateway":                    {authorizationv1.ResourceAttributes{Group: istio, Resource: "gateways", Subresource: "status"}, allVerbs},
		"APIRules, but for moving them":              {of("gateway.kyma-project.io", "apirules"), []string{"create", "update", "delete"}},
		"what callers ask for":                       {of(ours, "clientcertificates"), []string{"create", "update", "delete"}},
		"what an authority is":                       {of(ours, "certificateauthorities"), []string{"update", "patch", "delete"}},
		"policies":                                   {of(ours, "mutualtlspolicies"), []string{"create", "update", "patch", "delete"}},
	}
	for name, test := range agentMayNot {
		t.Run("the agent: "+name, func(t *testing.T) {
			for _, verb := range test.verbs {
				what := test.what
				what.Verb = verb
				if may(t, agentUser, what) {
					t.Errorf("it may %s them", verb)
				}
			}
		})
	}
	for _, what := range []authorizationv1.ResourceAttributes{
		of("", "secrets"), in(system, of("", "secrets")), in("istio-system", of("", "secrets")), in("shop", of("", "configmaps")), of("", "events"),
		of("", "nodes"), of(rbac, "clusterroles"), of(admissionregistration, "mutatingwebhookconfigurations"), of(ours, "certificateauthorities"),
		of(admissionregistration, "validatingadmissionpolicies"), of(admissionregistration, "validatingadmissionpolicybindings"), of(admissionregistration, "validatingwebhookconfigurations"),
		in(system, of(rbac, "roles")), in("shop", of(rbac, "rolebindings")), of(rbac, "clusterrolebindings"), of(ours, "clientcertificates"), of(ours, "mutualtlsendpoints"),
		of(ours, "mutualtlspolicies"), in("istio-system", authorizationv1.ResourceAttributes{Resource: "pods", Subresource: "exec"}),
		in(system, authorizationv1.ResourceAttributes{Resource: "serviceaccounts", Subresource: "token"}), in(system, of("coordination.k8s.io", "leases")), of("gateway.kyma-project.io", "apirules"),
	} {
		t.Run("the webhook: "+what.Resource+" in "+what.Namespace, func(t *testing.T) {
			for _, verb := range allVerbs {
				what.Verb = verb
				if may(t, webhookUser, what) {
					t.Errorf("it may %s them", verb)
				}
			}
		})
	}
	for _, resource := range []string{"gateways", "namespaces", "pods", "services", "customresourcedefinitions"} {
		for _, group := range []string{"", istio, "apiextensions.k8s.io"} {
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
				what := in("istio-system", of(group, resource))
				what.Verb = verb
				if may(t, webhookUser, what) {
					t.Errorf("the webhook may %s %s", verb, resource)
				}
			}
		}
	}
}

// What they need is there: the test above would pass for nobody's rights as well.
func TestWhatTheTwoMayDo(t *testing.T) {
	rows := map[string]struct {
		user string
		what authorizationv1.ResourceAttributes
	}{
		"the agent writes Secrets of an ingress":         {agentUser, in("istio-system", authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "update"})},
		"the agent writes callers' Secrets where bound":  {agentUser, in("shop", authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "create"})},
		"the agent keeps callers until they are revoked": {agentUser, authorizationv1.ResourceAttributes{Group: "mtls.sallyport.dev", Resource: "clientcertificates", Verb: "patch"}},
		"the agent patches its webhook's caBundle":       {agentUser, authorizationv1.ResourceAttributes{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: "sallyport", Verb: "patch"}},
		"the webhook watches Gateways":                   {webhookUser, authorizationv1.ResourceAttributes{Group: "networking.istio.io", Resource: "gateways", Verb: "watch"}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if !may(t, row.user, row.what) {
				t.Error("it may not")
			}
		})
	}
}
