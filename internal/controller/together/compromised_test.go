package together

import "sallyport.dev/sallyport/api/v1alpha1"

// change writes another spec of an authority.
func (w *world) change(namespace, name string, change func(*v1alpha1.CertificateAuthority)) {
	w.t.Helper()
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, namespace, name)
	change(a)
	a.Generation++
	if err := w.admin.Update(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
}

// active is the key id of the generation that issues, by the status.
func (w *world) active(namespace, name string) string {
	w.t.Helper()
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, namespace, name)
	for _, g := range a.Status.Generations {
		if g.State == v1alpha1.GenerationActive {
			return g.SubjectKeyID
		}
	}
	w.t.Fatalf("no generation is active: %+v", a.Status)
	return ""
}

// compromise tells that a key is in somebody else's hands.
func compromise(id string) func(*v1alpha1.CertificateAuthority) {
	return func(a *v1alpha1.CertificateAuthority) { a.Spec.Rotation.Compromised = []string{id} }
}
