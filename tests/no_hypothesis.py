"""Where hypothesis is not installed (a bare GPU machine), the tests that need it are skipped, not the rest."""

import sys
from unittest.mock import MagicMock

import pytest

try:
    import hypothesis  # noqa: F401
except ImportError:
    _stub = MagicMock()
    _stub.given = lambda *_, **__: pytest.mark.skip(reason="hypothesis is not installed")
    _stub.settings = _stub.example = lambda *_, **__: lambda test: test
    sys.modules["hypothesis"] = _stub
    sys.modules["hypothesis.strategies"] = _stub.strategies
