# All commands need Python 3.11 or newer and make; they install what they use into .venv. Begin with:  make demo   make test
# PYTHON may be set to choose the interpreter: make test PYTHON=python3.13

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	if $$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

# Else each of a run's many processes compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help test-one check format test test-all demo docs lint types contracts test-others faults load soak sync-twins vectors openapi pictures lock \
	bench bench-peers bench-stores bench-growth bench-save bench-compare bench-check clean

help:  ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv and pip was found; install one (on Debian also python3-venv), or say where: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)

# Dependencies are locked with hashes; the package itself is installed without touching them.
$(VENV)/.test: requirements/test.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/test.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.test
	@echo "Installing the locked tools into $(VENV) ..."
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

##@ Every day (CONTRIBUTING.md says more)

# PYTEST_ARGS goes to pytest as it is: make test-one FILE=tests/test_verify.py PYTEST_ARGS="-k leeway -x"
test-one: $(VENV)/.test  ## one file or folder: make test-one FILE=tests/test_verify.py
	@test -n "$(FILE)$(PYTEST_ARGS)" || { echo "make: say which: make test-one FILE=tests/test_verify.py" >&2; exit 1; }
	$(BIN)/python -m pytest $(FILE) $(PYTEST_ARGS)

check: lint types contracts test  ## before you commit: style, types, import rules and the fast tests

format: $(VENV)/.dev  ## sort imports, format, and write the generated modules anew
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/python tools/sync_twins.py

# A process more than cores, since tests also wait; at most eight, since each has servers of its own. A module, or a class of
# tests, stays in one process. The pure core must be covered to the last branch.
PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$(( n < 8 ? n + 1 : 8 )))
PYTEST = $(BIN)/python -m pytest --numprocesses=$(PROCESSES) --dist=loadscope
COVERAGE = --cov --cov-report=term

test: $(VENV)/.test  ## each promise at least once, within three minutes
	$(PYTEST) -m fast $(COVERAGE) $(PYTEST_ARGS)

# A missing server or browser fails it. To repeat an order: PYTEST_ARGS="-p randomly --randomly-seed=N"; N is in the first lines.
test-all: $(VENV)/.test  ## everything but make soak, as in the gate: more examples, faults, kills, load, browsers, in random order
	HYPOTHESIS_PROFILE=thorough $(PYTEST) -p randomly --no-skips --durations=30 -m "fast or thorough" $(COVERAGE) $(PYTEST_ARGS)

##@ See it work

demo: $(VENV)/.test  ## the whole story between two real services: booked, redeemed, and what is refused or dies under way
	@$(BIN)/ghasi-handoff demo

docs: $(VENV)/.dev  ## the documentation site, into site/; a warning is an error
	$(BIN)/zensical build --clean --strict

##@ Checks one by one

lint: $(VENV)/.dev  ## style: ruff; and that generated modules are what their sources give
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/sync_twins.py --check

types: $(VENV)/.dev  ## types: mypy strict and pyright, on source and tests
	$(BIN)/mypy
	$(BIN)/pyright --warnings

contracts: $(VENV)/.dev  ## layers: import-linter; and that the pure core imports only what is on its allow-list
	$(BIN)/lint-imports
	$(BIN)/python tools/core_imports.py

test-others:  ## make test on each other supported Python found on this machine
	@$(MAKE) --no-print-directory $(VENV)/.test
	@$(BIN)/python tests/other_pythons.py --make "$(MAKE)"

faults: $(VENV)/.test  ## every fault of every store, ten times, into docs/explanation/faults.md
	$(BIN)/python -m tests.faults --out docs/explanation/faults.md $(FAULTS_ARGS)

load: $(VENV)/.test  ## both services under load, each killed under way, into docs/explanation/load.md
	$(BIN)/python -m benchmarks.load --out docs $(LOAD_ARGS)

soak: $(VENV)/.test  ## races with kill -9 for ten minutes, then make faults and make load; docs/explanation/soak.md has what came of it
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

##@ Write generated files anew

sync-twins: $(VENV)/.dev  ## the modules for threads, from those for asyncio
	$(BIN)/python tools/sync_twins.py

vectors: $(VENV)/.test  ## tests/vectors/*.json
	$(BIN)/python -m tests.vectors.make_vectors
	$(BIN)/python -m tests.vectors.make_consume_vectors
	$(BIN)/python tests/vectors/make_sealed_vectors.py

openapi: $(VENV)/.test  ## docs/reference/openapi-*.json
	$(BIN)/python -m tests.integrations.fastapi.published

pictures: $(VENV)/.test  ## the pages that guests see, as pictures of the documentation (needs Chromium)
	$(BIN)/python -m tests.browser.pictures --out docs/assets/pages

lock:  ## requirements/*.txt: the locked dependencies (needs uv)
	uv pip compile --quiet --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra all --group test -o requirements/test.txt
	uv pip compile --quiet --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra all --group test --group lint --group docs --group bench -c requirements/test.txt -o requirements/dev.txt

##@ Benchmarks

bench:  ## benchmarks: ratios within one process; peers, stores, growth (the last needs a quarter of an hour and 8 GB of disk)
	@$(MAKE) --no-print-directory bench-peers
	@$(MAKE) --no-print-directory bench-stores BENCH_ARGS=
	@$(MAKE) --no-print-directory bench-growth BENCH_ARGS=

bench-peers: $(VENV)/.test
	$(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

# With BENCH_ARGS="--out docs" these two also write the figures and plots of the documentation, for which they need .dev.
bench-stores: $(VENV)/$(if $(findstring --out,$(BENCH_ARGS)),.dev,.test)
	$(BIN)/python -m benchmarks.stores $(BENCH_ARGS)

bench-growth: $(VENV)/$(if $(findstring --out,$(BENCH_ARGS)),.dev,.test)
	$(BIN)/python -m benchmarks.growth $(BENCH_ARGS)

# What has become slower: the suites' ratios to their yardsticks, against a run that was saved.
NAME = baseline
SAVED = benchmarks/saved/$(NAME).json

bench-save: $(VENV)/.test  ## run the suites of pytest-benchmark and save their ratios: benchmarks/saved/baseline.json, or NAME=
	$(BIN)/python -m benchmarks.baseline $(SAVED) $(BENCH_ARGS)

bench-compare: $(VENV)/.test  ## run the suites, and fail if something is slower than in the saved run by more than a quarter
	$(BIN)/python -m benchmarks.baseline .benchmarks/new.json $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.compare $(SAVED) .benchmarks/new.json

bench-check: $(VENV)/.test  ## that the suites run: each benchmark once, nothing timed
	$(BIN)/python -m pytest benchmarks/test_*.py

##@ Clean up

clean:  ## remove what these targets made
	rm -rf .venv .venv-* site .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .cache demo-data
