# kube-bridge. `make` alone lists the targets. Everything runs in .venv, which `make env` creates.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
WORKERS ?= auto
LOCK_FLAGS := --quiet --strip-extras --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help env demo test check format bench mutants truth outage cluster broker lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## create .venv with everything that the other targets need

$(STAMP): tests/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kube-bridge needs Python 3.11 or later; try: make env PYTHON=python3.11")'
	@echo 'installing into .venv, from PyPI: one to three minutes'
	@$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## stream the built-in simulated cluster for some seconds
	@$(BIN)/kube-bridge demo

test: $(STAMP) ## run the tests, on up to 4 cores; those that need Go, Java or Maven are skipped where it is missing, never with CI=true
	$(BIN)/pytest --durations=10 -n $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder

check: $(STAMP) ## format, lint, types, floors, unused dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## speed and memory against baselines, as ratios in one run
	$(BIN)/python -m tests.bench $(ARGS)

mutants: $(STAMP) ## plant bugs one at a time and show which test catches each
	$(BIN)/python -m tests.mutants $(ARGS)

truth: $(STAMP) ## load, kills, etcd's history as judge; needs Go (ARGS="--seed N")
	$(BIN)/python -m tests.truth $(ARGS)

outage: $(STAMP) ## a broker away for a minute, three times; etcd and kubectl as judges; needs Go, Java and Maven
	$(BIN)/python -m tests.truth outage $(ARGS)

cluster: $(STAMP) ## a real API server to play with, until Ctrl-C; needs Go
	@$(BIN)/python -m tests.components cluster

broker: $(STAMP) ## a real Kafka to play with, until Ctrl-C; needs Java and Maven
	@$(BIN)/python -m tests.components broker

lock: $(STAMP) ## write the lock files anew
	$(BIN)/pip-compile $(LOCK_FLAGS) --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --allow-unsafe --extra dev --output-file tests/requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --constraint tests/requirements.lock --only-build-deps --build-deps-for wheel \
		--output-file deploy/build.lock pyproject.toml

clean: ## remove what was built here (the cache of real components stays)
	rm -rf .venv dist build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
