# The short front of cargo xtask. `make help` lists what can be done.

CARGO ?= cargo

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
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

.PHONY: lint
lint: ## Format, clippy, licences, structure, schemas, other platforms
	$(CARGO) xtask lint

.PHONY: bench
bench: ## covtap covdata beside go tool covdata: time and memory
	$(CARGO) xtask bench covdata
