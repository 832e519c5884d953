//go:build tools

// Package tools pins the module that builds the Kubernetes API server and its controller manager for the local stack.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
