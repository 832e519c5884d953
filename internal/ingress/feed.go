package ingress

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// GatewayGVK is the version in which Gateways are read; all served versions have
// one schema.
var GatewayGVK = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "Gateway"}

// disablePortTranslation is the label by which a Service tells Istio not to
// translate ports through it.
const disablePortTranslation = "experimental.istio.io/disable-gateway-port-translation"

// NewGatewayObject is an empty Gateway of the version that is read.
func NewGatewayObject() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(GatewayGVK)
	return u
}

// PodsAndServices are the cache options under which an Index is fed: Pods and
// Services of the ingress namespaces only, cut down to what a topology needs.
func PodsAndServices(ingresses []Ingress) map[client.Object]cache.ByObject {
	pods := map[string]cache.Config{}
	services := map[string]cache.Config{}
	for _, ingress := range ingresses {
		services[ingress.Namespace] = cache.Config{}
		selector := labels.SelectorFromSet(ingress.Selector)
		if _, several := pods[ingress.Namespace]; several {
			// Two ingresses in one namespace: one watch with no selector serves both.
			selector = labels.Everything()
		}
		pods[ingress.Namespace] = cache.Config{LabelSelector: selector}
	}
	return map[client.Object]cache.ByObject{
		&corev1.Pod{}:     {Namespaces: pods, Transform: trimPod},
		&corev1.Service{}: {Namespaces: services, Transform: trimService},
	}
}

// Feed registers the index with informers of Gateways, Services and Pods, and
// returns a function that says whether all of them have delivered what there was.
func (x *Index) Feed(ctx context.Context, informers cache.Informers) (synced func() bool, err error) {
	feeds := []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{NewGatewayObject(), handler(func(u *unstructured.Unstructured) { x.SetGateway(u.Object) }, x.DeleteGateway)},
		{&corev1.Service{}, handler(func(s *corev1.Service) { x.SetService(ServiceFrom(s)) }, x.DeleteService)},
		{&corev1.Pod{}, handler(func(p *corev1.Pod) { x.SetPod(PodFrom(p)) }, x.DeletePod)},
	}
	registrations := make([]toolscache.ResourceEventHandlerRegistration, 0, len(feeds))
	for _, feed := range feeds {
		informer, err := informers.GetInformer(ctx, feed.object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("getting informer for %T: %w", feed.object, err)
		}
		registration, err := informer.AddEventHandler(feed.handler)
		if err != nil {
			return nil, fmt.Errorf("adding handler for %T: %w", feed.object, err)
		}
		registrations = append(registrations, registration)
	}
	return func() bool {
		return !slices.ContainsFunc(registrations, func(r toolscache.ResourceEventHandlerRegistration) bool { return !r.HasSynced() })
	}, nil
}

// handler adapts two functions to an informer's events. A deletion that was missed
// and found by a later list comes wrapped, with the last state known.
func handler[T client.Object](set func(T), remove func(types.NamespacedName)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			if o, ok := object.(T); ok {
				set(o)
			}
		},
		UpdateFunc: func(_, object any) {
			if o, ok := object.(T); ok {
				set(o)
			}
		},
		DeleteFunc: func(object any) {
			if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = missed.Obj
			}
			if o, ok := object.(T); ok {
				remove(client.ObjectKeyFromObject(o))
			}
		},
	}
}

// ServiceFrom takes the facts from a Service.
func ServiceFrom(s *corev1.Service) Service {
	_, keeps := s.Labels[disablePortTranslation]
	service := Service{Namespace: s.Namespace, Name: s.Name, Created: s.CreationTimestamp.Time, Selector: s.Spec.Selector, KeepsPorts: keeps}
	for _, p := range s.Spec.Ports {
		port := ServicePort{Port: intent.PortNumber(int64(p.Port))}
		switch {
		case p.TargetPort.Type == intstr.String:
			port.TargetName = p.TargetPort.StrVal
		case p.TargetPort.IntVal == 0:
			port.Target = port.Port
		default:
			port.Target = intent.PortNumber(int64(p.TargetPort.IntVal))
		}
		service.Ports = append(service.Ports, port)
	}
	return service
}

// PodFrom takes the facts from a Pod. A pod that is being deleted still listens
// for a while, but is no replica any more.
func PodFrom(p *corev1.Pod) Pod {
	pod := Pod{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, IP: p.Status.PodIP, Ports: map[string]uint32{}}
	for _, container := range p.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name != "" {
				pod.Ports[port.Name] = intent.PortNumber(int64(port.ContainerPort))
			}
		}
	}
	pod.Ready = p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	return pod
}

// trimPod leaves of a cached Pod what PodFrom reads.
func trimPod(object any) (any, error) {
	p, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Pod{TypeMeta: p.TypeMeta, ObjectMeta: trimMeta(p.ObjectMeta)}
	trimmed.Status.PodIP = p.Status.PodIP
	for _, container := range p.Spec.Containers {
		trimmed.Spec.Containers = append(trimmed.Spec.Containers, corev1.Container{Name: container.Name, Ports: container.Ports})
	}
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady {
			trimmed.Status.Conditions = append(trimmed.Status.Conditions, condition)
		}
	}
	return trimmed, nil
}

// trimService leaves of a cached Service what ServiceFrom reads.
func trimService(object any) (any, error) {
	s, ok := object.(*corev1.Service)
	if !ok {
		return object, nil
	}
	return &corev1.Service{
		TypeMeta:   s.TypeMeta,
		ObjectMeta: trimMeta(s.ObjectMeta),
		Spec:       corev1.ServiceSpec{Selector: s.Spec.Selector, Ports: s.Spec.Ports},
	}, nil
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, Labels: m.Labels,
	}
}
