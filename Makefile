# Two commands do everything from a fresh clone: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test gpu-check setup format
.DEFAULT_GOAL := test

.venv/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.ready

# Measures this machine and the default pair, chooses, verifies and writes a page; what is there is not redone.
demo: setup
	$(BIN)/specbranch calibrate
	$(BIN)/specbranch tune
	$(BIN)/specbranch verify
	$(BIN)/specbranch report

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# With torch built for CUDA and the other dependencies installed: GPU_PYTHON=python3 make gpu-check
GPU_PYTHON ?= $(BIN)/python
gpu-check:
	$(GPU_PYTHON) specbranch.py hardware-check

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
