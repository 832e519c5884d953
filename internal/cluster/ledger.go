package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// ledgerKind is the value of the label KeyLedger: what a labelled Secret holds.
const (
	ledgerKeys    = "keys"
	ledgerSerials = "serials"
)

// AuthorityRecord is where the ledger of an authority is kept, and for whom.
type AuthorityRecord struct {
	// Name of the ledger's Secret.
	Name string
	// Owner is the CertificateAuthority.
	Owner intent.Owner
	// told is what the authority's status tells of the ledger. Taken is what a person says to take the ledger as it is
	// if it is behind that, and used the one with which that was done last: it counts once.
	told        rotate.Told
	taken, used string
	// shards is in how many parts the record of what was issued is at least, by the status.
	shards int
}

// AcceptState is the annotation on a CertificateAuthority with which a person takes a ledger as
// it is that is older than what was told of it, or shards of what was issued as lost. The condition tells the value, which is good for that state alone, and
// once: what a person took is not what he takes the next time.
const AcceptState = intent.Prefix + "accept-state"

// Record returns where the ledger of an authority is kept.
func (c *Cluster) Record(ctx context.Context, authority *v1alpha1.CertificateAuthority) (AuthorityRecord, error) {
	uid, err := c.NamespaceUID(ctx, authority.GetNamespace())
	if err != nil {
		return AuthorityRecord{}, err
	}
	named(&c.records, types.NamespacedName{Namespace: authority.GetNamespace(), Name: authority.GetName()}, LedgerName(uid, authority.GetName()))
	return AuthorityRecord{
		shards: int(authority.Status.SerialShards),
		told:   toldOf(authority.Status), taken: authority.Annotations[AcceptState], used: authority.Status.AcceptedState,
		Name: LedgerName(uid, authority.GetName()),
		Owner: intent.Owner{
			Kind: "CertificateAuthority", Namespace: authority.GetNamespace(), Name: authority.GetName(), UID: string(authority.GetUID()),
		},
	}, nil
}

// toldOf is what a status tells of a ledger.
func toldOf(status v1alpha1.CertificateAuthorityStatus) rotate.Told {
	told := rotate.Told{Newest: status.NewestGeneration}
	for _, g := range status.Generations {
		told.Generations = append(told.Generations, rotate.ToldGeneration{ID: g.ID, KeyID: g.SubjectKeyID, State: rotate.State(g.State)})
		if rotate.Earlier(told.Newest, g.ID) { // written before the newest was noted
			told.Newest = g.ID
		}
	}
	return told
}

// accepts is the value of AcceptState with which a person takes a ledger that is behind what was told.
func (r AuthorityRecord) accepts() string {
	return r.told.Newest + "-" + r.once("%q", r.told)
}

// once is a value for a state that is another one when it was used.
func (r AuthorityRecord) once(format string, state any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, format+" %q", state, r.used))
	return hex.EncodeToString(sum[:])[:16]
}

// StoredLedger is a ledger together with the Secret it was read from; the Secret is
// nil if the authority has none yet.
type StoredLedger struct {
	// Ledger as read.
	Ledger rotate.Ledger
	// Taken is with what a person took it as it is, though it is older than what was told of it; empty if it is not. It
	// has to be written before anything is told of it.
	Taken  string
	secret *corev1.Secret
}

// Exists reports whether there is a ledger at all.
func (l StoredLedger) Exists() bool { return l.secret != nil }

// Updatable is ErrNotUpdatable if nothing can be written in the ledger's place, nil if it can.
func (l StoredLedger) Updatable() error {
	if !l.Exists() || updatable(l.secret, corev1.SecretTypeOpaque) {
		return nil
	}
	return fmt.Errorf("writing Secret %s: %w", client.ObjectKeyFromObject(l.secret), ErrNotUpdatable)
}

// ErrLedgerUnreadable says that a ledger is there and cannot be read.
var ErrLedgerUnreadable = errors.New("the ledger cannot be read")

// ErrLedgerForeign says that the Secret under a ledger's name is not the agent's.
var ErrLedgerForeign = errors.New("the Secret is not the agent's own")

// ErrLedgerRegressed says that a ledger is older than what was told of it: somebody restored it.
// What was issued since is not in it, and callers may trust a generation that it does not know.
var ErrLedgerRegressed = errors.New("the ledger is older than what was told of it")

// generation is the id of the generation with a subject key identifier, by what was told; empty if there is none.
func (r AuthorityRecord) generation(keyID string) string {
	for _, g := range r.told.Generations {
		if g.KeyID == keyID {
			return g.ID
		}
	}
	return ""
}

