package localstack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Stack is a running set of servers. Its methods may be called from any goroutine.
type Stack struct {
	binaries  Binaries
	directory string
	temporary bool
	clock     clock.WithTicker
	progress  *progress
	ports     *ports
	watchdog  *watchdog

	config *rest.Config
	kube   kubernetes.Interface
	client client.Client

	istioCRDs func() ([]*unstructured.Unstructured, error)
	istiod    istiodPorts
	gateways  []Gateway
	// podAnnotations are those of the gateways' pods.
	podAnnotations map[string]string

	mu sync.Mutex
	// unwatch takes back that the end of Start's context stops the stack.
	unwatch   func() bool
	processes []*Process
	ended     bool
	stop      sync.Once

	httpbinMu   sync.Mutex
	httpbinPort int
}

// Start runs a stack and answers when it is ready: the API server answers, istiod
// serves, and each gateway has its configuration. The end of the context stops it, as
// Stop does. When Start fails nothing is left running, and the error carries the end
// of the log of what failed.
func Start(ctx context.Context, o Options) (*Stack, error) {
	replicas, err := o.replicas()
	if err != nil {
		return nil, err
	}
	if o.Binaries == (Binaries{}) {
		if o.Binaries, err = Build(ctx, o.Progress); err != nil {
			return nil, err
		}
	}
	s, err := newStack(o)
	if err != nil {
		return nil, fmt.Errorf("starting a stack: %w", err)
	}
	s.stopWith(ctx)
	if err := s.start(ctx, replicas, o.ControlPlaneOnly); err != nil {
		if ctx.Err() == nil {
			s.keepDirectory() // its logs tell why
		}
		return nil, errors.Join(fmt.Errorf("starting a stack in %q: %w", s.directory, err), s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func newStack(o Options) (*Stack, error) {
	directory, temporary, err := o.workDirectory()
	if err != nil {
		return nil, err
	}
	dog, err := startWatchdog()
	if err != nil {
		return nil, err
	}
	c := clock.RealClock{}
	return &Stack{
		binaries: o.Binaries, directory: directory, temporary: temporary,
		clock: c, progress: newProgress(o.Progress), ports: newPorts(), watchdog: dog, podAnnotations: o.GatewayAnnotations,
	}, nil
}

// start is the order of things; each step needs the one before it.
func (s *Stack) start(ctx context.Context, replicas int, controlPlaneOnly bool) error {
	s.istioCRDs = sync.OnceValues(func() ([]*unstructured.Unstructured, error) { return readCRDs(s.binaries.IstioCRDs) })
	go func() { _, _ = s.istioCRDs() }() // while the API server starts; what it says is kept
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"starting etcd and kube-apiserver", s.startControlPlane},
		{"installing Istio's resource definitions", s.installCRDs},
		{"starting istiod", s.startIstiod},
		{"starting the gateways", func(ctx context.Context) error { return s.startGateways(ctx, replicas) }},
	}
	if controlPlaneOnly {
		steps = steps[:2]
	}
	for _, step := range steps {
		done := s.progress.step(step.what)
		err := step.do(ctx)
		done(err)
		if err != nil {
			return err
		}
	}
	return nil
}

// Directory is where the stack keeps its data, credentials and logs.
func (s *Stack) Directory() string { return s.directory }

// Config is the administrator's client configuration (group system:masters); a copy.
func (s *Stack) Config() *rest.Config { return rest.CopyConfig(s.config) }

// Kubeconfig is the path of the administrator's kubeconfig.
func (s *Stack) Kubeconfig() string { return s.path("kubeconfig") }

// AuditLog is the path of the API server's audit log: a JSON event per finished
// request, at level Metadata.
func (s *Stack) AuditLog() string { return s.path("audit.log") }

// Client is the administrator's client for objects of any kind; typed are the kinds of
// Kubernetes itself and CustomResourceDefinitions.
func (s *Stack) Client() client.Client { return s.client }

func (s *Stack) path(name string) string { return filepath.Join(s.directory, name) }

// Port reserves a free loopback port for as long as the stack runs.
func (s *Stack) Port() (int, error) { return s.ports.take() }

// Run starts a further process; it ends with the stack, before the stack's own servers.
// A name may be used again when its process has ended.
func (s *Stack) Run(c Command) (*Process, error) { return s.launch(c, true) }

// run starts one of the stack's own servers.
func (s *Stack) run(c Command) (*Process, error) { return s.launch(c, false) }

func (s *Stack) launch(c Command, guest bool) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, fmt.Errorf("starting %s: the stack has stopped", c.Name)
	}
	if c.Directory == "" {
		c.Directory = s.directory
	}
	process := newProcess(c, s.directory, s.watchdog)
	process.guest = guest
	at := slices.IndexFunc(s.processes, func(p *Process) bool { return p.Name() == c.Name })
	if at >= 0 && s.processes[at].Err() == nil {
		return nil, fmt.Errorf("starting %s: a process of that name runs", c.Name)
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	if at >= 0 {
		s.processes[at] = process
	} else {
		s.processes = append(s.processes, process)
	}
	return process, nil
}

// Process finds a process by name: "etcd", "kube-apiserver", "istiod", "gateway-0",
// "gateway-1", "go-httpbin", or what Run started.
func (s *Stack) Process(name string) (*Process, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		if p.Name() == name {
			return p, true
		}
	}
	return nil, false
}
