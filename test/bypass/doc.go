// Package bypass tries every way past a certificate that a caller has at a real edge:
// names in the handshake against names in the request, both HTTPs, every port, every
// kind of certificate, sessions old and new. Each way has one verdict that a rule of a
// few lines foretells, and the workload itself says who was reached.
//
// A matrix that finds nothing proves little unless it can see. So the same matrix is run
// over the shapes that admission refuses, once nobody refuses them any more.
//
// It refuses to know how the product keeps callers out, and what Secrets and objects of
// its own it makes: it sees what callers see, and what admission answers.
package bypass
