# The short front of cargo xtask. `make help` lists what can be done.

CARGO ?= cargo

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-30s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  cargo xtask  prints the developer tasks behind these"

.PHONY: demo
demo: ## Build covtap, run the DataStorage end-to-end tests under it, show ledger and report
	$(CARGO) build --release --locked --package covtap
	GOFLAGS=-cover "$${CARGO_TARGET_DIR:-target}/release/covtap" run -- $(MAKE) -C examples/datastorage test-e2e-datastorage
	@echo
	@echo "What was collected, and the reports:"
	@find .covtap/latest/ -maxdepth 2 -not -name 'cov*s.*' | sort

.PHONY: test
test: ## Everything that needs no container; installs what it needs
	$(CARGO) xtask test

.PHONY: test-full
test-full: ## The same with all versions of Go, longer properties, and fuzzing
	$(CARGO) xtask test --full
	$(CARGO) xtask test-cluster podman

.PHONY: test-cluster
test-cluster: ## Everything that needs a Kind cluster; makes the cluster too
	$(CARGO) xtask test-cluster

# Where the service runs: local, or kind with a cluster of its own.
E2E_TARGET ?= local
# off leaves covtap out: the suite with nothing but its own coverage wiring.
COVTAP ?= on
# The routes that covtap takes; empty for its own choice.
ROUTE ?=

in_cluster = $(if $(filter kind,$(E2E_TARGET)),$(CARGO) xtask cluster exec --)
under_covtap = $(if $(filter off,$(COVTAP)),,"$${CARGO_TARGET_DIR:-target}/release/covtap" run $(if $(ROUTE),--route $(ROUTE)) --)

.PHONY: test-e2e-datastorage-coverage
test-e2e-datastorage-coverage: ## The DataStorage suite with its coverage wiring: E2E_TARGET=kind, COVTAP=off
	$(if $(under_covtap),$(CARGO) build --release --locked --package covtap)
	$(in_cluster) $(under_covtap) $(MAKE) -C examples/datastorage $@ E2E_TARGET=$(E2E_TARGET)

.PHONY: lint
lint: ## Format, clippy, licences, structure, schemas, other platforms
	$(CARGO) xtask lint

.PHONY: bench
bench: ## covtap covdata beside go tool covdata: time and memory
	$(CARGO) xtask bench covdata
