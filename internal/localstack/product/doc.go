// Package product installs Sallyport into a local stack: everything that the chart
// renders is applied as it is, but for the Deployments, whose containers become
// local processes with the tokens of their ServiceAccounts. RBAC, admission
// policies and the webhook configuration are those of a cluster.
//
// Three parts of a cluster are missing on loopback and are stood in for, each in a
// file of its own: the kubelet's view of a pod (pod.go), the kubelet's Secret volume
// (volume.go), and the Service in front of the webhook (service.go).
//
// It refuses to know what the chart contains, and what the processes do.
package product
