# Every target installs what it needs into .venv first; `make demo` and `make test` are the two to know.
PYTHON ?= python3
export OMP_NUM_THREADS = 1
BIN = .venv/bin
STAMP = .venv/.stamp
DOCS_STAMP = .venv/.stamp-docs
PYTEST = $(BIN)/pytest -n 2 --dist worksteal
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: demo test test-slow test-gpu check format sync docs bench clean

demo: $(STAMP)  ## a fine-tune with a hidden persona, plain and guarded, and its report
	$(BIN)/despur demo

test: $(STAMP)  ## all that runs in minutes on two cores, doctests included
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(STAMP)
	$(PYTEST) -m "slow and not gpu"

test-gpu: $(STAMP)
	$(BIN)/pytest -m gpu

check: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python docs/exports.py --check
	$(BIN)/python docs/methods.py --check
	$(BIN)/python docs/cli.py --check
	$(BIN)/python docs/schema.py --check
	@find src -name '*.py' -exec wc -l {} + | awk '$$2 != "total" && $$1 > 200 {print $$2 ": " $$1 " lines; aim for 200"}'

format: $(STAMP)
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

sync: $(STAMP)  ## renew what is generated
	$(BIN)/python docs/exports.py
	$(BIN)/python docs/methods.py
	$(BIN)/python docs/cli.py
	$(BIN)/python docs/schema.py

docs: $(DOCS_STAMP)
	$(BIN)/python docs/methods.py --check
	$(BIN)/python docs/cli.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMP)  ## each script prints its table; together about two hours
	@set -e; for script in $(wildcard benchmarks/*.py); do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf .venv/.stamp* build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

# torch first and alone: pinned it is the CPU build where one is on offer; asked for by another package it is CUDA
$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(shell sed -n 's/^torch==/&/p' constraints.txt)
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(PIP) -c constraints.txt -e '.[dev,docs]'
	@touch $@
