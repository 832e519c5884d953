package programming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/budget"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/handshakes"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Programmer puts Secrets behind Gateways. It is safe for concurrent use.
type Programmer struct {
	// Cluster is where Secrets are read and written.
	Cluster *cluster.Cluster
	// Edge knows the ingresses and the other Gateways.
	Edge *ingress.Index
	// Synced is whether Edge has heard of everything there was when the agent began.
	// Until then an ingress may seem to have no pods.
	Synced func() bool
	// Install are the platform's settings.
	Install install.Settings
	// Capabilities are asked on each pass: an upgrade of Istio changes them.
	Capabilities func() mutate.Capabilities
	// Budget holds up what can wait; nil holds up nothing.
	Budget *budget.Budget
	// Headers know where workloads are told who called.
	Headers Headers
	// Prover tries handshakes with what is programmed; nil if none are tried.
	Prover *proving.Prover
	// Callers counts who came with a certificate; nil if nobody is counted.
	Callers *handshakes.Watcher

	patience patience
	nobody   nobody
	names    endpoint.Names
	reissues reissues
}

// Headers know behind which Gateways a workload is told who called.
type Headers interface {
	// Tell reports whether a workload behind the Gateway is told, and whether that is known yet.
	Tell(ctx context.Context, gateway types.NamespacedName) (does, known bool, err error)
	// Forget drops what is remembered of a Gateway that is no more.
	Forget(gateway types.NamespacedName)
}

// Target is one Gateway and what it is to be.
type Target struct {
	// Gateway as stored, in raw form. It must not be changed.
	Gateway map[string]any
	// Intent is what it asks for.
	Intent intent.Intent
	// Endpoint is where the outcome will be told.
	Endpoint types.NamespacedName
	// Kept is whether its annotations cannot be read, so that Intent is what it asked for before: what it has is kept current, and
	// nobody is let in who was not before.
	Kept bool
}

// Outcome is how a Gateway stands after a pass.
type Outcome struct {
	// Status for its endpoint; its conditions have no times yet.
	Status v1alpha1.MutualTLSEndpointStatus
	// Issued is why a server certificate was issued in this pass; empty if none was.
	Issued rotate.Reason
	// Adopted is whether hand-made Secrets were taken over in this pass.
	Adopted bool
	// Next is when to look again; zero if only a change can make anything due.
	Next time.Time
	// Waiting is whether the pass could not be made yet, and nothing is wrong: the
	// authority was just made, or the agent has just begun.
	Waiting bool
}

// Announce tells in events of the object what the pass did.
func (o Outcome) Announce(recorder events.EventRecorder, object runtime.Object) {
	if o.Adopted {
		recorder.Eventf(object, nil, corev1.EventTypeNormal, v1alpha1.ReasonAdopted, "AdoptSecrets", "took over the Secrets that were made by hand")
	}
	if o.Issued != "" {
		recorder.Eventf(object, nil, corev1.EventTypeNormal, string(o.Issued), "IssueServerCertificate", "issued server certificate %s", o.Status.ServerCertificate.Serial)
	}
}

// Program makes one pass. It writes each Secret at most once.
func (p *Programmer) Program(ctx context.Context, t Target, now time.Time) (Outcome, error) {
	if !p.Synced() {
		return Outcome{Waiting: true}, nil
	}
	f, err := p.gather(ctx, t, now)
	var problem *issuer.Problem
	switch {
	case errors.As(err, &problem):
		return p.hold(ctx, t, f, problem, now)
	case err != nil || f.waiting:
		return Outcome{Waiting: f.waiting}, err
	}
	material, err := p.materialize(ctx, t, f, now)
	if err != nil {
		return Outcome{}, err
	}
	if f.issuer.Withheld != "" {
		material.next = first(material.next, now.Add(offeredEvery))
	}
	if material.refused != nil {
		f.refused = material.refused
	}
	if f.refused != nil {
		material.next = first(material.next, now.Add(refusedEvery))
	}
	if material.trouble != "" {
		f.trouble = append(f.trouble, material.trouble)
	}
	if material.held || !f.provided && material.pair.IsZero() {
		err = p.writeWithoutServer(ctx, &f, now)
	} else {
		material, err = p.write(ctx, t.Endpoint, &f, material, now)
		p.countReissue(t, material, now)
	}
	if err != nil {
		return Outcome{}, err
	}
	p.gatherContests(&f, now)
	if slices.ContainsFunc(f.edges, func(e edge) bool { return e.isTaken }) {
		material.next = first(material.next, now.Add(missingEvery)) // no watch shows that it is handed over, or gone
	}
	o := p.outcome(t, f, material, p.prove(t, f, material, now))
	p.countCallers(&o, t, f, now)
	return o, nil
}

