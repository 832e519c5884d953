package evaluator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsfake "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/fake"
	apiextensionsinformers "k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions"
	"k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/endpoints/filters"
	apiopenapi "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/builder3"
	openapiutil "k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/test/sequence"
)

const (
	// patience is far above what anything here takes.
	patience = time.Minute
	// bodyLimit is the API server's own.
	bodyLimit = 3 << 20
)

// Start has the objects in force, and answers with the way to them; until the context ends.
func Start(ctx context.Context, o Objects) (sequence.Server, error) {
	connection := &transport{}
	config := &rest.Config{Host: "http://evaluator", Transport: connection, QPS: -1}
	mapper := o.mapper()
	kube := fake.NewClientset(o.kube()...)
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return sequence.Server{}, err
	}
	factory := informers.NewSharedInformerFactory(kube, 0)
	plugin, err := validating.NewPlugin(nil)
	if err != nil {
		return sequence.Server{}, err
	}
	plugin.SetExternalKubeInformerFactory(factory)
	plugin.SetExternalKubeClientSet(kube)
	plugin.SetRESTMapper(mapper)
	plugin.SetDynamicClient(dynamicClient)
	plugin.SetUnconditionalAuthorizer(authorizerfactory.NewAlwaysAllowAuthorizer())
	plugin.SetDrainedNotification(ctx.Done())
	if connection.handler, err = o.handler(ctx, plugin, kube); err != nil {
		return sequence.Server{}, err
	}
	if err := plugin.ValidateInitialization(); err != nil {
		return sequence.Server{}, err
	}
	factory.Start(ctx.Done())
	if !plugin.WaitForReady() {
		return sequence.Server{}, errors.New("the policies are not read in time")
	}
	admin, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return sequence.Server{}, err
	}
	return sequence.Server{Config: config, Admin: admin}, nil
}

// handler serves custom resources and takes Namespaces.
func (o Objects) handler(ctx context.Context, policies admission.Interface, kube kubernetes.Interface) (http.Handler, error) {
	definitions := apiextensionsinformers.NewSharedInformerFactory(apiextensionsfake.NewClientset(o.definitions()...), 0)
	informer := definitions.Apiextensions().V1().CustomResourceDefinitions()
	metadata, err := openAPI()
	if err != nil {
		return nil, err
	}
	resources, err := apiserver.NewCustomResourceDefinitionHandler(nil, nil, informer, http.NotFoundHandler(), newMemory(), policies, nil,
		webhook.NewDefaultServiceResolver(), webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, nil, nil), 1,
		authorizerfactory.NewAlwaysAllowAuthorizer(), patience, patience, metadata, bodyLimit)
	if err != nil {
		return nil, err
	}
	definitions.Start(ctx.Done())
	for kind, synced := range definitions.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("%s are not read in time", kind)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/apis/", resources)
	mux.Handle("POST /api/v1/namespaces", namespaces{kube})
	resolver := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	handler := filters.WithRequestInfo(filters.WithWarningRecorder(mux), resolver)
	return asAdministrator(filters.WithRequestReceivedTimestamp(filters.WithAuditInit(handler))), nil
}

// asAdministrator says who asks.
func asAdministrator(next http.Handler) http.Handler {
	admin := &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), admin)))
	})
}

// openAPI is how the API server knows the metadata of custom resources.
func openAPI() (map[string]*spec.Schema, error) {
	config := genericserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, apiopenapi.NewDefinitionNamer(apiserver.Scheme))
	return builder3.BuildOpenAPIDefinitionsForResources(config, openapiutil.GetCanonicalTypeName(&apiextensionsv1.CustomResourceDefinition{}))
}
