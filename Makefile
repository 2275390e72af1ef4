# Everything runs in private virtual environments; a file named *.stamp in one says that a step
# is done. PYTHON=... names the interpreter they are made from.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
ACCURACY := .venv-accuracy
ASAN := .venv-asan

CORE := src/ctrain/_core
NATIVE := setup.py pyproject.toml $(wildcard $(CORE)/*.pyx $(CORE)/*.pxd $(CORE)/kernels/*)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format docs wheel bench bench-peers bench-accuracy test-asan \
    test-races test-defects clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/demo.stamp ## build into .venv and fit a real data set
	$(BIN)/python examples/demo.py

test: $(VENV)/test.stamp ## build into .venv and run the test suite
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/test.stamp ## the same with the long campaigns: kills, mutants, interrupts
	$(BIN)/python -m pytest

lint: $(VENV)/lint.stamp ## ruff and cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint $(CORE)

format: $(VENV)/lint.stamp ## rewrite the Python files as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs.stamp ## HTML pages in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

wheel: $(VENV)/test.stamp ## sdist, and a wheel built from it, in dist/
	$(BIN)/python -m build

bench: $(VENV)/bench.stamp ## every benchmark once, quickly, on this working tree
	cd asv_benchmarks && ../$(BIN)/asv machine --yes
	cd asv_benchmarks && ../$(BIN)/asv run --python=same --quick --show-stderr

bench-peers: $(PEERS)/peers.stamp ## ctrain beside its rivals; writes docs/benchmarks.md, ONLY=forecast a section
	$(PEERS)/bin/python asv_benchmarks/peers.py $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

# The data are not part of the project; CACHE=file keeps finished results of an interrupted run.
DATA ?= $(or $(CTRAIN_DATA),../shared/data)
bench-accuracy: $(ACCURACY)/accuracy.stamp ## test errors on public data in DATA=...; writes docs/accuracy.md
	$(ACCURACY)/bin/python asv_benchmarks/accuracy.py --data "$(DATA)" $(if $(CACHE),--cache "$(CACHE)")

# Whatever runs a kernel on memory of its own making, and what reads files. The rest of the suite
# runs the same C from further away, three times slower than here.
CHECKED := archive checkpoint golden source windows step bits races gemm ops gradcheck optimizers \
    random losses conventions vmath dispatch tape masked convolution batch_norm draws recurrent \
    attention transformers
test-asan: $(ASAN)/test.stamp ## kernels and loader under the address and undefined-behaviour sanitizers
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so.6)" \
	PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(ASAN)/bin/python -m pytest --capture=sys -m "not slow" $(CHECKED:%=tests/test_%.py)

test-races: $(VENV)/native.stamp ## threads under the thread sanitizer, and races that it must find
	$(BIN)/python tests/defects.py --races

test-defects: $(VENV)/native.stamp ## break a copy in one line at a time: some test must fail
	$(BIN)/python tests/defects.py

clean: ## remove everything that these targets made
	rm -rf $(VENV) $(PEERS) $(ACCURACY) $(ASAN) build dist docs/_build docs/generated
	rm -rf asv_benchmarks/.asv .pytest_cache .ruff_cache src/ctrain.egg-info
	find src tests examples asv_benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.so' -delete

# The one place that says what a machine must have.
define make_venv
	@test -n "$(PYTHON)" || { echo "ctrain needs Python 3.11 or newer:" \
	    "apt install python3 python3-venv python3-dev" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "ctrain needs Python 3.11 or newer; $(PYTHON) is" \
	    "$$("$(PYTHON)" --version). Name another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make virtual environments:" \
	    "apt install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig as s; \
	    sys.exit(not os.path.exists(os.path.join(s.get_paths()["include"], "Python.h")))' || \
	    { echo "$(PYTHON) comes without Python.h, which the build needs:" \
	    "apt install python3-dev" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || \
	    { echo "there is no C compiler named $(CC): apt install gcc" >&2; exit 1; }
	"$(PYTHON)" -m venv $(@D)
	@touch $@
endef

$(VENV)/made.stamp $(PEERS)/made.stamp $(ACCURACY)/made.stamp $(ASAN)/made.stamp:
	$(make_venv)

# Editable: a changed Python file needs no step, a changed native one is rebuilt alone.
EXTRAS_demo := plot
EXTRAS_test := test
EXTRAS_lint := lint
EXTRAS_docs := docs
EXTRAS_bench := bench

$(VENV)/%.stamp: $(VENV)/made.stamp $(NATIVE)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS_$*)]"
	@touch $@

$(PEERS)/peers.stamp: $(PEERS)/made.stamp $(NATIVE) asv_benchmarks/requirements-peers.txt
	$(PEERS)/bin/python -m pip install --quiet -r asv_benchmarks/requirements-peers.txt
	$(PEERS)/bin/python -m pip install --quiet --editable .
	@touch $@

$(ACCURACY)/accuracy.stamp: $(ACCURACY)/made.stamp $(NATIVE) asv_benchmarks/requirements-accuracy.txt
	$(ACCURACY)/bin/python -m pip install --quiet -r asv_benchmarks/requirements-accuracy.txt
	$(ACCURACY)/bin/python -m pip install --quiet --editable .
	@touch $@

# They build copies of the tree without pip.
$(VENV)/native.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet $$($(BIN)/python -c "import tomllib; \
	    print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'])")
	@touch $@

$(ASAN)/test.stamp: $(ASAN)/made.stamp $(NATIVE) $(shell find src -name '*.py')
	@test -f "$$($(CC) -print-file-name=libasan.so)" || \
	    { echo "$(CC) comes without libasan.so: apt install gcc, and CC=gcc" >&2; exit 1; }
	CTRAIN_SANITIZE=address,undefined $(ASAN)/bin/python -m pip install --quiet ".[test]"
	@touch $@
