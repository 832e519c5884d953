//go:build tools

// Package tools pins the module that builds istiod and the gateway's pilot-agent for the local stack.
package tools

import (
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
