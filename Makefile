# Two commands do everything from a fresh clone: make demo, make test. For every save there is make check.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo check test test-all lint exact bench bench-load bench-calibration bench-sim gpu-check page-image api setup format
.DEFAULT_GOAL := test

.venv/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.ready

# Measures this machine and a pair, chooses, verifies and writes a page; what is there is not redone. The default pair is
# deepened six times, so that its target costs what targets cost beside their drafts; with PAIR=plain it is as it is.
# Prompts differ more than the stretches of one text, so twice as many, half as long, decide more than the default's.
PAIR ?= deepened
RUNS_deepened := runs
CALIBRATE_deepened := --deepen 6 --quick
MINUTES_deepened := 5
RUNS_plain := runs/plain
MINUTES_plain := 8
demo: RUNS = $(or $(RUNS_$(PAIR)),$(error there is no PAIR '$(PAIR)': deepened or plain))
demo: setup
	$(BIN)/specbranch calibrate $(CALIBRATE_$(PAIR)) --out $(RUNS)/calibration
	$(BIN)/specbranch tune --calibration $(RUNS)/calibration --out $(RUNS)/tuned.yaml
	$(BIN)/specbranch verify $(RUNS)/tuned.yaml --prompts 24 --max-tokens 48 --minutes $(MINUTES_$(PAIR)) \
	--out $(RUNS)/verification.json \
	|| case $$? in 3|4) ;; *) exit 1 ;; esac # any verdict is a result, and has its page
	$(BIN)/specbranch report $(RUNS)/verification.json --out $(RUNS)/report.html

# Two processes share the tests, a file at a time, in the order of tests/conftest.py. No more than two, whatever the
# machine has: the engine's tests pin their models to the same two cores.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The fast part, in a minute and a half on two cores: no models' workers, no commands, no browser.
check: lint
	$(PYTEST) -m "not processes and not slow"

# All but what is long and rare, in six to thirteen minutes on two cores once the default target is there.
test: lint
	$(PYTEST) -m "not slow"

# Everything; CI runs it.
test-all: lint
	EXACT_PROMPTS=6 $(PYTEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

# In float32, every policy's text with every draft of the default pair against transformers' own, on 50 prompts.
exact: setup
	EXACT_PROMPTS=50 $(BIN)/pytest -v tests/test_real_pair.py

# Every policy against transformers, interleaved, in some 16 minutes on two cores; writes docs/benchmarks.md.
bench: setup
	$(BIN)/specbranch bench --markdown docs/benchmarks.md

# Many requests at once by ours, OpenVINO GenAI and vLLM, interleaved; writes docs/load-benchmark.md. What the rivals
# need is installed into .bench (some 3 GB). A race on the plain target, and one with a draft on the deepened one.
bench-load: setup
	$(BIN)/specbranch bench-load --markdown docs/load-benchmark.md
	$(BIN)/specbranch bench-load --deepen 6 --markdown docs/load-benchmark.md

# Two calibrations in a row and one under load, in some ten minutes; writes docs/calibration.md.
bench-calibration: setup
	$(BIN)/specbranch bench-calibration --markdown docs/calibration.md

# How fast the simulator starts and replays, and how that grows, in some three minutes; writes docs/simulation-speed.md.
bench-sim: setup
	$(BIN)/specbranch bench-sim --markdown docs/simulation-speed.md

# GPU_PYTHON has torch, built for CUDA, and transformers; what little else the check needs is put beside the checkout
# where it is missing. Flags go into GPU_FLAGS, such as --default-pair or --width 4096.
GPU_PYTHON ?= $(firstword $(wildcard $(BIN)/python) $(PYTHON))
GPU_PACKAGES := .gpu-packages
gpu-check: export PYTHONPATH := $(GPU_PACKAGES)
gpu-check:
	$(GPU_PYTHON) -c "import joblib, msgspec, pydantic, simpy, torch, transformers, typer, yaml" \
	|| $(GPU_PYTHON) -m pip install --quiet --target $(GPU_PACKAGES) joblib msgspec pydantic pyyaml simpy typer
	$(GPU_PYTHON) specbranch.py hardware-check $(GPU_FLAGS)

# The first screen of a page, as a reader sees it; writes docs/images/page.png.
PAGE ?= runs/report.html
CHROMIUM ?= $(firstword $(shell command -v chromium chromium-browser google-chrome) chromium)
page-image:
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,900 \
	--virtual-time-budget=20000 --screenshot=$(abspath docs/images/page.png) file://$(abspath $(PAGE))

# A page about each package, of what it exports, from the docstrings; open build/api/index.html.
api: setup
	$(BIN)/python -m docs.api build/api

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
