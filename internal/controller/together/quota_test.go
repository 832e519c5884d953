package together

import (
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// Who changes an object in a loop does not have certificates issued in a loop. What is recorded of him is what his revocation puts
// into the CRL of everybody.
func TestWhoChangesAnObjectInALoopIsHeldUp(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("mallory", "caller", nil)
	for n := range 39 {
		c := &v1alpha1.ClientCertificate{}
		w.get(c, "mallory", "caller")
		c.Spec.Lifetime = &metav1.Duration{Duration: time.Duration(100+n%3) * time.Hour}
		c.Generation++
		if err := w.admin.Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w.pass(w.clients, "mallory", "caller")
		w.after(100 * time.Millisecond)
	}
	if n := len(w.serials()); n > 20 {
		t.Errorf("in four seconds %d certificates were issued to one caller", n)
	}
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "mallory", "caller")
	if ready := meta.FindStatusCondition(c.Status.Conditions, "Ready"); ready.Reason != "IssuedTooOften" || c.Status.Serial == "" {
		t.Errorf("it is told %s (%s), and to have %q", ready.Reason, ready.Message, c.Status.Serial)
	}
	// It is issued by itself when the time has come.
	before := c.Status.Serial
	for range 3 {
		w.after(w.pass(w.clients, "mallory", "caller").RequeueAfter)
	}
	w.get(c, "mallory", "caller")
	if ready := meta.FindStatusCondition(c.Status.Conditions, "Ready"); ready.Reason != "Issued" || c.Status.Serial == before {
		t.Errorf("later it is told %s (%s)", ready.Reason, ready.Message)
	}
}

// Nor does who deletes the Secret in a loop, or the object itself. He waits for an hour at the most.
func TestWhoDeletesInALoopIsHeldUp(t *testing.T) {
	for name, of := range map[string]func(w *world) client.Object{
		"the Secret": func(w *world) client.Object { return w.secretIfAny("mallory", "caller-mtls") },
		"the object": func(w *world) client.Object {
			c := &v1alpha1.ClientCertificate{}
			w.get(c, "mallory", "caller")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.newAuthority("shop", "default", nil)
			w.pass(w.authority, "shop", "default")
			w.newClient("mallory", "caller", nil)
			var longest time.Duration
			for n := range 40 {
				longest = max(longest, w.pass(w.clients, "mallory", "caller").RequeueAfter)
				o := of(w)
				if s, is := o.(*corev1.Secret); is && s == nil {
					w.after(time.Second)
					continue
				}
				if err := w.admin.Delete(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if _, is := o.(*v1alpha1.ClientCertificate); is {
					w.pass(w.clients, "mallory", "caller")
					w.newClient("mallory", "caller", func(c *v1alpha1.ClientCertificate) {
						c.UID, c.CreationTimestamp = types.UID(strconv.Itoa(n)), metav1.NewTime(w.clock.Now())
					})
				}
				w.after(time.Second)
			}
			if n := len(w.serials()); n > 20 {
				t.Errorf("in forty seconds %d certificates were issued to one caller", n)
			}
			if longest > time.Hour {
				t.Errorf("he waits for %s", longest)
			}
		})
	}
}
