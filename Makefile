# `make demo`, `make test` and `make check` work on a bare machine with git, make and Python 3.11+.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := nas_service workers edge_agent cluster
KEEP ?=
OUT ?= demo
NAMES ?=
SEED ?= 0
RESULTS ?= 1000

.PHONY: help install demo test test-fast bench faults check format docs clean

help:
	@echo "make demo     the main job end to end on this machine (KEEP=0: do not stay for the dashboard)"
	@echo "make test     the whole test suite; make test-fast: without the slow part"
	@echo "make bench    the benchmarks of docs/benchmarks.md (NAMES='L8 L9': only these)"
	@echo "make faults   kill, cut, fill and confuse a fleet at random (SEED=0 RESULTS=1000): what is lost?"
	@echo "make check    formatter, linter, types, import rules"
	@echo "make format   let the formatter and linter mend what they can"
	@echo "make docs     write docs/cli.md anew from the commands' help"

install: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[service,dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/nas demo --out $(OUT) $(if $(filter 0,$(KEEP)),--no-keep,)

# The files with tests of a mark; to look into all of them for a few takes 20 seconds.
marked = $(shell grep -rl --include='test_*.py' 'mark\.$(1)\b' tests)

# What compares times runs by itself, so that nothing competes for the cores. What needs a cluster is in two groups: one
# shares a whole service, one does not; each waits half of its time.
test: $(STAMP)
	$(BIN)/python -m pytest -m "not ray and not alone"
	$(BIN)/python -m pytest -m "alone" -n 0 $(call marked,alone)
	$(BIN)/python -m pytest -m "ray" -n 2 $(call marked,ray)

test-fast: $(STAMP)
	$(BIN)/python -m pytest -m "not slow"

bench: $(STAMP)
	$(BIN)/python -m cluster.benchmarks $(NAMES)

# Random faults against a real gateway and real agents on loopback: what is lost, what is counted twice?
faults: $(STAMP)
	$(BIN)/python -m cluster.faults --seed $(SEED) --results $(RESULTS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/contracts/test_import_rules.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python -m nas_service.commands.reference > docs/cli.md

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache demo
