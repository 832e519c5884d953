# Sallyport. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: ## Run all tests, after building the local stack (minutes, once).
	go run ./test/cmd/stackbuild
	go test -race -timeout 40m ./...

.PHONY: demo
demo: ## Show the tutorial by one annotation on real servers; KEEP=1 leaves them running.
	go run ./test/demo $(if $(KEEP),--keep)

.PHONY: clean-cache
clean-cache: ## Remove the binaries of the local stack.
	go run ./test/cmd/stackbuild -clean
