// Package intact compares the admission objects that are stored with those that were
// installed: one that is gone or was changed judges no more what everybody relies on. The
// chart writes down a digest of each; the agent may read the objects, and not mend them.
//
// It refuses to know what the objects say.
package intact
