// Package localstack builds and runs the real servers around Sallyport on loopback,
// as processes of a normal user: etcd, kube-apiserver, istiod, one or two Envoy
// gateways under pilot-agent, and go-httpbin as the workload. The demo, the
// end-to-end tests and the benchmarks share it (docs/adr/0001).
//
// Build makes the binaries (minutes the first time, then from a cache), Start runs
// them, and the Stack applies objects, hands out ServiceAccount tokens and runs
// further processes. Nothing survives: a watchdog kills every process group when
// the process that started the stack goes away, however it goes, unless Detach
// asked for the opposite.
//
// There is no controller manager: no garbage collection of owned objects, no
// namespace deletion, no Deployments. It refuses to know what Sallyport is: charts,
// webhooks and agents are the business of its callers. It needs a Unix (Linux, or
// macOS 15 on arm64, where 127.0.0.2 has to be added to lo0 for a second gateway).
package localstack
