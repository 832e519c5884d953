package intent

// Kind is the kind of an object that can opt in.
type Kind string

// The kinds.
const (
	// KindGateway is an Istio Gateway.
	KindGateway Kind = "Gateway"
	// KindAPIRule is a Kyma APIRule.
	KindAPIRule Kind = "APIRule"
)
