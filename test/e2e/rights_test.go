package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
)

// right is one thing that an account may do, and call one that it did.
type right struct {
	// account is the name of the ServiceAccount; namespace where the right is
	// granted, empty everywhere.
	account, namespace string
	verb, group        string
	// resource, with the subresource behind a slash; name is empty for all.
	resource, name string
}

func (r right) String() string {
	where, what := "everywhere", r.resource
	if r.namespace != "" {
		where = "in " + r.namespace
	}
	if r.group != "" {
		what += "." + r.group
	}
	if r.name != "" {
		what += " " + r.name
	}
	return fmt.Sprintf("%s may %s %s %s", r.account, r.verb, what, where)
}

// covers reports whether a call was made by this right.
func (r right) covers(call right) bool {
	return r.account == call.account && r.verb == call.verb && r.group == call.group && r.resource == call.resource &&
		(r.namespace == "" || r.namespace == call.namespace) && (r.name == "" || r.name == call.name)
}

// accounts are those of the product.
var accounts = []string{"sallyport-agent", "sallyport-webhook"}

// grantedRights reads from the API server what is bound to the accounts of the product.
func grantedRights(ctx context.Context) ([]right, error) {
	var rights []right
	var everywhere rbacv1.ClusterRoleBindingList
	var somewhere rbacv1.RoleBindingList
	if err := errors.Join(shared.stack.Client().List(ctx, &everywhere), shared.stack.Client().List(ctx, &somewhere)); err != nil {
		return nil, err
	}
	for _, binding := range everywhere.Items {
		found, err := rightsOf(ctx, binding.Subjects, binding.RoleRef, "")
		if err != nil {
			return nil, err
		}
		rights = append(rights, found...)
	}
	for _, binding := range somewhere.Items {
		found, err := rightsOf(ctx, binding.Subjects, binding.RoleRef, binding.Namespace)
		if err != nil {
			return nil, err
		}
		rights = append(rights, found...)
	}
	return rights, nil
}

func rightsOf(ctx context.Context, subjects []rbacv1.Subject, ref rbacv1.RoleRef, namespace string) ([]right, error) {
	var rights []right
	for _, subject := range subjects {
		if subject.Kind != rbacv1.ServiceAccountKind || subject.Namespace != product.Namespace || !slices.Contains(accounts, subject.Name) {
			continue
		}
		rules, err := rulesOf(ctx, ref, namespace)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						for _, name := range names {
							rights = append(rights, right{account: subject.Name, namespace: namespace, verb: verb, group: group, resource: resource, name: name})
						}
					}
				}
			}
		}
	}
	return rights, nil
}

func rulesOf(ctx context.Context, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	if ref.Kind == "ClusterRole" {
		role := &rbacv1.ClusterRole{}
		err := shared.stack.Client().Get(ctx, client.ObjectKey{Name: ref.Name}, role)
		return role.Rules, err
	}
	role := &rbacv1.Role{}
	err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, role)
	return role.Rules, err
}

// auditEvent is what is read of one line of the audit log.
type auditEvent struct {
	Verb, RequestURI string
	User             struct{ Username string }
	ObjectRef        struct{ Namespace, APIGroup, Resource, Subresource, Name string }
	ResponseStatus   struct{ Code int }
	Annotations      map[string]string
}

// calls are what the event says was done. A watch that begins with what there is
// (KEP-3157) does what a list does, where the API server can; the list is for those
// that cannot, so it counts as both.
func (e auditEvent) calls() []right {
	account, ours := strings.CutPrefix(e.User.Username, "system:serviceaccount:"+product.Namespace+":")
	if !ours || !slices.Contains(accounts, account) || e.ObjectRef.Resource == "" {
		return nil
	}
	call := right{account: account, namespace: e.ObjectRef.Namespace, verb: e.Verb, group: e.ObjectRef.APIGroup, resource: e.ObjectRef.Resource, name: e.ObjectRef.Name}
	if e.ObjectRef.Subresource != "" {
		call.resource += "/" + e.ObjectRef.Subresource
	}
	calls := []right{call}
	if e.Verb == "watch" && strings.Contains(e.RequestURI, "sendInitialEvents=true") {
		call.verb = "list"
		calls = append(calls, call)
	}
	return calls
}

// asksForOptIn reports whether a call is how the agent learns that a team did not let
// it read or write Secrets there: it tries, and tells.
func (r right) asksForOptIn() bool {
	return r.account == "sallyport-agent" && r.group == "" && r.resource == "secrets" && (r.verb == "get" || r.verb == "create") && (r.namespace == "unsupported" || r.namespace == "unread")
}

// checkRights holds the audit log of the whole run against what is granted: nothing was
// asked for that is not, and each right was used.
func checkRights(ctx context.Context) error {
	rights, err := grantedRights(ctx)
	if err != nil {
		return fmt.Errorf("reading what is granted: %w", err)
	}
	log, err := os.Open(shared.stack.AuditLog())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	used := map[right]bool{}
	refused := map[string]bool{}
	count := 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event auditEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		for _, call := range event.calls() {
			count++
			if event.Annotations["authorization.k8s.io/decision"] == "forbid" && call.asksForOptIn() {
				continue
			}
			if event.Annotations["authorization.k8s.io/decision"] == "forbid" {
				refused[call.String()] = true
				continue
			}
			covered := false
			for _, r := range rights {
				if r.covers(call) {
					used[r], covered = true, true
				}
			}
			if !covered {
				refused[call.String()+" (by a right that is not the product's)"] = true
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	var unused []string
	for _, r := range rights {
		if !used[r] {
			unused = append(unused, r.String())
		}
	}
	fmt.Printf("rights: %d calls, %d of %d rights used, %d kinds of call beyond them\n", count, len(rights)-len(unused), len(rights), len(refused))
	var errs []error
	for call := range refused {
		errs = append(errs, fmt.Errorf("asked for and not granted: %s", call))
	}
	for _, r := range unused {
		errs = append(errs, fmt.Errorf("granted and never used: %s", r))
	}
	return errors.Join(errs...)
}

// A right is used by the call it allows, and by no other.
func TestARightCoversItsCalls(t *testing.T) {
	here := right{account: "sallyport-agent", namespace: "shop", verb: "get", resource: "secrets"}
	named := right{account: "sallyport-agent", verb: "get", group: "apps", resource: "things/status", name: "one"}
	for name, test := range map[string]struct {
		right, call right
		want        bool
	}{
		"the same":                 {here, here, true},
		"an object by name":        {here, right{account: "sallyport-agent", namespace: "shop", verb: "get", resource: "secrets", name: "x"}, true},
		"another namespace":        {here, right{account: "sallyport-agent", namespace: "bank", verb: "get", resource: "secrets"}, false},
		"another verb":             {here, right{account: "sallyport-agent", namespace: "shop", verb: "list", resource: "secrets"}, false},
		"another account":          {here, right{account: "sallyport-webhook", namespace: "shop", verb: "get", resource: "secrets"}, false},
		"everywhere, and the name": {named, right{account: "sallyport-agent", namespace: "x", verb: "get", group: "apps", resource: "things/status", name: "one"}, true},
		"another name":             {named, right{account: "sallyport-agent", verb: "get", group: "apps", resource: "things/status", name: "two"}, false},
		"the resource itself":      {named, right{account: "sallyport-agent", verb: "get", group: "apps", resource: "things", name: "one"}, false},
	} {
		if got := test.right.covers(test.call); got != test.want {
			t.Errorf("%s: %t, expected %t", name, got, test.want)
		}
	}
}
