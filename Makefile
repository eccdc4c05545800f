# Everything a person or CI does here. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo up stop test lint types format bench lock golden clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

demo: .venv/ready ## real data synced, checked, quarantined and modelled, twice; ends by itself
	$(BIN)/millrace demo

up: .venv/ready ## PostgreSQL, Prefect server, worker and UI on the demo's data, until Ctrl-C
	@exec $(BIN)/millrace up

stop: .venv/ready ## stop whatever this checkout left running
	$(BIN)/millrace stop

test: .venv/ready-dev lint types ## lint, types and the whole test suite, as CI runs it
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: .venv/ready-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready-dev ## mypy, strict on our packages
	$(BIN)/mypy

format: .venv/ready-dev ## ruff: mend format and what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: .venv/ready-dev ## speed against bare psql, as ratios, with peak memory
	$(BIN)/python -m tests.benchmarks

lock: .venv/ready-dev ## resolve the dependencies again, hashed and without index lines
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --universal --no-emit-index-url --no-header -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra demo --generate-hashes --universal --no-emit-index-url --no-header -c requirements-dev.lock -o requirements.lock

clean: ## remove the environment and all state of this checkout
	-test -x $(BIN)/millrace && $(BIN)/millrace stop
	rm -rf .venv .millrace

# uv installs in seconds, and compiles once what every process would else compile at its start;
# where it finds no index, pip does the same work from the same hashes.
define install
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11 $@")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r $(1) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	$(BIN)/uv pip install --quiet --no-deps -e . || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
endef

.venv/ready: requirements.lock pyproject.toml
	$(call install,requirements.lock)

.venv/ready-dev: requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	touch .venv/ready
