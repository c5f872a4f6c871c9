"""Examples in docstrings run; public names have docstrings with one; the README's names exist."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import motifkit as mk

ROOT = Path(__file__).parent.parent
OPTIONAL = {"motifkit.train.lightning_parts": "lightning"}
MODULES = [m.name for m in pkgutil.walk_packages(mk.__path__, "motifkit.") if m.name != "motifkit._C"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


PLAIN = {"models", "nn", "ops", "FitResult", "InputError"}  # modules, and what needs no example


@pytest.mark.parametrize("name", sorted(set(mk.__all__) - PLAIN))
def test_public_names_show_an_example(name):
    assert ">>>" in inspect.getdoc(getattr(mk, name))


def test_names_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    for path in set(re.findall(r"\bmk\.([a-zA-Z_.0-9]+[a-zA-Z_0-9])", text)):
        target = mk
        for part in path.split("."):
            target = getattr(target, part)


def test_python_in_the_readme_is_python():
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL):
        compile(block, "README.md", "exec")
