package capability

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/mutate"
)

// GatewayCRD is the name of the CRD that is read.
const GatewayCRD = "gateways.networking.istio.io"

// caField is the field by which a server names the Secret of its client CAs.
const caField = "caCertCredentialName"

const (
	// refresh is how often the CRD is read again. Until then a field that an upgrade
	// of Istio brought stays unused, which is what happened before the upgrade.
	refresh = time.Minute
	// retry is how soon after a failure it is read again.
	retry = 2 * time.Second
)

// errNotRead is why nothing is known before the first reading.
var errNotRead = errors.New("the Gateway CRD has not been read yet")

// Source keeps the Gateway CRD's capabilities current.
type Source struct {
	reader  client.Reader
	clock   clock.Clock
	observe func(error)
	state   atomic.Pointer[state]
}

type state struct {
	capabilities mutate.Capabilities
	known        bool
	err          error
}

// NewSource returns a source that has read nothing yet. The reader must not be a
// cache, which would list and watch all CRDs. observe, if not nil, is called after
// each reading whose error differs from the one before.
func NewSource(reader client.Reader, c clock.Clock, observe func(error)) *Source {
	s := &Source{reader: reader, clock: c, observe: observe}
	s.state.Store(&state{err: errNotRead})
	return s
}

// Capabilities are what the CRD said when it was last read. The error says why nothing is
// known; a failure after a first success keeps the last answer.
func (s *Source) Capabilities() (mutate.Capabilities, error) {
	now := s.state.Load()
	if !now.known {
		return mutate.Capabilities{}, now.err
	}
	return now.capabilities, nil
}

// Start reads the CRD until the context ends.
func (s *Source) Start(ctx context.Context) error {
	for {
		wait := refresh
		if err := s.Read(ctx); err != nil {
			wait = retry
		}
		timer := s.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

// NeedLeaderElection says that every replica reads for itself.
func (*Source) NeedLeaderElection() bool { return false }

// Read reads the CRD once.
func (s *Source) Read(ctx context.Context) error {
	previous := s.state.Load()
	next := *previous
	var crd apiextensionsv1.CustomResourceDefinition
	next.err = s.reader.Get(ctx, types.NamespacedName{Name: GatewayCRD}, &crd)
	if next.err != nil {
		next.err = fmt.Errorf("reading CRD %s: %w", GatewayCRD, next.err)
	} else {
		next.capabilities, next.known = From(&crd), true
	}
	s.state.Store(&next)
	if s.observe != nil && text(previous.err) != text(next.err) {
		s.observe(next.err)
	}
	return next.err
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// From is what this CRD can express in all its served versions: an object
// may be read in any of them.
func From(crd *apiextensionsv1.CustomResourceDefinition) mutate.Capabilities {
	served, has := 0, 0
	for i := range crd.Spec.Versions {
		version := &crd.Spec.Versions[i]
		if !version.Served {
			continue
		}
		served++
		if hasCAField(version.Schema) {
			has++
		}
	}
	return mutate.Capabilities{CACertCredentialName: served > 0 && has == served}
}

func hasCAField(validation *apiextensionsv1.CustomResourceValidation) bool {
	if validation == nil || validation.OpenAPIV3Schema == nil {
		return false
	}
	servers := validation.OpenAPIV3Schema.Properties["spec"].Properties["servers"]
	if servers.Items == nil || servers.Items.Schema == nil {
		return false
	}
	_, ok := servers.Items.Schema.Properties["tls"].Properties[caField]
	return ok
}
