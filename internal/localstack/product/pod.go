package product

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// standInForPod makes the Pod of a replica and does what the kubelet does for it:
// ask whether it is ready, and say so in the Pod's status.
func (p *Product) standInForPod(ctx context.Context, d *appsv1.Deployment, r *Replica) error {
	template := d.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: r.Pod, Labels: template.Labels, Annotations: template.Annotations},
		Spec:       corev1.PodSpec{ServiceAccountName: template.Spec.ServiceAccountName},
	}
	container := corev1.Container{Name: template.Spec.Containers[0].Name, Image: "none"}
	for name, port := range r.Ports {
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: name, ContainerPort: int32(port)}) //nolint:gosec // a port
	}
	pod.Spec.Containers = []corev1.Container{container}
	if err := p.stack.Client().Create(ctx, pod); err != nil {
		return fmt.Errorf("making Pod %s: %w", r.Pod, err)
	}
	if err := p.setReady(ctx, r.Pod, false); err != nil {
		return err
	}
	go p.keepReady(ctx, r)
	return nil
}

// keepReady tells the replica's readiness until the context ends. A failure to tell
// is made good by the next change; the API server may be on its way down.
func (p *Product) keepReady(ctx context.Context, r *Replica) {
	ticker := p.clock.NewTicker(readyInterval)
	defer ticker.Stop()
	told := false
	for {
		if now := r.check(ctx) == nil; now != told && p.setReady(ctx, r.Pod, now) == nil {
			told = now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

func (p *Product) setReady(ctx context.Context, name string, ready bool) error {
	pod := &corev1.Pod{}
	if err := p.stack.Client().Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, pod); err != nil {
		return fmt.Errorf("reading Pod %s: %w", name, err)
	}
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "127.0.0.1"
	pod.Status.PodIPs = []corev1.PodIP{{IP: "127.0.0.1"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(p.clock.Now())}}
	if err := p.stack.Client().Status().Update(ctx, pod); err != nil {
		return fmt.Errorf("telling the readiness of Pod %s: %w", name, err)
	}
	return nil
}

// checkTimeout bounds one question for readiness.
const checkTimeout = time.Second

// kubelet asks replicas; like the kubelet, it takes any certificate.
var kubelet = &http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, //nolint:gosec // as the kubelet does
}}

// check asks the replica whether it is ready, as its probe says.
func (r *Replica) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.ToLower(string(r.ready.Scheme))+"://"+r.Address(r.ready.Port.StrVal)+r.ready.Path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := kubelet.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 512))
		return fmt.Errorf("not ready: %s", said)
	}
	return nil
}