// hold ends the pass over a Gateway that cannot be programmed.
func (p *Programmer) hold(ctx context.Context, t Target, f facts, problem *issuer.Problem, now time.Time) (Outcome, error) {
	refusesAll, err := p.tighten(ctx, t, &f, now)
	if err != nil {
		return Outcome{}, err
	}
	if refusesAll {
		told := *problem
		told.Message += "; every caller is refused, because no CA is left behind the Gateway that may be trusted"
		problem = &told
	}
	p.gatherContests(&f, now)
	o := p.held(t, f, problem, now)
	p.countCallers(&o, t, f, now)
	return o, nil
}

// gatherContests finds out which of the Secrets somebody else keeps changing.
func (p *Programmer) gatherContests(f *facts, now time.Time) {
	for _, e := range f.edges {
		if contest, fought := p.Cluster.Contest(e.secrets, now); fought {
			f.contests = append(f.contests, contest)
		}
	}
}

// facts are what a pass is decided on.
type facts struct {
	waiting    bool
	hosts      []string
	violations []mutate.Violation
	conflicts  []ingress.Conflict
	issuer     issuer.Issuer
	settings   rotate.LeafSettings
	trust      trust
	// authorities are all whose callers are accepted, the issuer first; ref names it.
	authorities []accepted
	ref         types.NamespacedName
	// refused is why nothing is issued for the Gateway, though gateways are kept to what they may trust; nil if it is.
	refused *issuer.Problem
	// provided is whether the server certificate is somebody else's.
	provided bool
	edges    []edge
	servers  []proving.Server
	// last is the endpoint as it is stored; zero if there is none.
	last v1alpha1.MutualTLSEndpoint
	// contests are about Secrets that somebody else keeps changing.
	contests []cluster.Contest
	// trouble is what keeps the edge from being programmed, for people.
	trouble []string
	// adoption is what was made by hand; forgotten is whether what is remembered of it cannot be read.
	adoption  adoption
	forgotten bool
	// changed is whether a Secret was written, taken whether hand-made ones were taken over.
	changed, taken bool
}

// edge is one ingress namespace.
type edge struct {
	secrets cluster.EdgeSecrets
	stored  cluster.StoredEdge
	// taken is the Secret of somebody else's that was found in the place of ours.
	taken   types.NamespacedName
	isTaken bool
}

// refOf names the Gateway of a target.
func refOf(t Target) types.NamespacedName {
	gateway := ingress.GatewayFrom(t.Gateway)
	return gateway.Ref()
}

// gather reads everything a pass needs. The error is an *issuer.Problem where
// nothing can be issued for a reason that people have to know.
func (p *Programmer) gather(ctx context.Context, t Target, now time.Time) (facts, error) {
	gateway := ingress.GatewayFrom(t.Gateway)
	var f facts
	f.hosts = hostsOf(gateway)
	f.violations = mutate.Mutual(t.Gateway, t.Intent, p.Capabilities())
	f.conflicts = p.Edge.Conflicts(gateway)
	for _, s := range gateway.Servers {
		f.servers = append(f.servers, proving.Server{Hosts: s.Hosts, Opaque: s.Opaque, Replicas: p.Edge.Replicas(gateway.Selector, s.Port)})
	}
	if err := p.Cluster.Client().Get(ctx, t.Endpoint, &f.last); client.IgnoreNotFound(err) != nil {
		return f, fmt.Errorf("reading MutualTLSEndpoint %s: %w", t.Endpoint, err)
	}
	f.provided = t.Intent.Provided()
	if err := p.gatherSecrets(ctx, t, gateway, &f); err != nil {
		return f, err
	}
	f.gatherAdoption(now)
	if t.Kept {
		f.refuseAdoption(v1alpha1.ReasonInvalidAnnotations, "the annotations of the Gateway cannot be read")
	}
	if err := p.gatherAuthorities(ctx, t, gateway, &f, now); err != nil || f.waiting {
		return f, err
	}
	if err := p.gatherTrust(ctx, t, &f, now); err != nil || f.waiting {
		return f, err
	}
	if !f.provided { // nobody is issued a certificate for its hosts otherwise
		if err := p.gatherSettings(ctx, t, gateway, &f, now); err != nil {
			return f, err
		}
	}
	if problem := f.waitsWithAdoption(); problem != nil {
		return f, problem
	}
	return f, nil
}

