# Two commands do everything on a fresh machine: `make demo` and `make test`. Each is plain pip and python
# underneath; the README writes them out.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc motifkit -type f -not -name '*.pyc' -not -name '*.so')

# CUDA kernels go into the installed module where there is a GPU to run them. The tests run them on the CPU and,
# where nvcc is found, compile them for every target anyway.
export MOTIFKIT_CUDA ?= $(if $(wildcard /dev/nvidia0 /dev/dxg),AUTO,OFF)

.PHONY: demo test lint bench sanitize cuda cuda-coverage clean

demo: $(VENV)/.installed
	$(BIN)/motifkit demo

test: lint
	$(BIN)/pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror tests/emulation/* \
	  $$(find csrc -name '*.h' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cu')

bench: $(VENV)/.installed-dev
	$(BIN)/pytest benchmarks --benchmark-only

# The CPU ops, from C++, under AddressSanitizer with UBSan and under ThreadSanitizer; the CUDA kernels on the CPU,
# from Python, under the first two. Run from outside the source tree, which would hide the installed module.
SANITIZE := $(abspath build/sanitize)
OP_TESTS := $(addprefix $(abspath tests)/test_,onehot_conv1d.py max_pool1d.py conv_pool.py scan.py cuda.py)
MEMORY := -fsanitize=address,undefined -fno-sanitize-recover=undefined
EMULATE = cmake -S . -DMOTIFKIT_EMULATE=ON -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
sanitize: $(VENV)/.installed-dev
	for kind in "memory $(MEMORY)" "threads -fsanitize=thread"; do \
	  set -- $$kind; folder=$(SANITIZE)/$$1; shift; \
	  cmake -S . -B $$folder -DMOTIFKIT_CPP_TESTS=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 $$*" && \
	  cmake --build $$folder --parallel && $$folder/test_ops 60 || exit 1; \
	done
	$(EMULATE) -B $(SANITIZE)/emulated -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS="-O1 -g1 $(MEMORY)"
	cmake --build $(SANITIZE)/emulated --parallel
	cd $(SANITIZE) && ASAN_OPTIONS=detect_leaks=0 MOTIFKIT_EMULATED=$(SANITIZE)/emulated \
	  LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so.6)" \
	  $(abspath $(BIN))/pytest -q -k emulated -c $(abspath pyproject.toml) --rootdir $(abspath .) $(OP_TESTS)

# Every kernel for every target, warnings as errors, against the table of registers and memory.
cuda:
	$(PYTHON) csrc/cuda/ptxas.py

# Which lines of the kernels the tests on the CPU run.
COVERAGE := $(abspath build/cuda-coverage)
cuda-coverage: $(VENV)/.installed-dev
	$(EMULATE) -B $(COVERAGE) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS="-O0 --coverage"
	cmake --build $(COVERAGE) --parallel
	find $(COVERAGE) -name '*.gcda' -delete
	MOTIFKIT_EMULATED=$(COVERAGE) $(BIN)/pytest -q -k emulated $(OP_TESTS)
	$(BIN)/gcovr --root . --filter csrc/cuda/ --merge-lines --fail-under-line 95 $(COVERAGE)

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/pip $(SOURCES)
	$(BIN)/pip install --quiet -c constraints.txt ".[all]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/pip $(SOURCES)
	$(BIN)/pip install --quiet -c constraints.txt ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build runs
