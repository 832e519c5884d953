package backstop

import (
	"os"
	"testing"

	"sallyport.dev/sallyport/test/sequence"
)

// TestNoSequenceGetsPastThePolicies plays sequences of writes with no webhook in front,
// and holds each answer of the API server to the reference: what is refused there is
// never stored, and what is not is never refused.
func TestNoSequenceGetsPastThePolicies(t *testing.T) {
	play(t, 400, sequence.Game{Workers: 8})
}

// TestNoSequenceGetsPastAMutualTLSPolicy plays the sequences where MutualTLSPolicies apply that
// nobody thought of: what one of them denies is never stored, nothing else is refused, and of what
// they warn of each is told once. What they say is pkg/policy's word.
func TestNoSequenceGetsPastAMutualTLSPolicy(t *testing.T) {
	// Each worker brings policies, which cost all others time.
	play(t, 160, sequence.Game{Workers: 2, Worlds: true})
}

// play plays the first few sequences, or those that are asked for.
func play(t *testing.T, few int, game sequence.Game) {
	t.Helper()
	var err error
	if game.First, game.Last, err = sequence.Chosen(few); err != nil {
		t.Fatal(err)
	}
	game.Progress, game.Each = os.Stderr, 1000
	tally, err := game.Play(t.Context(), sequence.Server{Config: server, Admin: admin})
	if err != nil {
		t.Fatal(err)
	}
	if err := tally.Telling(); err != nil {
		t.Error(err)
	}
	t.Log(tally)
}
