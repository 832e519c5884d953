// Package condition keeps lists of status conditions: it sets what is wanted and
// moves the time of transition only where the status changes.
//
// It refuses to know what the conditions mean.
package condition

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxMessage is the longest message that the API server stores.
const maxMessage = 32768

// True is a condition that holds.
func True(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// False is a condition that does not hold.
func False(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// Unknown is a condition of which nothing is known.
func Unknown(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}

// Instead is the found conditions with others in the place of those of the same type, or beside them.
func Instead(found []metav1.Condition, others ...metav1.Condition) []metav1.Condition {
	kept := slices.DeleteFunc(slices.Clone(found), func(c metav1.Condition) bool {
		return slices.ContainsFunc(others, func(o metav1.Condition) bool { return o.Type == c.Type })
	})
	return append(kept, others...)
}

// Update is the stored conditions with the wanted ones in place, each with the
// generation it was judged on. Stored ones that are not wanted are gone.
func Update(stored []metav1.Condition, generation int64, now time.Time, wanted ...metav1.Condition) []metav1.Condition {
	updated := slices.Clone(stored)
	for _, c := range wanted {
		c.ObservedGeneration = generation
		c.LastTransitionTime = metav1.NewTime(now)
		c.Message = c.Message[:min(len(c.Message), maxMessage)]
		meta.SetStatusCondition(&updated, c)
	}
	return slices.DeleteFunc(updated, func(c metav1.Condition) bool {
		return !slices.ContainsFunc(wanted, func(w metav1.Condition) bool { return w.Type == c.Type })
	})
}
