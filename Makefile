# `make run` and `make test` set up everything that they need; see README.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run install check test fault-test soak compose-test bench lock clean

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter of 3.11 or newer; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TESTS ?= tests
BENCH ?= --seconds 2 --drift 10 --out benchmarks
JAVASCRIPT := tests/javascript
# Tests wait more than they compute: one process more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## set up, then NATS, two of each example service and the gateway on port 8000 (PORT=… for another)
	@exec $(BIN)/nats-http dev

install: $(VENV)/.dev $(JAVASCRIPT)/node_modules/.package-lock.json ## only the set-up, with all that tests and checks need

check: $(VENV)/.dev ## format, lint, types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev $(VENV)/.browser $(VENV)/.wrk $(JAVASCRIPT)/node_modules/.package-lock.json ## all tests but slow sweeps and the container stack, with coverage
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal --ignore tests/compose $(APART) $(TESTS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(if $(APART),$(FAULT_TEST) tests/benchmarks tests/bounds -m "not soak")
# They look at the clock or need all of the machine, so nothing else runs beside them.
APART := $(if $(filter tests,$(TESTS)),$(addprefix --ignore tests/,faults benchmarks bounds))
FAULT_TEST = $(BIN)/pytest -p no:cacheprovider tests/faults

fault-test: $(VENV)/.dev $(VENV)/.wrk ## only the tests of the link under faults (FAULTS_REPORT=docs/faults.md writes their figures)
	$(FAULT_TEST)

soak: $(VENV)/.dev ## the slow sweeps: attacks on the bounds (BOUNDS_REPORT=… writes their figures)
	$(BIN)/pytest -p no:cacheprovider $(SOAK)
SOAK ?= tests/bounds

compose-test: $(VENV)/.dev ## the container stack, where `docker compose` has an engine
	$(BIN)/pytest -p no:cacheprovider tests/compose

bench: $(VENV)/bench/.done ## the gateway beside its peers, half an hour: tables, results.json, chart.svg (BENCH=… for less)
	$(VENV)/bench/bin/python -m benchmarks $(BENCH)

lock: $(VENV)/.dev ## write requirements/*.txt anew from pyproject.toml
	$(PIP) install uv
	$(BIN)/uv pip compile $(LOCK) --upgrade pyproject.toml -o requirements/gateway.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group build -o requirements/build.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/gateway.txt -c requirements/build.txt --upgrade \
		pyproject.toml --extra embedded --group build -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/run.txt --upgrade \
		pyproject.toml --extra embedded --group build --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/dev.txt --upgrade \
		pyproject.toml --extra embedded --group build --group dev --group bench -o requirements/bench.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

clean: ## forget everything that was built
	rm -rf $(VENV) $(JAVASCRIPT)/node_modules dist build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found: install one, or set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "installing the tools for tests and checks …"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# What the benchmarks run, in an environment of their own. A tool or a peer that can't be had is left out.
BENCH_PYTHON ?= $(shell $(PYTHON) benchmarks/fastest_python.py $(PYTHON) /usr/bin/python3 python3.14 python3.13 python3.12 python3.11)
$(VENV)/bench/.done: requirements/bench.txt pyproject.toml | $(BIN)/python
	@echo "installing what the benchmarks compare …"
	@$(BENCH_PYTHON) -m venv --clear $(VENV)/bench
	@$(VENV)/bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/bench.txt
	@$(VENV)/bench/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@command -v wrk nginx >/dev/null && test -d /usr/share/gocode/src/github.com/nats-io/nats.go || { apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends wrk nginx-light golang-github-nats-io-go-nats-dev >/dev/null; } || \
		echo "make: not all of wrk, nginx and nats.go is there: install them with your system's package manager" >&2
	@touch $@

# The browser tests drive the system's Chromium.
$(VENV)/.browser: | $(BIN)/python
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		echo "installing chromium …"; apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || { \
		echo "make: the browser tests need Chromium: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# Two tests make their load with it.
$(VENV)/.wrk: | $(BIN)/python
	@command -v wrk >/dev/null || { \
		echo "installing wrk …"; apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk >/dev/null; } || { \
		echo "make: the tests need wrk: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# A service in JavaScript is put behind the gateway.
$(JAVASCRIPT)/node_modules/.package-lock.json: $(addprefix $(JAVASCRIPT)/,package-lock.json package.json .npmrc)
	@command -v npm >/dev/null || { \
		echo "installing node …"; apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; } || { \
		echo "make: the tests need Node 18 or newer and npm: install them with your system's package manager" >&2; exit 1; }
	@npm ci --prefix $(JAVASCRIPT) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@
