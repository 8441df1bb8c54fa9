# Two commands on a fresh clone: `make train` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: train test test-all check benchmark clean

train: $(VENV)/.installed ## train; overrides: make train ARGS="model=dcgan data=cifar10"
	$(BIN)/python train.py $(ARGS)

# One process a core: several threads in each would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

test: check ## lint, types and the tests of a few minutes
	$(PYTEST)

test-all: check ## the long tests too
	$(PYTEST) -m "slow or not slow"

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(VENV)/.installed ## every recipe against a plain loop of the same, and the framework against a bare loop
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/overhead.py

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build
