//go:build tools

// Package tools pins the module that builds the etcd server for the local stack.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
