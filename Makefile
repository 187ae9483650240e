# `make help` lists what there is. Everything runs in .venv; nothing is installed globally.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that is there and is 3.11 or 3.12.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
FACES ?=
CROP ?=
MINUTES ?=

.PHONY: help demo test test-fast lint format stack flink lock install clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) ## The whole pipeline on rendered portraits, or on FACES=<image set> [CROP=<pixels>|faces]; MINUTES=<n>
	@$(BIN)/python -m flows.demo $(if $(FACES),--faces "$(FACES)") $(if $(CROP),--crop $(CROP)) $(if $(MINUTES),--max-minutes $(MINUTES))

test: $(STAMP) ## All tests
	@$(BIN)/python -m pytest

test-fast: $(STAMP) ## The tests that take seconds
	@$(BIN)/python -m pytest -m "not slow"

lint: $(STAMP) ## Style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

stack: $(STAMP) ## Prefect server, MLflow server and a worker on this machine, until Ctrl-C
	@exec $(BIN)/python -m infra.local.stack

flink: $(STAMP) ## A Flink cluster on this machine for builds, until Ctrl-C (needs a JDK and Maven)
	@exec $(BIN)/python -m infra.flink.cluster

lock: ## Pin all dependencies anew, with hashes (needs uv)
	uv pip compile pyproject.toml --extra dev --extra faces --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock

install: $(STAMP) ## Only set up .venv

# The lock is complete, so no resolver runs (--no-deps) and every file is checked by its hash.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; install one (Debian: apt install python3 python3-venv)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no ensurepip; install it (Debian: apt install python3-venv)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

clean: ## Remove caches (not the workspace)
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -r {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
