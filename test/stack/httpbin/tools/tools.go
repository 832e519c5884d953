//go:build tools

// Package tools pins the test workload for the local stack.
package tools

import _ "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin"
