// Package apirule reconciles opted-in Kyma APIRules: it makes the managed Gateway
// of one that names none, has the Secrets behind it written, and keeps the endpoint
// of each. If the Gateway that an APIRule names stops being mutual, it moves the
// APIRule to a managed one and says so.
//
// It refuses to touch what Kyma's operator makes of an APIRule, and its status.
package apirule