// Ledger reads the ledger of an authority. One that is there and cannot be read, or that is
// older than one that was read before, is an error and never taken for an absent one.
func (c *Cluster) Ledger(ctx context.Context, record AuthorityRecord) (StoredLedger, error) {
	key := types.NamespacedName{Namespace: c.namespace, Name: record.Name}
	secret, err := c.Secret(ctx, key)
	if err != nil {
		return StoredLedger{}, err
	}
	if secret != nil {
		stored, err := c.stored(key, record, secret)
		if !errors.Is(err, ErrLedgerRegressed) {
			return stored, err
		}
	}
	// The cache may be behind, or the label was stripped: neither makes a new CA.
	if secret, err = c.LiveSecret(ctx, key); err != nil || secret == nil {
		return StoredLedger{}, err
	}
	return c.stored(key, record, secret)
}

// stored is what a Secret holds that has to be the ledger of an authority.
func (c *Cluster) stored(key types.NamespacedName, record AuthorityRecord, secret *corev1.Secret) (StoredLedger, error) {
	if owner, ours := OwnerOf(secret); !ours || !owner.Same(record.Owner) {
		return StoredLedger{}, fmt.Errorf("reading Secret %s: %w", key, ErrLedgerForeign)
	}
	ledger, err := c.decode(secret)
	if err != nil {
		return StoredLedger{}, fmt.Errorf("reading Secret %s: %w: %w", key, ErrLedgerUnreadable, err)
	}
	behind := ledger.Behind(record.told)
	if behind == "" {
		return StoredLedger{Ledger: ledger, secret: secret}, nil
	}
	if record.taken != record.accepts() {
		return StoredLedger{}, fmt.Errorf("reading Secret %s: %w: %s (annotation to take it: %s: %s)", key, ErrLedgerRegressed, behind, AcceptState, record.accepts())
	}
	return StoredLedger{Ledger: ledger.After(record.told.Newest), Taken: record.taken, secret: secret}, nil
}

// decodedLedger is what a Secret held in one version.
type decodedLedger struct {
	uid     types.UID
	version string
	ledger  rotate.Ledger
}

// decode reads what a Secret holds, once for each version of it: every pass over
// everything that an authority has issued asks for the same.
func (c *Cluster) decode(secret *corev1.Secret) (rotate.Ledger, error) {
	if last, ok := c.ledgers.Load(secret.Name); ok {
		if known, is := last.(decodedLedger); is && known.uid == secret.UID && known.version == secret.ResourceVersion {
			return known.ledger, nil
		}
	}
	ledger, err := rotate.DecodeLedger(secret.Data)
	if err != nil {
		return rotate.Ledger{}, err
	}
	c.ledgers.Store(secret.Name, decodedLedger{uid: secret.UID, version: secret.ResourceVersion, ledger: ledger})
	return ledger, nil
}

// WriteLedger stores a ledger in place of the one it was made from. It fails with a
// conflict if that has changed meanwhile.
func (c *Cluster) WriteLedger(ctx context.Context, record AuthorityRecord, before StoredLedger, after rotate.Ledger) (StoredLedger, error) {
	data, err := after.Encode()
	if err != nil {
		return StoredLedger{}, err
	}
	// What was encoded is what has to be readable, not what is in memory.
	if _, err := rotate.DecodeLedger(data); err != nil {
		return StoredLedger{}, fmt.Errorf("reading back the ledger before it is written: %w", err)
	}
	wanted := WantedSecret{
		Key:    types.NamespacedName{Namespace: c.namespace, Name: record.Name},
		Type:   corev1.SecretTypeOpaque,
		Owner:  record.Owner,
		Labels: map[string]string{intent.KeyLedger: ledgerKeys},
		Data:   data, OnlyCopy: true,
	}
	if before.Taken != "" { // whoever waits for the ledger is told of the write, also if nothing else of it is new
		wanted.Annotations = map[string]string{AcceptState: before.Taken}
	}
	if !before.Exists() {
		return c.createLedger(ctx, wanted, after)
	}
	outcome, secret, err := c.WriteSecret(ctx, wanted, before.secret)
	if err != nil {
		return StoredLedger{}, err
	}
	if outcome == Foreign {
		return StoredLedger{}, fmt.Errorf("writing Secret %s: %w", wanted.Key, ErrLedgerForeign)
	}
	return StoredLedger{Ledger: after, secret: secret}, nil
}

// createLedger only ever creates: a ledger that the cache does not show must not be
// replaced by a new one.
func (c *Cluster) createLedger(ctx context.Context, wanted WantedSecret, ledger rotate.Ledger) (StoredLedger, error) {
	object := wanted.object()
	if err := c.client.Create(ctx, object, client.FieldOwner(FieldOwner)); err != nil {
		return StoredLedger{}, fmt.Errorf("creating ledger %s: %w", wanted.Key, err)
	}
	return StoredLedger{Ledger: ledger, secret: object}, nil
}

// IsLedger reports whether a Secret of ours holds the keys of an authority, and not
// a shard of its serials.
func IsLedger(object client.Object) bool {
	return object.GetLabels()[intent.KeyLedger] == ledgerKeys
}
