# POSIX sh and GNU make. Everything that is installed goes into $(VENV); Debian packages only where a target says so.

VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
CLANG ?= clang
JOBS ?= auto
PYTEST_ARGS ?=
BENCH_ARGS ?= --quick
INPUTS = pyproject.toml constraints.txt gtm/__init__.py

.PHONY: help run test netns storm lint format bench schema constraints wheel bpf test-packages clean

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.run  ## install what a node needs and run the reference deployment with stand-in load balancers
	@exec $(BIN)/gtm demo

test: $(VENV)/.dev test-packages  ## install what the tests need and run them all (PYTEST_ARGS, JOBS)
	@exec $(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

netns: $(VENV)/.dev test-packages  ## run the laboratory of network namespaces alone (root) and print its tables
	@[ "$$(id -u)" = 0 ] || { echo 'make netns makes network namespaces: run it as root'; exit 1; }
	@exec $(BIN)/python -m pytest $(PYTEST_ARGS) tests/lab

storm: $(VENV)/.dev  ## a million mutated packets against a real worker, and through the packet path and its model
	@GTM_STORM=1000000 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/app/test_storm.py
	@GTM_DATAPLANE_PACKETS=1000000 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/dataplane/test_differential.py tests/dataplane/test_guard_rates.py

lint: $(VENV)/.dev  ## ruff, formatting, types and import contracts
	@status=0; \
	for check in 'ruff check --output-format concise .' 'ruff format --check .' mypy 'lint-imports --no-logo'; do \
		echo "$$check"; $(BIN)/$$check || status=1; \
	done; exit $$status

format: $(VENV)/.dev  ## write files as `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment. A stamp is older than its inputs only when they changed, so a second `make run` starts at once.

$(BIN)/python:
	@sh tools/environment $(VENV)

$(VENV)/.run: $(INPUTS) | $(BIN)/python
	@echo "installing gtm into $(VENV)"
	@PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[web]'
	@touch $@

$(VENV)/.dev: $(INPUTS) | $(BIN)/python
	@echo "installing gtm and what its tests need into $(VENV)"
	@PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[web,http,probes,bgp,dataplane,dev]'
	@touch $@ $(VENV)/.run

test-packages:
	@sh tools/debian-packages tests/apt-packages.txt

bench: $(VENV)/.dev  ## gtm beside other name servers, in one run (root; BENCH_ARGS=--help says more)
	@exec $(BIN)/python bench/dns.py $(BENCH_ARGS)

bpf: gtm/publish/dataplane/balance.bpf.o gtm/publish/dataplane/guard.bpf.o gtm/publish/dataplane/decap.bpf.o gtm/publish/dataplane/check.bpf.o gtm/publish/dataplane/harness.bpf.o gtm/publish/dataplane/sample.bpf.o gtm/publish/dataplane/flood.bpf.o  ## build the XDP programs (clang and libbpf-dev); nodes need neither

gtm/publish/dataplane/%.bpf.o: dataplane/src/%.bpf.c $(wildcard dataplane/src/*.h dataplane/include/*.h)
	@$(CLANG) -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-parameter \
		-I/usr/include/$$(uname -m)-linux-gnu -Idataplane/include -c $< -o $@

schema: $(VENV)/.run  ## write the JSON Schemas of the deployment files into docs/schema
	@mkdir -p docs/schema
	@$(BIN)/python -c 'from pathlib import Path; from gtm.config.schema import render_schemas; \
	[Path("docs/schema", name).write_text(text) for name, text in render_schemas().items()]'

constraints:  ## resolve every extra anew and pin what came out
	@sh tools/environment $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet hatchling editables '.[web,http,probes,bgp,cloud,dataplane,dev]'
	@{ sed -n '/^#/p' constraints.txt; $(VENV)-constraints/bin/python -m pip freeze --exclude gtm | LC_ALL=C sort -f; } > constraints.new
	@mv constraints.new constraints.txt && rm -rf $(VENV)-constraints

wheel: $(BIN)/python bpf  ## build a wheel into dist/; it holds the reference deployment and its geo database
	@PIP_CONSTRAINT=constraints.txt $(PIP) wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/gtm-*.whl

clean:  ## remove the environment, caches and build results; state/ stays
	rm -rf $(VENV) $(VENV)-constraints build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
