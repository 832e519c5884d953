package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/rotate"
)

// trustedEvery is how often ConfigMaps are read that hold CAs of others: nobody watches them,
// because the agent may read ConfigMaps by name only.
const trustedEvery = 30 * time.Second

// readTrusted are the CAs of others as they were read for one authority.
type readTrusted struct {
	uid        types.UID
	generation int64
	// at is when ConfigMaps were read; zero if there are none to read.
	at      time.Time
	trusted []rotate.TrustedCertificate
}

// TrustedCertificates are the CAs of others that an authority's spec names, in its order, and
// when to read them again; zero if only a change of the authority changes them. One that
// cannot be read tells so itself, and one of which nothing can be found out stays as it was. They are read and parsed once for all that use the authority.
func (c *Cluster) TrustedCertificates(ctx context.Context, authority *v1alpha1.CertificateAuthority, now time.Time) ([]rotate.TrustedCertificate, time.Time, error) {
	if len(authority.Spec.TrustedCertificates) == 0 {
		return nil, time.Time{}, nil
	}
	key := types.NamespacedName{Namespace: authority.Namespace, Name: authority.Name}
	var known readTrusted
	if last, ok := c.trusted.Load(key); ok {
		known, _ = last.(readTrusted)
		if known.uid != authority.UID || known.generation != authority.Generation {
			known = readTrusted{}
		} else if known.at.IsZero() || now.Before(known.at.Add(trustedEvery)) {
			return known.trusted, known.again(), nil
		}
	}
	read := readTrusted{uid: authority.UID, generation: authority.Generation}
	for _, t := range authority.Spec.TrustedCertificates {
		if t.ConfigMapKeyRef != nil || t.CRLConfigMapKeyRef != nil {
			read.at = now
		}
		entry, err := c.trustedCertificate(ctx, authority.Namespace, t)
		if last, is := known.entry(t.Name); err != nil && is && ctx.Err() == nil {
			entry, err = last, nil // read again soon
		} else if apierrors.IsForbidden(err) {
			entry, err = rotate.TrustedCertificate{Name: t.Name, Unreadable: err}, nil
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		read.trusted = append(read.trusted, entry)
	}
	c.trusted.Store(key, read)
	return read.trusted, read.again(), nil
}

// entry is one of them as it was read; false if there is none.
func (r readTrusted) entry(name string) (rotate.TrustedCertificate, bool) {
	i := slices.IndexFunc(r.trusted, func(t rotate.TrustedCertificate) bool { return t.Name == name })
	if i < 0 {
		return rotate.TrustedCertificate{}, false
	}
	return r.trusted[i], true
}

func (r readTrusted) again() time.Time {
	if r.at.IsZero() {
		return time.Time{}
	}
	return r.at.Add(trustedEvery)
}

func (c *Cluster) trustedCertificate(ctx context.Context, namespace string, t v1alpha1.TrustedCertificate) (rotate.TrustedCertificate, error) {
	unreadable := func(problem string) (rotate.TrustedCertificate, error) {
		return rotate.TrustedCertificate{Name: t.Name, Unreadable: fmt.Errorf("%s", problem)}, nil
	}
	cas, problem, err := c.stated(ctx, namespace, t.Certificate, t.ConfigMapKeyRef)
	if err != nil {
		return rotate.TrustedCertificate{}, err
	}
	if problem != "" {
		return unreadable(problem)
	}
	crls, problem, err := c.stated(ctx, namespace, t.CRL, t.CRLConfigMapKeyRef)
	if err != nil {
		return rotate.TrustedCertificate{}, err
	}
	if problem != "" {
		return unreadable(problem)
	}
	return rotate.ParseTrustedCertificate(t.Name, cas, crls), nil
}

// stated is a text, or what a key of a ConfigMap holds; or why there is nothing, for people.
func (c *Cluster) stated(ctx context.Context, namespace, text string, ref *v1alpha1.KeyReference) (data []byte, problem string, err error) {
	if ref == nil {
		return []byte(text), "", nil
	}
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	found := &corev1.ConfigMap{}
	if err := c.live.Get(ctx, key, found); apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("ConfigMap %s does not exist", key), nil
	} else if err != nil {
		return nil, "", fmt.Errorf("reading ConfigMap %s: %w", key, err)
	}
	if text, ok := found.Data[ref.Key]; ok && text != "" {
		return []byte(text), "", nil
	}
	if data, ok := found.BinaryData[ref.Key]; ok && len(data) > 0 {
		return data, "", nil
	}
	return nil, fmt.Sprintf("ConfigMap %s has no key %q, or nothing in it", key, ref.Key), nil
}
