// Package intent reads what a Gateway or an APIRule asks for: our annotations, and
// the default of its Namespace, become an Intent that cannot be wrong, or a list of
// what is wrong. It is the only place that knows our keys and the rules by which
// things are named.
//
// It refuses to know what has to be written to fulfil an Intent, and whether an
// authority or a caller that is named exists.
package intent
