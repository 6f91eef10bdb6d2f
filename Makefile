# QENEX. `make` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/qenex/target
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := src core tests benches install.py
PYTHON ?= python3

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## everything a developer needs, nothing twice
	@$(PYTHON) install.py --dev

.PHONY: start
start: ## set up, build and start QENEX with its demo bank; Ctrl-C stops it (ARGS="--http-port 8081" passes flags on)
	@$(PYTHON) install.py --init
	@exec $(BIN)/qenex start $(ARGS)

.PHONY: test
test: setup ## all tests (soak runs excepted)
	cargo test --release --locked --workspace --exclude qenex-bindings
	$(BIN)/pytest $(ARGS)

.PHONY: soak
soak: setup ## the long runs: 1,000 kills under load and more seeds
	cargo test --release --locked --workspace --exclude qenex-bindings -- --ignored
	$(BIN)/pytest -m soak --timeout=0 $(ARGS)

.PHONY: bench
bench: setup ## every benchmark, each prints its own table
	$(BIN)/python -m benches $(ARGS)

.PHONY: lint
lint: setup node_modules ## format, types, layers, unused and missing dependencies, documents
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/stubtest qenex.kernel._native
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	npm run --silent lint

.PHONY: format
format: setup ## format everything in place
	cargo fmt --all
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix-only $(SOURCES)

.PHONY: lock
lock: setup ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --generate-hashes --no-strip-extras \
	  --no-emit-index-url --no-annotate --group dev pyproject.toml -o requirements.txt
	cargo update

.PHONY: clean
clean: ## remove what was built (not your data)
	rm -rf $(VENV) node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f src/qenex/kernel/_native*.so
	cargo clean

node_modules: package-lock.json
	npm ci --silent --no-fund --no-audit
	@touch node_modules
