package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// setReady says whether the pod of a gateway replica is ready, as the kubelet would.
func setReady(t *testing.T, replica int, ready bool) {
	t.Helper()
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	testenv.Eventually(t, patience, "the readiness of a replica", func(ctx context.Context) error {
		pod := &corev1.Pod{}
		if err := stack.Client().Get(ctx, client.ObjectKey{Namespace: "istio-system", Name: stack.Gateway(replica).Pod}, pod); err != nil {
			return err
		}
		for i := range pod.Status.Conditions {
			if pod.Status.Conditions[i].Type == corev1.PodReady {
				pod.Status.Conditions[i].Status = status
			}
		}
		return stack.Client().Status().Update(ctx, pod)
	})
}

// eventuallyRotated waits until the next generation issues.
func (r *run) eventuallyRotated() {
	r.t.Helper()
	testenv.Eventually(r.t, patience, "the next generation", func(context.Context) error {
		if _, rotated, _ := r.tally.sum(); rotated == 0 {
			return errors.New("it does not issue")
		}
		return nil
	})
}

func TestAReplicaOfWhichNothingIsKnownHoldsARotationUpForAWhile(t *testing.T) {
	r := begin(t, "silent", slow, 0) // nobody calls the replica that is frozen
	defer r.report()
	testenv.Eventually(t, patience, "both replicas proven", func(ctx context.Context) error {
		e, err := stored(ctx, "mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint", r.ns, "gateway-front")
		if err == nil && !strings.Contains(fmt.Sprint(e.Object["status"]), "acceptedGeneration:g1") {
			err = fmt.Errorf("status %v", e.Object["status"])
		}
		return err
	})
	gateway := stack.Gateway(1)
	if err := gateway.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gateway.Process.Signal(syscall.SIGCONT) }()
	r.askForRotation()
	told := r.eventually("RotationBlocked", "True", "ReplicaUnknown")
	if want := "replica istio-system/" + gateway.Pod + ": the gateway did not answer in time"; !strings.Contains(told, want) || !strings.Contains(told, "Gateway "+r.ns+"/") {
		t.Errorf("it says %q, expected %q", told, want)
	}
	if _, rotated, _ := r.tally.sum(); rotated != 0 {
		t.Error("the next generation issues all the same")
	}
	r.eventuallyRotated() // after proofTimeout
	if err := gateway.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.eventually("RotationBlocked", "False", "None")
	r.wantNoneRefused()
}

func TestWhatDoesNotCountBlocksNothing(t *testing.T) {
	r := begin(t, "apart", slow, 0)
	defer r.report()
	// A tenant of the same authority, whose Gateway matches no ingress, and one whose host another holds.
	if err := stack.ApplyYAML(t.Context(), `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: nowhere, namespace: apart, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: elsewhere}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["nowhere.example.apart"]}]
`); err != nil {
		t.Fatal(err)
	}
	setReady(t, 1, false)
	defer setReady(t, 1, true)
	r.patch(`{"minimumOverlap": "3s"}`)
	r.askForRotation()
	r.eventually("Rotating", "True", "Trust")
	setReady(t, 1, true) // a replica comes in the middle of it, and is asked before the next generation issues
	r.eventuallyRotated()
	r.wantNoneRefused()
}

func TestAGatewayWithoutReplicasBlocksNothingAndIsRightWhenItComesBack(t *testing.T) {
	r := begin(t, "zero", slow)
	defer r.report()
	r.end()
	for replica := range stack.Gateways() {
		setReady(t, replica, false)
		defer setReady(t, replica, true)
	}
	r.patch(`{"minimumOverlap": "0s"}`)
	r.askForRotation()
	testenv.Eventually(t, patience, "the second generation alone with the first retiring", func(ctx context.Context) error {
		r.see(ctx)
		if _, rotated, _ := r.tally.sum(); rotated == 0 {
			return errors.New("the next generation does not issue")
		}
		return nil
	})
	for replica := range stack.Gateways() {
		setReady(t, replica, true)
	}
	for _, c := range r.callers {
		testenv.Eventually(t, patience, "an answer to "+c.shelf.name, func(ctx context.Context) error {
			if err := c.shelf.look(ctx); err != nil {
				return err
			}
			fresh := &caller{kind: prompt, shelf: c.shelf}
			fresh.has = c.shelf.take()
			for _, at := range r.targets {
				if _, err := fresh.call(ctx, at); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