// gatherSettings finds out what the server certificate is to be like, or why none is issued.
func (p *Programmer) gatherSettings(ctx context.Context, t Target, gateway ingress.Gateway, f *facts, now time.Time) error {
	var err error
	if f.settings, err = leafSettings(t.Intent, f.issuer, gateway.Ref()); err == nil {
		err = p.nameHeld(ctx, t, f, now)
	}
	if errors.As(err, &f.refused) && !f.storedPair().IsZero() {
		return nil
	}
	return err
}

func (p *Programmer) gatherSecrets(ctx context.Context, t Target, gateway ingress.Gateway, f *facts) error {
	server, ca := mutate.Secrets(t.Gateway)
	if server == "" {
		server, ca = intent.ServerSecretName(gateway.Namespace, gateway.Name), intent.CASecretName(gateway.Namespace, gateway.Name)
	}
	var namespaces []string
	for _, i := range p.Edge.Ingresses(gateway.Selector) {
		if !slices.Contains(namespaces, i.Namespace) {
			namespaces = append(namespaces, i.Namespace)
		}
	}
	for _, namespace := range namespaces {
		secrets := cluster.EdgeSecrets{
			Server: types.NamespacedName{Namespace: namespace, Name: server}, CA: types.NamespacedName{Namespace: namespace, Name: ca},
			Adopted: types.NamespacedName{Namespace: namespace, Name: intent.AdoptedSecretName(gateway.Namespace, gateway.Name)},
			Owner:   OwnerOf(t.Gateway), Provided: f.provided,
		}
		stored, err := p.Cluster.Edge(ctx, secrets)
		if err != nil {
			return err
		}
		p.sharedOffer(stored.Offer, secrets, gateway.Ref())
		f.edges = append(f.edges, edge{secrets: secrets, stored: stored})
	}
	return nil
}

// sharedOffer refuses an offer that another Gateway names too: it would serve this one's hosts, and trust its authority, there.
func (p *Programmer) sharedOffer(offer *cluster.Offer, s cluster.EdgeSecrets, gateway types.NamespacedName) {
	if offer == nil || offer.Problem != nil {
		return
	}
	for _, name := range []string{s.Server.Name, s.CA.Name} {
		if other, named := p.Edge.NamedByOther(name, gateway); named && !s.Provided {
			offer.Problem = fmt.Errorf("another Gateway, %s, names Secret %s too, and would serve certificates for the hosts of this one: give each Gateway a Secret of its own", other, s.Server)
			return
		}
	}
}

// OwnerOf is what the Secrets of a Gateway are marked with.
func OwnerOf(gateway map[string]any) intent.Owner {
	u := unstructured.Unstructured{Object: gateway}
	return intent.Owner{Kind: string(intent.KindGateway), Namespace: u.GetNamespace(), Name: u.GetName(), UID: string(u.GetUID())}
}

// newAuthority is how long an authority counts as just made.
const newAuthority = 3 * time.Second

// makeAuthority makes the authority that a namespace gets by itself. It carries no
// mark of ours: from now on it is the team's own.
func (p *Programmer) makeAuthority(ctx context.Context, ref types.NamespacedName) error {
	authority := &v1alpha1.CertificateAuthority{
		ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name},
		Spec:       v1alpha1.CertificateAuthoritySpec{Source: v1alpha1.AuthoritySource{Type: v1alpha1.SourceSelfSigned}},
	}
	if err := p.Cluster.Client().Create(ctx, authority); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating CertificateAuthority %s on its first use: %w", ref, err)
	}
	return nil
}

// hostsOf are the hosts the server certificate is for, sorted.
func hostsOf(g ingress.Gateway) []string {
	var hosts []string
	for _, s := range g.Servers {
		hosts = append(hosts, s.Hosts...)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
