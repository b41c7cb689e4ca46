# Every command of the project; CI calls only these. A fresh machine needs Python >= 3.11 and make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALL := $(PY) -m pip --disable-pip-version-check install
PYTEST := $(PY) -m pytest
CODE := parity sources strategies tests benchmarks notebooks
# SEED repeats a run of the tests, else each draws its own; KILLS is what a soak counts by.
SEED := $(or $(SEED),$(shell $(PYTHON) -c "import secrets; print(secrets.randbelow(2**32))"))
KILLS := $(or $(KILLS),1000)
SEEDS = --hypothesis-seed=$(SEED) --randomly-seed=$(SEED)

.PHONY: help demo check lint test notebooks laws soak bench bench-peers bench-guard lock wheel clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "parity needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# One environment, two stamps: the demo installs only what it needs, everything else the lot.
$(VENV)/.demo-stamp: requirements/demo.txt pyproject.toml | $(PY)
	@echo "make: installing what the demo needs into $(VENV) (once, about a minute)"
	$(INSTALL) --require-hashes -r requirements/demo.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev-stamp: requirements/dev.txt pyproject.toml | $(PY)
	@echo "make: installing everything to build and test into $(VENV) (once, one to two minutes)"
	$(INSTALL) --require-hashes -r requirements/dev.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.demo-stamp $@

demo: $(VENV)/.demo-stamp ## record, kill, replay and verify on this machine, in one go
	$(PY) -m parity.cli.demo

lint: $(VENV)/.dev-stamp
	$(BIN)/ruff format --check $(CODE) && $(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(wildcard tests/typing) parity
	$(BIN)/lint-imports --no-logo

check: lint ## format, lint, types, import rules and the fast tests: before every commit
	$(PYTEST) tests/unit tests/repo -m "not slow and not kafka" -q

test: lint ## everything, in JOBS processes (2): make test SEED=123 repeats a run
	PARITY_SEED=$(SEED) $(PYTEST) --numprocesses=$(or $(JOBS),2) --dist=worksteal $(SEEDS)

notebooks: $(VENV)/.dev-stamp ## run every notebook, as a script and in a kernel
	$(PYTEST) tests/docs/test_notebooks.py

laws: $(VENV)/.dev-stamp ## the laws and simulations at length: make laws SEED=123 repeats a run
	@echo "make laws SEED=$(SEED)"
	HYPOTHESIS_PROFILE=night PARITY_SEED=$(SEED) $(PYTEST) tests/laws tests/simulation $(addprefix tests/,$(shell grep -oE '(unit|data)/[a-z_/]+\.py' docs/laws.md | sort -u)) $(SEEDS)

soak: $(VENV)/.dev-stamp ## the full counts of kills, flipped bits and fuzzed payloads, and a day's ticks (hours)
	@echo "make soak SEED=$(SEED) KILLS=$(KILLS)"
	PARITY_SOAK=$(KILLS) PARITY_SEED=$(SEED) $(PYTEST) tests --randomly-seed=$(SEED) -m slow

bench: $(VENV)/.dev-stamp ## the benchmarks of benchmarks/, one process each
	$(PYTEST) benchmarks --benchmark-only -p no:randomly
bench-peers: $(VENV)/.dev-stamp ## other engines on the same ticks and the same rule, beside parity
	$(PY) -m benchmarks.peers
bench-guard: $(VENV)/.dev-stamp ## is this tree slower than a commit: make bench-guard BASE=REV
	$(PY) -m benchmarks.guard $(if $(BASE),--base $(BASE))

wheel: $(VENV)/.dev-stamp ## build dist/*.whl
	$(PY) -m build --wheel --no-isolation
lock: $(VENV)/.dev-stamp ## renew requirements/*.txt from pyproject.toml (needs a package index)
	$(INSTALL) --quiet uv
	PATH="$(BIN):$$PATH" bash requirements/lock

clean: ## remove the environment and everything built
	rm -rf $(VENV) .venv-peers build dist *.egg-info .{mypy,ruff,pytest,import_linter}_cache .hypothesis .benchmarks
	find parity strategies sources tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
