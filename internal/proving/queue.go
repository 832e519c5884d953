package proving

import (
	"container/heap"
	"time"
)

// queue holds targets by when they are due. An entry that its target has outlived stays
// until its time comes and is dropped then.
type queue struct{ entries entries }

type entry struct {
	at     time.Time
	target *target
}

// push notes when a target is due.
func (q *queue) push(t *target) { heap.Push(&q.entries, entry{at: t.next, target: t}) }

// pop takes a target that is due; else nil, and when the next one is, zero for none.
func (q *queue) pop(now time.Time) (*target, time.Time) {
	for len(q.entries) > 0 {
		first := q.entries[0]
		outlived := first.target.gone || first.target.running || !first.target.next.Equal(first.at)
		if !outlived && first.at.After(now) {
			return nil, first.at
		}
		heap.Pop(&q.entries)
		if !outlived {
			return first.target, time.Time{}
		}
	}
	return nil, time.Time{}
}

// entries implement heap.Interface.
type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *entries) Push(x any) { *e = append(*e, x.(entry)) } //nolint:forcetypeassert // heap.Push is called in this file alone

// Pop implements heap.Interface.
func (e *entries) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
