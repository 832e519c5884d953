# Sallyport. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Their tests hold the product to a time: one stack of servers runs at once.
TIMED := e2e|faults|proof|rotation|serving

.PHONY: test
test: ## Run all tests, after building the local stack (minutes, once).
	go run ./test/cmd/stackbuild
	go test -race -count=1 -timeout 20m ./api/... ./cmd/... ./internal/... ./pkg/...
	go test -race -count=1 -timeout 40m -p 2 $$(go list ./test/... | grep -v -E '/test/($(TIMED))$$')
	cd test/evaluator && go test -count=1 -timeout 20m ./... # almost all of it is Kubernetes' code: no race detector
	go test -race -count=1 -timeout 40m -p 1 $$(go list ./test/... | grep -E '/test/($(TIMED))$$')

.PHONY: sequences
sequences: ## Play 100,000 generated sequences of writes against the policies and a reference; SALLYPORT_SEQUENCES=N or A-B says which.
	cd test/evaluator && SALLYPORT_SEQUENCES=$(or $(SALLYPORT_SEQUENCES),100000) go test -count=1 -timeout 6h -v -run AMutualTLSPolicy .

.PHONY: bench
bench: ## Measure everything beside its floor (half an hour; docs/performance.md).
	go test -run '^$$' -bench . -benchmem ./pkg/pki ./pkg/rotate ./internal/admission ./internal/probe ./internal/metrics
	go test -run '^$$' -bench Admission -benchtime 2000x -timeout 20m ./test/bench
	go test -run '^$$' -bench Fleet -benchtime 5x -timeout 20m ./test/bench
	go test -run '^$$' -bench Probe -benchtime 12x -timeout 20m ./test/bench
	go test -run '^$$' -bench ThousandTargets -benchtime 1x -timeout 20m ./test/bench
	go test -run '^$$' -bench Served -benchtime 1x -timeout 20m ./test/bench
	go test -run '^$$' -bench Emergency -benchtime 1x -timeout 40m ./test/bench
	go test -run '^$$' -bench Scale -benchtime 1x -timeout 40m ./test/bench

.PHONY: rotation-proof
rotation-proof: ## Replace a CA 100 times under traffic, an hour; ROTATIONS, HANDSHAKES and CALL_EVERY say how often and how much, SUMS names a file for the sum of all runs.
	go test -count=1 -timeout 24h -v -run NoCallerIsRefused ./test/rotation -rotations $(or $(ROTATIONS),100) -handshakes $(or $(HANDSHAKES),300000) -call-every $(or $(CALL_EVERY),60ms) -sums "$(abspath $(SUMS))"

.PHONY: generate
generate: ## Make what is generated: deepcopy, CRDs, the chart's copy of them, config/prometheus, config/default.
	go run -modfile tools/go.mod sigs.k8s.io/controller-tools/cmd/controller-gen object paths=./api/...
	go run -modfile tools/go.mod sigs.k8s.io/controller-tools/cmd/controller-gen crd:crdVersions=v1 paths=./api/... output:crd:dir=config/crd
	cp config/crd/*.yaml charts/sallyport/files/crd/
	cp charts/sallyport/files/rules.yaml config/prometheus/rules.yaml
	go run ./test/cmd/render > config/default/sallyport.yaml.new
	mv config/default/sallyport.yaml.new config/default/sallyport.yaml

.PHONY: lint
lint: ## Check style and import rules.
	go run -modfile tools/lint/go.mod github.com/golangci/golangci-lint/v2/cmd/golangci-lint run ./...
	cd test/evaluator && go run -modfile ../../tools/lint/go.mod github.com/golangci/golangci-lint/v2/cmd/golangci-lint run ./...

.PHONY: presubmit
presubmit: generate lint test ## The whole gate; fails if anything generated or tidied differs from what is committed.
	go mod tidy
	cd test/evaluator && go mod tidy
	git diff --exit-code
	test -z "$$(git status --porcelain)"

.PHONY: demo
demo: ## Show the tutorial by one annotation on real servers; KEEP=1 leaves them running.
	go run ./test/demo $(if $(KEEP),--keep)

.PHONY: dashboard
dashboard: ## Draw docs/dashboard.svg: the dashboard with data of the real stack (needs prometheus).
	SALLYPORT_DASHBOARD=$(CURDIR)/docs/dashboard.svg go test -count=1 -timeout 20m -run 'AlertsFire|Healthy' ./test/proof

.PHONY: clean-cache
clean-cache: ## Remove the binaries of the local stack.
	go run ./test/cmd/stackbuild -clean
