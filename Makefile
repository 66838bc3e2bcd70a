# make demo: set up, then run the main job on real input.   make test: set up, then every test.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: bench demo test lint types wheel docs check format clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest -q -n auto

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

wheel: $(READY)
	$(BIN)/python tests/check_wheel.py

# Every kernel beside its rivals on this machine, and docs/speed.md from that; rivals that are not installed are named
# (`pip install -e '.[bench]'`). With a GPU: python -m benchmarks --gpu --keep docs.
bench: $(READY)
	$(BIN)/python -m benchmarks --keep docs

docs: $(READY)
	$(BIN)/python -m pytest -q tests/test_docs.py

check: lint types wheel test

# torch comes first and pinned: any other spec can pull gigabytes of GPU packages.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
