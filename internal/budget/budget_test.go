package budget

import (
	"container/heap"
	"strconv"
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
		if again, held := b.Hold(strconv.Itoa(n), due(time.Hour), now); held {
			t.Fatalf("number %d of a burst of ten is put off until %s", n+1, again)
		}
	}
	for range 3 { // however often it is looked at
		again, held := b.Hold("eleventh", due(time.Hour), now)
		if !held || again != now.Add(time.Second) {
			t.Errorf("the eleventh is put off until %s (%t), expected a second", again, held)
		}
	}
	if again, held := b.Hold("twelfth", due(time.Hour), now); !held || again != now.Add(2*time.Second) {
		t.Errorf("the twelfth is put off until %s (%t), expected two seconds", again, held)
	}
	if again, held := b.Hold("hasty", due(300*time.Millisecond), now); !held || again != now.Add(300*time.Millisecond) {
		t.Errorf("one that can wait for 300 ms is put off until %s (%t)", again, held)
	}
	if again, held := b.Hold("another", due(time.Hour), now.Add(time.Second)); !held || again != now.Add(3*time.Second) {
		t.Errorf("whoever comes later has the turn at %s (%t) of one who was there before", again, held)
	}
	for name, turn := range map[string]time.Duration{"eleventh": time.Second, "twelfth": 2 * time.Second} {
		if again, held := b.Hold(name, due(time.Hour), now.Add(turn)); held {
			t.Errorf("the %s is put off until %s at its turn", name, again)
		}
	}
}

// Who has a turn and never comes is forgotten.
func TestTurnsThatNobodyTakesAreForgotten(t *testing.T) {
	b := New(60)
	for n := range 100 {
		_, _ = b.Hold(strconv.Itoa(n), due(time.Hour), now)
	}
	_, _ = b.Hold("later", due(time.Hour), now.Add(20*time.Minute))
	if len(b.turns) != 0 {
		t.Errorf("%d turns are kept", len(b.turns))
	}
}

func TestNothingElseIsHeldUp(t *testing.T) {
	b := New(1)
	if _, held := b.Hold("first", due(time.Hour), now); held {
		t.Fatal("the first is held up")
	}
	if _, held := b.Hold("second", due(time.Hour), now); !held {
		t.Fatal("the second is not, so that this shows nothing")
	}
	for name, plan := range map[string]rotate.LeafPlan{
		"nothing is issued":             {PutOff: now.Add(time.Hour)},
		"it cannot wait":                {Issue: true, Reason: rotate.ReasonMissing},
		"it cannot wait any longer":     due(0),
		"it could have waited too long": due(-time.Hour),
	} {
		if again, held := b.Hold(name, plan, now); held {
			t.Errorf("%s: put off until %s", name, again)
		}
	}
	if _, held := New(0).Hold("any", due(time.Hour), now); held {
		t.Error("no limit holds something up")
	}
}

// comes is who comes when.
type comes struct {
	who int
	at  time.Time
}

type moments []comes

func (m moments) Len() int           { return len(m) }
func (m moments) Less(i, j int) bool { return m[i].at.Before(m[j].at) }
func (m moments) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *moments) Push(x any)        { *m = append(*m, x.(comes)) }
func (m *moments) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// Of many that come due together each is looked at a few times. Who is put off is put off until it is his turn, not all until the
// next one's.
func TestManyThatAreHeldUpDoNotComeTogetherAgain(t *testing.T) {
	const many = 2000
	b := New(600)
	var queue moments
	for n := range many {
		heap.Push(&queue, comes{n, now})
	}
	looks := 0
	for queue.Len() > 0 {
		next := heap.Pop(&queue).(comes)
		looks++
		plan := rotate.LeafPlan{Issue: true, Reason: rotate.ReasonDue, PutOff: now.Add(24 * time.Hour)}
		if again, held := b.Hold(strconv.Itoa(next.who), plan, next.at); held {
			heap.Push(&queue, comes{next.who, again})
		}
	}
	if looks > 2*many {
		t.Errorf("%d certificates took %d passes, %d each", many, looks, looks/many)
	}
}
