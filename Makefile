# Two commands do everything from a fresh clone: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test setup format
.DEFAULT_GOAL := test

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.ready

demo: setup
	$(BIN)/specbranch simulate scenarios/default.yaml
	$(BIN)/specbranch simulate scenarios/branch-count.yaml

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
