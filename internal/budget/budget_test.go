package budget

import (
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/rotate"
)

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func due(putOff time.Duration) rotate.LeafPlan {
	return rotate.LeafPlan{Issue: true, Reason: rotate.ReasonDue, PutOff: now.Add(putOff)}
}

func TestWhatCanWaitIsHeldUpBeyondTheBudget(t *testing.T) {
	b := New(60)
	for n := range 10 {
		if again, held := b.Hold(due(time.Hour), now); held {
			t.Fatalf("number %d of a burst of ten is put off until %s", n+1, again)
		}
	}
	again, held := b.Hold(due(time.Hour), now)
	if !held || again != now.Add(time.Second) {
		t.Errorf("the eleventh is put off until %s (%t), expected a second", again, held)
	}
	if again, held := b.Hold(due(300*time.Millisecond), now); !held || again != now.Add(300*time.Millisecond) {
		t.Errorf("one that can wait for 300 ms is put off until %s (%t)", again, held)
	}
	if _, held := b.Hold(due(time.Hour), now.Add(time.Second)); held {
		t.Error("a second later none may be issued, though nobody took one")
	}
}

func TestNothingElseIsHeldUp(t *testing.T) {
	b := New(1)
	if _, held := b.Hold(due(time.Hour), now); held {
		t.Fatal("the first is held up")
	}
	if _, held := b.Hold(due(time.Hour), now); !held {
		t.Fatal("the second is not, so that this shows nothing")
	}
	for name, plan := range map[string]rotate.LeafPlan{
		"nothing is issued":             {PutOff: now.Add(time.Hour)},
		"it cannot wait":                {Issue: true, Reason: rotate.ReasonMissing},
		"it cannot wait any longer":     due(0),
		"it could have waited too long": due(-time.Hour),
	} {
		if again, held := b.Hold(plan, now); held {
			t.Errorf("%s: put off until %s", name, again)
		}
	}
	if _, held := New(0).Hold(due(time.Hour), now); held {
		t.Error("no limit holds something up")
	}
}
