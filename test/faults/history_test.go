package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// history has seen every revision of every Secret that the agent stored, and what was
// wrong with it.
type history struct {
	mu        sync.Mutex
	revisions int
	wrong     []string
	// served are the serials that callers' and servers' Secrets ever held, by Secret.
	served map[string][]string
}

// record watches until the test ends.
func record(t *testing.T) *history {
	t.Helper()
	kube, err := kubernetes.NewForConfig(stack.Config())
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kube.CoreV1().Secrets("").Watch(t.Context(), metav1.ListOptions{LabelSelector: "mtls.sallyport.dev/managed=true"})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{served: map[string][]string{}}
	go func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				h.see(secret, time.Now())
			}
		}
	}()
	t.Cleanup(watch.Stop)
	return h
}

func (h *history) see(secret *corev1.Secret, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revisions++
	name := secret.Namespace + "/" + secret.Name
	if err := whole(secret, now); err != nil {
		h.wrong = append(h.wrong, fmt.Sprintf("%s at %s: %v", name, secret.ResourceVersion, err))
	}
	if pair, err := pki.ParsePair(secret.Data["tls.crt"], secret.Data["tls.key"]); err == nil {
		serial := pair.Leaf().Serial().String()
		if known := h.served[name]; len(known) == 0 || known[len(known)-1] != serial {
			h.served[name] = append(known, serial)
		}
	}
}

// whole says why a Secret is not what a gateway, a caller or the next agent can use.
func whole(secret *corev1.Secret, now time.Time) error {
	switch {
	case strings.HasSuffix(secret.Name, "-cacert"):
		bundle, err := pki.ParseBundle(secret.Data["ca.crt"], secret.Data["ca.crl"], now)
		if err == nil && len(bundle.CRLsPEM()) == 0 {
			return fmt.Errorf("no CRL")
		}
		return err
	case secret.Type == corev1.SecretTypeTLS:
		_, err := pki.ParsePair(secret.Data["tls.crt"], secret.Data["tls.key"])
		return err
	case secret.Labels["mtls.sallyport.dev/ledger"] == "keys":
		_, err := rotate.DecodeLedger(secret.Data)
		return err
	case secret.Labels["mtls.sallyport.dev/ledger"] == "serials":
		_, err := rotate.ParseSerials(secret.Data["serials"])
		return err
	}
	return nil
}

// check reports what was wrong at any time.
func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, wrong := range h.wrong {
		t.Error(wrong)
	}
	if h.revisions == 0 {
		t.Error("nothing was stored: the history sees nothing")
	}
}

// seen is how many revisions there were.
func (h *history) seen() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revisions
}

func (h *history) of(name string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.served[name]...)
}

// secret reads one, which has to be there.
func secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	return s, get(ctx, s, namespace, name)
}
