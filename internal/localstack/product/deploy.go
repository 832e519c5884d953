package product

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
)

// Replica is one process in the place of a pod.
type Replica struct {
	// Pod is the name of the Pod that stands for it.
	Pod string
	// Process is the binary.
	Process *localstack.Process
	// Ports are its container ports by name, on loopback.
	Ports map[string]int

	ready *corev1.HTTPGetAction
}

// Address is host:port of one of its ports.
func (r *Replica) Address(port string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Ports[port]))
}

// deploy runs the replicas of one Deployment.
func (p *Product) deploy(ctx context.Context, object *unstructured.Unstructured, binaries map[string]string, o Options) error {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &d); err != nil {
		return fmt.Errorf("reading Deployment %s: %w", object.GetName(), err)
	}
	if len(d.Spec.Template.Spec.Containers) != 1 {
		return fmt.Errorf("reading Deployment %s: %d containers, expected one", d.Name, len(d.Spec.Template.Spec.Containers))
	}
	container := d.Spec.Template.Spec.Containers[0]
	count, to, further := o.AgentReplicas, &p.Agents, append([]string{"--probe-local-addresses"}, o.AgentArgs...)
	if container.Name == "webhook" {
		count, to, further = o.WebhookReplicas, &p.Webhooks, nil
	}
	for n := range max(count, 1) {
		r, err := p.runReplica(ctx, &d, binaries[container.Name], further, n)
		if err != nil {
			return fmt.Errorf("running Deployment %s: %w", d.Name, err)
		}
		*to = append(*to, r)
		if container.Name == "webhook" {
			p.service.add(r)
		}
	}
	return nil
}

// runReplica mounts the volumes, maps the ports, and starts one process with the
// token of its ServiceAccount.
func (p *Product) runReplica(ctx context.Context, d *appsv1.Deployment, binary string, further []string, n int) (*Replica, error) {
	r := &Replica{Pod: fmt.Sprintf("%s-%d", d.Name, n), Ports: map[string]int{}}
	container := d.Spec.Template.Spec.Containers[0]
	r.ready = container.ReadinessProbe.HTTPGet
	replacements := []string{}
	for _, port := range container.Ports {
		local, err := p.stack.Port()
		if err != nil {
			return nil, err
		}
		r.Ports[port.Name] = local
		replacements = append(replacements, fmt.Sprintf("=:%d", port.ContainerPort), fmt.Sprintf("=127.0.0.1:%d", local))
	}
	for _, mount := range container.VolumeMounts {
		directory := filepath.Join(p.stack.Directory(), "volumes", r.Pod, mount.Name)
		if err := p.mount(ctx, d.Spec.Template.Spec.Volumes, mount.Name, directory); err != nil {
			return nil, err
		}
		replacements = append(replacements, mount.MountPath, directory)
	}
	_, kubeconfig, err := p.stack.TokenConfig(ctx, Namespace, d.Spec.Template.Spec.ServiceAccountName)
	if err != nil {
		return nil, err
	}
	replacer := strings.NewReplacer(replacements...)
	args := []string{"--kubeconfig=" + kubeconfig}
	for _, arg := range container.Args {
		args = append(args, replacer.Replace(arg))
	}
	if r.Process, err = p.stack.Run(localstack.Command{Name: r.Pod, Binary: binary, Args: append(args, further...), Env: []string{"POD_NAMESPACE=" + Namespace, "POD_NAME=" + r.Pod}}); err != nil {
		return nil, err
	}
	return r, p.standInForPod(ctx, d, r)
}

// mount makes the directory of one volume.
func (p *Product) mount(ctx context.Context, volumes []corev1.Volume, name, directory string) error {
	for _, volume := range volumes {
		switch {
		case volume.Name != name:
			continue
		case volume.ConfigMap != nil:
			return p.mountConfigMap(ctx, volume.ConfigMap.Name, directory)
		case volume.Secret != nil:
			return p.standInForSecretVolume(ctx, volume.Secret.SecretName, directory)
		}
		return fmt.Errorf("volume %s is neither a ConfigMap nor a Secret", name)
	}
	return errors.New("there is no volume " + name)
}

func (p *Product) mountConfigMap(ctx context.Context, name, directory string) error {
	var m corev1.ConfigMap
	if err := p.stack.Client().Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, &m); err != nil {
		return fmt.Errorf("mounting ConfigMap %s: %w", name, err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("mounting ConfigMap %s: %w", name, err)
	}
	for key, value := range m.Data {
		if err := os.WriteFile(filepath.Join(directory, key), []byte(value), 0o600); err != nil {
			return fmt.Errorf("mounting ConfigMap %s: %w", name, err)
		}
	}
	return nil
}
