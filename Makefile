# Everything a newcomer needs; `make help` lists it. Only Python 3.11 and make are taken for granted.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACK := data/sources
# Tests of one file share what they have built; tests/conftest.py says which files come first.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.PHONY: help run refresh ui test lint check bench clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here; name a Python 3.11 or later: make PYTHON=python3 ..." >&2; exit 1; }
	@echo "setting up $(VENV) (some minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

$(PACK):
	@$(BIN)/marquee synth $(PACK).new --movies 1000
	@mv $(PACK).new $(PACK)

run: $(STAMP) ## make a small source pack, build the corpus and the conversations from it, train toy retrievers
	@test -e $(PACK) || { rm -rf $(PACK).new; $(MAKE) --no-print-directory $(PACK); }
	@$(BIN)/marquee run --stand-in --scale toy

refresh: $(STAMP) ## bring the corpus up to date with the sources folder
	@$(BIN)/marquee refresh --stand-in --scale toy

ui: $(STAMP) ## the Dagster UI on http://localhost:3000
	@mkdir -p data/dagster
	@DAGSTER_HOME=$(CURDIR) $(BIN)/dagster dev --workspace workspace.yaml

test: $(STAMP) ## all tests; those on real catalogues are skipped where there are none
	@$(BIN)/python -m pytest $(WORKERS)

lint: $(STAMP) ## format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint ## the same, and the fast tests
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow and not real_data"

bench: $(STAMP) ## speed and memory, one JSON line each (half an hour)
	@for each in benchmarks/bench_*.py; do $(BIN)/python $$each || exit 1; done

clean: ## remove what was built (not the environment)
	rm -rf data
