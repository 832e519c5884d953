package issuer

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// SecretAccessDenied says that the agent may not do something with Secrets of a namespace, and holds
// the RoleBinding that would allow it.
func SecretAccessDenied(namespace, what string, account types.NamespacedName) *Problem {
	return &Problem{Reason: v1alpha1.ReasonSecretAccessDenied, Lasting: true, Message: fmt.Sprintf(`the agent may not %[4]s, add %[1]s to the chart's clientSecretNamespaces, or create
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sallyport-client-secrets, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sallyport-client-secrets}
subjects: [{kind: ServiceAccount, name: %[2]s, namespace: %[3]s}]`, namespace, account.Name, account.Namespace, what)}
}
