// Package install is the platform's install settings, parsed once at start: what
// the person who installs Sallyport decides for everybody (trust domain, ingresses,
// default authority, annotations to copy).
//
// It refuses to know where the settings come from (a file, a ConfigMap) and what
// is done with them. A Settings value came out of Parse and is right.
package install
