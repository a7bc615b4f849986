# Every target installs what it needs into .venv first; `make demo` and `make test` are the two to know.
PYTHON ?= python3
export OMP_NUM_THREADS = 1
unexport PYTHONDONTWRITEBYTECODE # with it each process of the tests compiles the package again
BIN = .venv/bin
STAMP = .venv/.stamp
DOCS_STAMP = .venv/.stamp-docs
PYTEST = $(BIN)/pytest -n 2 --dist worksteal
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
pinned = $(shell sed -n -E 's/^($(1))==/&/p' constraints.txt)

MINIMUM = .venv-minimum
MINIMUM_STAMP = $(MINIMUM)/.stamp
MINIMUM_PIP = $(MINIMUM)/bin/python -m pip install --quiet --disable-pip-version-check
MINIMUM_TESTS = tests/test_contract.py tests/core tests/find tests/judge tests/merge tests/solve tests/measure/test_exchange.py \
	tests/guard/test_trainer_files.py tests/flows/test_fit.py tests/cli/test_commands.py \
	--ignore tests/core/test_row_files.py # it needs datasets and pyarrow
TORCH ?= $(patsubst torch==%,%,$(call pinned,torch))

.DELETE_ON_ERROR:
.PHONY: demo real test test-slow test-real test-gpu test-minimum check format sync docs prove bench bench-gpu mutants clean

demo: $(STAMP)  ## a real chat model, a plain tune and a guarded one answer the same questions; without network a planted world
	$(BIN)/despur fetch smollm2 || true
	$(BIN)/despur demo

real: $(STAMP)  ## a small pretrained chat model, known by the name smollm2: 93 MB to download, 540 MB in the user's cache
	$(BIN)/despur fetch smollm2

test: $(STAMP)  ## all that runs in minutes on two cores, doctests included
	$(PYTEST) -m "not slow and not gpu and not real"

test-slow: $(STAMP)
	$(PYTEST) -m "slow and not gpu and not real"

test-real: $(STAMP)  ## what is only true of a pretrained model: needs `make real`
	$(BIN)/pytest -m "real and not gpu"

test-gpu: $(STAMP)
	$(BIN)/pytest -m gpu tests/gpu

# old packages warn of their newer neighbours, and anyio's plugin of pytest: here only what they do is asked
test-minimum: $(MINIMUM_STAMP)  ## on the lowest versions that pyproject.toml allows: types, guards, finders, one training run
	$(MINIMUM)/bin/pytest -p no:anyio -o filterwarnings=default -m "not slow and not gpu and not real" $(MINIMUM_TESTS)

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
	$(BIN)/python docs/evidence.py --check

format: $(STAMP)
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

sync: $(STAMP)  ## renew what is generated
	$(BIN)/python docs/exports.py
	$(BIN)/python docs/methods.py
	$(BIN)/python docs/cli.py
	$(BIN)/python docs/schema.py
	$(BIN)/python docs/evidence.py
	$(BIN)/python docs/architectures.py

docs: $(DOCS_STAMP)
	$(BIN)/python docs/methods.py --check
	$(BIN)/python docs/cli.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

prove: $(STAMP)  ## every claim, whole, and the page of evidence: about ten minutes on two cores
	$(BIN)/despur prove --all --whole -o runs/prove || true  # a claim that is lost must not keep its figures from the page
	$(BIN)/python docs/evidence.py runs/prove

bench: $(STAMP)  ## each script prints its table; together about two hours
	@set -e; for script in $(wildcard benchmarks/*.py); do echo "== $$script"; $(BIN)/python $$script; done

bench-gpu: $(STAMP)  ## what guards, an audit and a calibration cost on a CUDA device: minutes
	$(BIN)/python benchmarks/gpu.py

SAMPLE ?= 4
mutants: $(STAMP)  ## small faults planted in PLACES (rooms or files), SAMPLE of each file, and those that no test notices
	$(BIN)/python tests/mutants.py $(PLACES) --sample $(SAMPLE)

clean:
	rm -rf .venv/.stamp* $(MINIMUM) build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

# torch first and alone: pinned it is the CPU build where one is on offer; asked for by another package it is CUDA
$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(call pinned,torch)
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

$(MINIMUM_STAMP): pyproject.toml constraints.txt constraints-minimum.txt
	test -x $(MINIMUM)/bin/python || $(PYTHON) -m venv $(MINIMUM)
	$(MINIMUM_PIP) torch==$(TORCH)
	$(MINIMUM_PIP) -c constraints-minimum.txt -e . $(call pinned,pytest|hypothesis|beartype)
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(PIP) -c constraints.txt -e '.[dev,docs]'
	@touch $@
