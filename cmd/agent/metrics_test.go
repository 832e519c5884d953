package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/testenv"
)

// running is an agent under test, on a real API server.
type running struct {
	client client.Client
	url    string
	scrape *http.Client
}

// startAgent runs an agent that serves metrics to whoever may get them.
func startAgent(t *testing.T, namespace string) *running {
	t.Helper()
	settings, err := install.Parse([]byte("trustDomain: example.com\n"))
	if err != nil {
		t.Fatal(err)
	}
	address := free(t)
	options, err := parse([]string{
		"--config=none", "--namespace=" + namespace, "--metrics-address=" + address, "--metrics-authentication", "--probe-period=0",
		"--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s", "--leader-election-retry-period=200ms",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(t.Output(), nil))
	ctrl.SetLogger(log)
	ctx, stop := context.WithCancel(t.Context())
	mgr, err := newManager(ctx, Config{options: options, settings: settings, cluster: environment.Config}, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &running{client: environment.Admin(t), url: "https://" + address, scrape: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// get asks with a token; empty for none. Status 0 is no answer at all.
func (r *running) get(t *testing.T, path, token string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := r.scrape.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// token is one of a ServiceAccount of that name.
func (r *running) token(t *testing.T, namespace, name string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := r.client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{}
	if err := r.client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// letScrape binds what the chart's ClusterRole sallyport-metrics allows.
func (r *running) letScrape(t *testing.T, namespace, name string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sallyport-metrics"}, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sallyport-metrics"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "sallyport-metrics"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := r.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// An agent from the time at which another one leads: who may scrape, what is told by whom,
// and what is told of an object until it is deleted.
func TestMetricsOfAnAgent(t *testing.T) {
	namespace := environment.Namespace(t, "agent").Name
	admin := environment.Admin(t)
	// Another replica holds the lease.
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: leaseName}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To("another"), LeaseDurationSeconds: ptr.To[int32](3600), AcquireTime: &now, RenewTime: &now,
	}}
	caller := &v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "billing"}}
	caller.Spec.AuthorityRef.Name, caller.Spec.SecretName = "callers", "billing"
	authority := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "callers"}}
	authority.Spec.Source.Type = v1alpha1.SourceSelfSigned
	for _, object := range []client.Object{lease, caller, authority} {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	end := metav1.NewTime(time.Unix(4102444800, 0))
	caller.Status.NotAfter = &end
	if err := admin.Status().Update(t.Context(), caller); err != nil {
		t.Fatal(err)
	}

	r := startAgent(t, namespace)
	testenv.Eventually(t, 30*time.Second, "an agent that is served", func(context.Context) error { return r.answers(t, "/readyz", "", http.StatusOK) })
	prometheus, somebody := r.token(t, namespace, "prometheus"), r.token(t, namespace, "somebody")
	r.letScrape(t, namespace, "prometheus")
	for _, expected := range []struct {
		path, token string
		status      int
	}{
		{"/healthz", "", http.StatusOK}, {"/metrics", "", http.StatusUnauthorized}, {"/metrics", "guessed", http.StatusUnauthorized},
		{"/metrics", somebody, http.StatusForbidden}, {"/", "", http.StatusNotFound}, {"/debug/pprof/", "", http.StatusNotFound},
	} {
		if err := r.answers(t, expected.path, expected.token, expected.status); err != nil {
			t.Error(err)
		}
	}
	told := func(has, lacks []string) error {
		status, text := r.get(t, "/metrics", prometheus)
		return compare(status, text, has, lacks)
	}
	libraries := []string{"go_goroutines ", "process_resident_memory_bytes ", "leader_election_master_status", "rest_client_requests_total", "sallyport_build_info{"}
	ofTheCaller := `name="billing"`
	testenv.Eventually(t, 30*time.Second, "the metrics of one that follows", func(context.Context) error {
		return told(append(libraries, "sallyport_agent_leader 0\n"), []string{ofTheCaller, "sallyport_crl", "sallyport_certificates_issued_total"})
	})
	if err := admin.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 60*time.Second, "the metrics of one that leads", func(context.Context) error {
		return told(append(libraries, "sallyport_agent_leader 1\n", "controller_runtime_reconcile_total", "workqueue_depth",
			`sallyport_certificate_not_after_timestamp_seconds{kind="Client",namespace="`+namespace+`",name="billing",authority="`+namespace+`/callers"} `,
			`sallyport_certificate_renewal_timestamp_seconds{kind="Client",`,
			`sallyport_certificate_not_after_timestamp_seconds{kind="CA",namespace="`+namespace+`",name="callers",authority="`+namespace+`/callers"} `,
			`sallyport_crl_next_update_timestamp_seconds{namespace="`+namespace+`",name="callers",generation="g1"} `,
			`sallyport_crl_entries{namespace="`+namespace+`",name="callers",generation="g1"} 1`,
			`sallyport_metrics_dropped_series{metric="sallyport_probe_result"} 0`,
		), []string{"} 4102444800\n"})
	})
	if err := admin.Delete(t.Context(), caller); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, "metrics without what was deleted", func(context.Context) error {
		return told([]string{"sallyport_agent_leader 1\n"}, []string{ofTheCaller})
	})
}

// answers says what another status is answered than wanted, nil if none is.
func (r *running) answers(t *testing.T, path, token string, want int) error {
	t.Helper()
	if status, text := r.get(t, path, token); status != want {
		return fmt.Errorf("%s answers %d %q, expected %d", path, status, text, want)
	}
	return nil
}

// compare says what a scrape lacks, or has and ought not to.
func compare(status int, text string, has, lacks []string) error {
	if status != http.StatusOK {
		return fmt.Errorf("%d %q", status, text)
	}
	for _, line := range has {
		if !strings.Contains(text, line) {
			return fmt.Errorf("it lacks %s", line)
		}
	}
	for _, line := range lacks {
		if strings.Contains(text, line) {
			return fmt.Errorf("it has %s", line)
		}
	}
	return nil
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
