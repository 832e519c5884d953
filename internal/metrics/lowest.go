package metrics

import (
	"iter"
	"slices"
)

// lowest are the first limit of count values if they were sorted by rank, in the order
// they come in. It needs a number for each, and not the values.
func lowest[T any](limit, count int, all iter.Seq[T], rank func(T) int64) iter.Seq[T] {
	if limit <= 0 {
		return func(func(T) bool) {}
	}
	ranks := make([]int64, 0, count)
	for value := range all {
		ranks = append(ranks, rank(value))
	}
	slices.Sort(ranks)
	last := ranks[limit-1]
	first, _ := slices.BinarySearch(ranks, last)
	return func(yield func(T) bool) {
		room := limit - first // for values of the last rank
		for value := range all {
			r := rank(value)
			if r > last || (r == last && room == 0) {
				continue
			}
			if r == last {
				room--
			}
			if !yield(value) {
				return
			}
		}
	}
}
