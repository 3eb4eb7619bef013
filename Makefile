# Two commands need nothing but Python 3.11, git and make:  make demo   and   make test

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
JOBS   ?= 4
SPREAD  = -n $(JOBS) --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests, demo and benchmarks start dozens of processes: each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test slow chaos soak bench lint format docs docs-check lock lock-check audit wheel clean
.DELETE_ON_ERROR:

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.runtime  ## contain a live rogue agent in the embedded sandbox
	@$(BIN)/firebreak demo

test: $(VENV)/.dev  ## run the tests
	$(BIN)/pytest $(SPREAD)

slow: JOBS = 3
slow: $(VENV)/.dev  ## run the tests that take minutes or gigabytes, chaos among them
	$(BIN)/pytest $(SPREAD) -m "slow and not soak" --timeout 3600

chaos: $(VENV)/.dev  ## kill and stop every process in the middle of containments; capture a log of 1 GiB
	$(BIN)/pytest -m slow tests/chaos --timeout 3600

soak: $(VENV)/.dev  ## run 2,000 containments beside two busy neighbours
	$(BIN)/pytest -m soak -s --timeout 7200

bench: $(VENV)/.dev  ## measure, and write docs/performance.md
	$(BIN)/python -m bench

lint: $(VENV)/.dev docs-check lock-check audit  ## check style, types, layers, generated files, advisories
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev  ## write the generated documents
	$(BIN)/python -m firebreak.cli.docs

docs-check: $(VENV)/.dev
	$(BIN)/python -m firebreak.cli.docs --check

lock: $(VENV)/.dev  ## resolve the dependencies again
	UV=$(BIN)/uv .ci/lock

lock-check: $(VENV)/.dev
	UV=$(BIN)/uv .ci/lock --check

audit: $(VENV)/.dev
	PIP_AUDIT=$(BIN)/pip-audit .ci/audit

wheel: $(VENV)/.dev  ## build the wheel
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:  ## remove the environment and everything built
	rm -rf $(VENV) dist build .firebreak .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The project itself is installed without dependencies, so that nothing escapes the hashes.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
