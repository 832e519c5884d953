package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
)

// shortLived is an authority whose certificates live a few seconds, a Gateway under it
// and a caller.
func shortLived(name string) string {
	return strings.Replace(everythingYAML(name), "spec: {source: {type: SelfSigned}}",
		"spec: {source: {type: SelfSigned}, serverCertificates: {lifetime: 6s, renewBeforePercentage: 50}, clientCertificates: {lifetime: 6s, renewBeforePercentage: 50}}", 1)
}

// callersPair is what a caller's Secret holds.
func callersPair(ctx context.Context, name string) (pki.Pair, error) {
	s, err := secret(ctx, clients, name)
	if err != nil {
		return pki.Pair{}, err
	}
	return pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"])
}

// renewal is a server certificate and a caller's that come to their end, of which nothing
// but the time tells.
func renewal() scenario {
	type pairs struct{ server, caller pki.Serial }
	of := func(ctx context.Context, round string) (pairs, error) {
		server, err := storedPair(ctx, clients, round)
		caller, callerErr := callersPair(ctx, round)
		return pairs{server.Leaf().Serial(), caller.Leaf().Serial()}, errors.Join(err, callerErr)
	}
	before := map[string]pairs{}
	return scenario{
		prepare: func(t *testing.T, round string) {
			apply(t, shortLived(round))
			eventually(t, "the first certificates of "+round, func(ctx context.Context) (err error) {
				if err := errors.Join(ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round), ready(ctx, "ClientCertificate", clients, round)); err != nil {
					return err
				}
				before[round], err = of(ctx, round)
				return err
			})
		},
		act: func(*testing.T, string) {},
		done: func(ctx context.Context, round string) error {
			now, err := of(ctx, round)
			if err == nil && (now.server == before[round].server || now.caller == before[round].caller) {
				err = errors.New("not both have been renewed")
			}
			return err
		},
		writes: 4,
		made:   everything,
	}
}

// A caller's certificate that is due is replaced with no look at its Secret; one that
// somebody changed meanwhile is looked at, and what it has to keep is kept.
func TestACallersSecretIsRenewedUnread(t *testing.T) {
	const name = "unread"
	h := record(t)
	a := startAgent(t)
	apply(t, shortLived(name))
	t.Cleanup(func() {
		for _, o := range everything(name) {
			// A test's own context has ended when it cleans up.
			if err := stack.Client().Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		}
	})
	serial := func(ctx context.Context) (pki.Serial, error) {
		pair, err := callersPair(ctx, name)
		return pair.Leaf().Serial(), err
	}
	var reads, writes atomic.Int64
	watched := func(r *http.Request) fault {
		if strings.HasSuffix(r.URL.Path, "/namespaces/"+clients+"/secrets/"+name) {
			switch r.Method {
			case http.MethodGet:
				reads.Add(1)
			case http.MethodPut:
				writes.Add(1)
			}
		}
		return pass
	}
	renewed := func(times int) {
		t.Helper()
		var last pki.Serial
		for range times + 1 {
			eventually(t, "another certificate", func(ctx context.Context) error {
				now, err := serial(ctx)
				if err == nil && now == last {
					err = fmt.Errorf("it is still %s", now)
				}
				if err == nil {
					last = now
				}
				return err
			})
		}
	}
	renewed(1)
	a.proxy.set(watched)
	renewed(3)
	if reads.Load() > 0 || writes.Load() < 2 {
		t.Errorf("%d reads and %d writes of the Secret, expected none and one for each renewal", reads.Load(), writes.Load())
	}
	changed, err := secret(t.Context(), clients, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Patch(t.Context(), changed, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/theirs"]}}`))); err != nil {
		t.Fatal(err)
	}
	renewed(2)
	if s, err := secret(t.Context(), clients, name); err != nil || len(s.Finalizers) != 1 {
		t.Errorf("the Secret has the finalizers %v, expected somebody's: %v", s.Finalizers, err)
	}
	if reads.Load() == 0 {
		t.Error("a Secret that had changed was replaced unread")
	}
	if err := stack.Client().Patch(t.Context(), changed, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	h.check(t)
}
