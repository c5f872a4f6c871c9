# Two commands do everything on a fresh machine: `make demo` and `make test`. Each is plain pip and python
# underneath; the README writes them out.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc motifkit -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test lint bench clean

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
