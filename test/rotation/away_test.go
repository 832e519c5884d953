package rotation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testenv"
)

// after waits until so much time of the run has passed.
func (r *run) after(span time.Duration) {
	r.t.Helper()
	testenv.Eventually(r.t, span+patience, fmt.Sprintf("%s of the run", span), func(context.Context) error {
		if time.Since(r.tally.begun) < span {
			return errors.New("not yet")
		}
		return nil
	})
}

// An agent that is away for a third of a certificate's life, while a rotation is under way, is not
// missed: what it left is good, and the next one goes on from there.
func TestAnAgentThatIsAwayForAThirdOfALifeIsNotMissed(t *testing.T) {
	const leaf = 30 * time.Second
	r := begin(t, "away", lives{ca: 10 * time.Minute, leaf: leaf})
	defer r.report()
	agent := installed.Agents[0].Process
	r.after(leaf / 3)
	r.askForRotation()
	r.eventually("Rotating", "True", "Trust")
	if err := agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.after(leaf * 2 / 3)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	r.after(leaf * 4 / 3) // every certificate of before has ended
	r.eventuallyRotated()
	if _, _, leaves := r.tally.sum(); leaves < 4 {
		t.Errorf("%d server certificates were served, expected two of each Gateway", leaves)
	}
	r.wantNoneRefused()
}
