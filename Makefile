# make train   set up .venv, get MNIST, train the default network, publish inference_model/   (ARGS="--passes 3 …")
# make test    set up .venv, check style and types, run the fast tests
# make bench   set up .venv and the peers' .venv-bench, measure beside them, write docs/benchmarks.md   (ARGS=--quick)
# make help    all targets

VENV ?= .venv
PEERS ?= .venv-bench
# The GPU package where a GPU answers and Python has a wheel of it (3.10 to 3.12); else the CPU package.
REQUIREMENTS ?= $(shell nvidia-smi >/dev/null 2>&1 && $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' \
	&& echo requirements.txt || echo requirements-cpu.txt)
# The first Python on the path that Paddle has wheels for and that really starts.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
ARGS ?=
# Debian splits ensurepip from Python; its pip can fill the environment all the same.
new_venv = $(PYTHON) -m venv $(1) 2>/dev/null || { $(PYTHON) -m venv --without-pip $(1) && $(PYTHON) -m pip --python $(1)/bin/python install --quiet pip; }

.DEFAULT_GOAL := help
.PHONY: help venv train test test-long test-kernels lint smoke tables bench kill-test job-test fuzz clean

help:          ## Show this.
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: $(VENV)/installed   ## Set up .venv with what training and inference need.

$(VENV)/installed: $(REQUIREMENTS) requirements-base.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found: expected python3 or python3.10 … 3.13 on the path; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(call new_venv,$(VENV))
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar on -r $(REQUIREMENTS)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -r requirements-test.txt
	@touch $@

train: venv   ## Train the default network; options in ARGS, as in: make train ARGS="--seed 2".
	$(VENV)/bin/python train.py $(ARGS)

# Three processes for two cores: a quarter of the time they wait, for a browser or for something to hang.
test: lint   ## Style, types and the fast tests.
	$(VENV)/bin/python -m pytest -m "not slow" -n 3 --dist loadfile $(ARGS)

test-long: $(VENV)/installed-test   ## The tests that take minutes.
	$(VENV)/bin/python -m pytest -m slow $(ARGS)

test-kernels: $(VENV)/installed-test   ## The fast tests on stock operators, and again with the compiler hidden.
	CONV_POOL_KERNEL=stock $(VENV)/bin/python -m pytest -m "not slow" $(ARGS)
	tests/without_compiler.sh $(VENV)/bin/python -m pytest -m "not slow" $(ARGS)

lint: $(VENV)/installed-test   ## Style and types alone.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

smoke: $(VENV)/installed   ## The main job in small: train, infer, compare (VENV and REQUIREMENTS choose the Paddle).
	tests/smoke.sh $(VENV)/bin/python

tables: venv   ## Remake the tables of the README and the docs from the logs in docs/experiments/published/ and docs/benchmarks.json.
	$(VENV)/bin/python -m docs.tables

$(PEERS)/installed: benchmarks/requirements.txt
	$(call new_venv,$(PEERS))
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --progress-bar on -r benchmarks/requirements.txt
	@touch $@

bench: $(VENV)/installed $(PEERS)/installed   ## Measure speed and memory beside PyTorch, JAX, Keras and ONNX Runtime, below 20 minutes.
	$(VENV)/bin/python -m benchmarks --peers $(PEERS)/bin/python $(ARGS)
	$(VENV)/bin/python -m docs.tables

kill-test: $(VENV)/installed-test   ## Kill training processes everywhere, fill disks, damage files: about half an hour.
	$(VENV)/bin/python tests/reliability/kill_test.py $(ARGS)

job-test: $(VENV)/installed-test   ## Kill and stop processes of data-parallel jobs: about half an hour.
	$(VENV)/bin/python tests/reliability/job_test.py $(ARGS)

# Where there is no atheris for this Python, the fuzz is not guided by coverage.
fuzz: $(VENV)/installed-test   ## Fuzz every reader of foreign bytes, 100,000 executions each (ARGS="card --runs 1000000").
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --only-binary :all: atheris || true
	$(VENV)/bin/python tests/fuzz/fuzz.py $(ARGS)

clean:   ## Remove the environment; runs and models stay.
	rm -rf .venv .venv-*
