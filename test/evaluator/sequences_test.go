package evaluator_test

import (
	"os"
	"runtime"
	"testing"

	"sallyport.dev/sallyport/test/evaluator"
	"sallyport.dev/sallyport/test/sequence"
)

// TestNoSequenceGetsPastThePolicies plays sequences where no MutualTLSPolicy applies: see test/backstop.
func TestNoSequenceGetsPastThePolicies(t *testing.T) { play(t, sequence.Game{}) }

// TestNoSequenceGetsPastAMutualTLSPolicy plays sequences where MutualTLSPolicies apply: see test/backstop.
func TestNoSequenceGetsPastAMutualTLSPolicy(t *testing.T) { play(t, sequence.Game{Worlds: true}) }

func play(t *testing.T, game sequence.Game) {
	t.Helper()
	game.Workers, game.Progress, game.Each = runtime.GOMAXPROCS(0), os.Stderr, 10_000
	servers := make([]sequence.Server, game.Workers)
	for i := range servers {
		servers[i] = start(t, nil)
	}
	var err error
	if game.First, game.Last, err = sequence.Chosen(1500); err != nil {
		t.Fatal(err)
	}
	tally, err := game.Play(t.Context(), servers...)
	if err != nil {
		t.Fatal(err)
	}
	if err := tally.Telling(); err != nil {
		t.Error(err)
	}
	t.Log(tally)
}

// start is a server with what the chart installs, changed if anything changes it.
func start(t *testing.T, change func(*evaluator.Objects)) sequence.Server {
	t.Helper()
	objects, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&objects)
	}
	server, err := evaluator.Start(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	return server
}
