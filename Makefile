# `make` lists the targets. Everything is installed into .venv, through constraints.txt, and once: the stamps below say when.
# Settings of pip (an index, a cache, a proxy) are the user's own: none is written here.

VENV := .venv
BIN := $(VENV)/bin
# The Python that makes the environment: the first of these that is new enough, or the one given as `make demo PYTHON=...`.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
TEST_INSTALLED := $(VENV)/.installed-test

# The checks stop at the first that fails and end with what pytest says last, so they never run side by side.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs figures bench clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-16s%s\n' "$$name" "$$text"; done

demo: $(INSTALLED) ## train on Python's own source code for two minutes and sample from the result
	@$(BIN)/unrolled demo

test: lint docs ## every check: lint, types, import contract, docs and their examples, tests
	$(BIN)/pytest --numprocesses=auto --dist=worksteal

lint: $(TEST_INSTALLED) ## ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

docs: $(TEST_INSTALLED) ## build the documentation; a warning is an error
	$(BIN)/sphinx-build --fresh-env --write-all --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "documentation: docs/_build/html/index.html"

figures: $(TEST_INSTALLED) ## the long measurements, with all threads
	UNROLLED_TEST_THREADS=0 $(BIN)/pytest -m figures --capture=no

bench: $(BENCH_INSTALLED) ## speed and memory beside other libraries; make bench WORKS="train-lstm step"
	$(BIN)/python -m benchmarks $(WORKS)

clean: ## remove what the other targets made, except .venv and the runs
	rm -rf build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(BIN)/pip pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	@touch $@

$(TEST_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[test]'
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[bench]'
	@touch $@

# bin/pip is the last thing that `venv` writes: an environment cut short is made again.
$(BIN)/pip:
	@for candidate in $(PYTHON); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "making $(VENV) with $$("$$candidate" --version)"; \
	        exec "$$candidate" -m venv $(VENV); \
	    fi; \
	    found="$$found $$candidate ($$("$$candidate" --version 2>/dev/null || echo not found))"; \
	done; \
	echo "unrolled needs Python 3.11 or newer; tried:$$found" >&2; \
	echo "Install one, or say where one is: make demo PYTHON=/path/to/python3" >&2; \
	exit 1
