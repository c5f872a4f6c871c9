# Two commands do everything on a fresh machine: `make demo` and `make test`. Each is plain pip and python
# underneath; the README writes them out.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc motifkit -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test lint bench sanitize clean

demo: $(VENV)/.installed
	$(BIN)/motifkit demo

test: lint
	$(BIN)/pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(find csrc -name '*.h' -o -name '*.cpp' -o -name '*.inl')

bench: $(VENV)/.installed-dev
	$(BIN)/pytest benchmarks --benchmark-only

# The compiled module under AddressSanitizer, through the tests of the ops. Run from outside the source tree,
# which would hide the module built here.
SANITIZE := $(abspath build/sanitize)
OP_TESTS := $(addprefix $(abspath tests)/test_,onehot_conv1d.py max_pool1d.py conv_pool.py scan.py)
sanitize: $(VENV)/.installed-dev
	cmake -S . -B $(SANITIZE) -DCMAKE_BUILD_TYPE=Debug -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
	  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	  -DCMAKE_CXX_FLAGS="-fsanitize=address -fno-omit-frame-pointer -g0"
	cmake --build $(SANITIZE) --parallel
	mkdir -p $(SANITIZE)/package
	cp -r motifkit $(SANITIZE)/package/
	cp $(SANITIZE)/_C*.so $(SANITIZE)/package/motifkit/
	cd $(SANITIZE) && PYTHONPATH=$(SANITIZE)/package ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so.6)" \
	  $(abspath $(BIN))/pytest -q -c $(abspath pyproject.toml) --rootdir $(abspath .) $(OP_TESTS)

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
