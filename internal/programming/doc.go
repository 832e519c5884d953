// Package programming puts behind a mutual Gateway what its servers refer to: the
// server certificate and the bundle of CAs, in every namespace whose gateway pods
// serve it. It finds out what that takes and says how it stands.
//
// It refuses to know whether the Gateway was asked for by itself or made for an
// APIRule, and to change the Gateway.
package programming
