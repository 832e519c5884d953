// Package repairs remembers which objects were put right lately, so that one that somebody keeps writing back is put right once a minute
// and told of, and not fought over.
//
// It refuses to know what is written, and to write.
package repairs
