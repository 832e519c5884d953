package product

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/install"
)

// Namespace is where the product is installed.
const Namespace = "sallyport-system"

// Options say how to install.
type Options struct {
	// TrustDomain of the identities; empty means example.org.
	TrustDomain string
	// ClientSecretNamespaces are where the agent may write Secrets for callers. They
	// have to exist.
	ClientSecretNamespaces []string
	// Values of the chart beyond these.
	Values map[string]any
	// WebhookReplicas and AgentReplicas; 0 means one.
	WebhookReplicas, AgentReplicas int
	// AgentArgs are further arguments of the agent.
	AgentArgs []string
	// Progress is told what is being done; nil is silence.
	Progress io.Writer
}

// Product is an installed Sallyport.
type Product struct {
	stack   *localstack.Stack
	clock   clock.WithTicker
	service *service
	// Webhooks and Agents are the replicas, in the order of their pods' names.
	Webhooks, Agents []*Replica
	cancel           context.CancelFunc
}

// Install installs the chart and waits until admission reviews are answered. The end
// of the context ends what stands in for the cluster; the processes end with the
// stack.
func Install(ctx context.Context, stack *localstack.Stack, o Options) (*Product, error) {
	root, err := localstack.Root()
	if err != nil {
		return nil, err
	}
	binaries, err := build(ctx, root, stack.Directory())
	if err != nil {
		return nil, err
	}
	p := &Product{stack: stack, clock: clock.RealClock{}}
	background, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	if p.service, err = newService(stack); err != nil {
		return nil, err
	}
	values := o.values(p.service.port)
	objects, err := install.Render(ctx, filepath.Join(root, "charts", "sallyport"), values, Namespace)
	if err != nil {
		return nil, err
	}
	if err := p.apply(ctx, objects); err != nil {
		return nil, err
	}
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			if err := p.deploy(background, object, binaries, o); err != nil {
				return nil, err
			}
		}
	}
	go p.service.serve(background)
	return p, p.Ready(ctx)
}

// Stop ends what stands in for the cluster. The processes end with the stack.
func (p *Product) Stop() { p.cancel() }

func (o Options) values(port int) map[string]any {
	values := map[string]any{}
	maps.Copy(values, o.Values)
	values["trustDomain"] = o.TrustDomain
	if o.TrustDomain == "" {
		values["trustDomain"] = "example.org"
	}
	if len(o.ClientSecretNamespaces) > 0 {
		values["clientSecretNamespaces"] = o.ClientSecretNamespaces
	}
	if _, stated := values["policies"]; !stated {
		values["policies"] = map[string]any{"optIn": "Always"} // helm template asks no API server what it has
	}
	webhook, _ := values["webhook"].(map[string]any)
	webhook = maps.Clone(webhook)
	if webhook == nil {
		webhook = map[string]any{}
	}
	webhook["servicePort"] = port
	values["webhook"] = webhook
	return values
}

// apply applies what the chart renders, but for the Deployments. Kinds come before
// what is of them.
func (p *Product) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	if err := p.stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+Namespace+"}}"); err != nil {
		return err
	}
	for _, first := range []bool{true, false} {
		for _, object := range objects {
			if (object.GetKind() == "CustomResourceDefinition") != first || object.GetKind() == "Deployment" {
				continue
			}
			object = object.DeepCopy()
			p.service.redirect(object)
			if err := p.stack.Apply(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// readyLimit is how long an install may take until reviews are answered.
const readyLimit = 60 * time.Second

// readyInterval is how often readiness is asked for.
const readyInterval = 50 * time.Millisecond

// Ready waits until every replica is ready and the API server would trust the
// webhook.
func (p *Product) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	ticker := p.clock.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the product: %w", err)
		case <-ticker.C():
		}
	}
}

func (p *Product) ready(ctx context.Context) error {
	var errs []error
	for _, r := range append(append([]*Replica{}, p.Webhooks...), p.Agents...) {
		if err := r.Process.Err(); err != nil {
			errs = append(errs, err)
		} else if err := r.check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Pod, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := p.service.trusted(ctx, p.stack.Client()); err != nil {
		return err
	}
	return p.reviewed(ctx)
}

// trial is an object that only the webhook makes acceptable.
const trial = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: trial, namespace: ` + Namespace + `, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {trial: "true"}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [trial.invalid]}]
`

// reviewed reports whether the API server asks the webhook: it reads a changed
// caBundle a while after it stored it, and a webhook that it cannot reach is
// ignored. Nothing is stored.
func (p *Product) reviewed(ctx context.Context) error {
	objects, err := localstack.ParseYAML([]byte(trial))
	if err != nil {
		return err
	}
	if err := p.stack.Client().Create(ctx, objects[0], client.DryRunAll); err != nil {
		return fmt.Errorf("the API server does not ask the webhook yet: %w", err)
	}
	if mode := objects[0].Object["spec"].(map[string]any)["servers"].([]any)[0].(map[string]any)["tls"]; mode == nil { //nolint:forcetypeassert // as it was sent
		return errors.New("the API server does not ask the webhook yet")
	}
	return nil
}
