# Two commands from a bare clone: `make quickstart` and `make test`. Both make .venv here; nothing else is touched.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help quickstart test lint types tests format perf clean

help:  ## What there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "thinkaudit needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/made-dev: .venv/made
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

quickstart: .venv/made  ## Audit a small model on this machine, offline, and write a report to ./quickstart
	$(BIN)/thinkaudit quickstart

test: lint types tests  ## Everything that must be green: ruff, strict mypy, the whole suite

lint: .venv/made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/made-dev
	$(BIN)/mypy

tests: .venv/made-dev
	$(BIN)/pytest --numprocesses=2

format: .venv/made-dev  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

perf: .venv/made-dev  ## The speed figures of perf/README.md, measured here
	$(BIN)/python -m pip install --quiet --group perf
	$(BIN)/python -m perf.engine
	$(BIN)/python -m perf.peers

clean:  ## Remove the environment and what the quickstart wrote
	rm -rf .venv quickstart
