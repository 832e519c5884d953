package intent_test

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/pkg/intent"
)

func TestThousandsOfUnknownKeysAreExplainedByTheFirstFew(t *testing.T) {
	keys := map[string]string{}
	for i := range 5000 {
		keys[fmt.Sprintf("%sunknown-%04d", intent.Prefix, i)] = ""
	}
	answer := intent.Parse(intent.Object{
		Kind: intent.KindGateway, APIVersion: "networking.istio.io/v1", Namespace: "shop", Name: "edge",
		Annotations: keys, Labels: keys,
	}, intent.Platform{TrustDomain: "example.com"})
	if answer.State() != intent.Invalid || len(answer.Errors()) != 32 {
		t.Errorf("%s with %d errors, expected 16 for annotations and 16 for labels", answer.State(), len(answer.Errors()))
	}
}
