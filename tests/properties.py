"""hypothesis, or, where it is not installed (a bare GPU machine), names that skip the tests that need it."""

from unittest.mock import MagicMock

import pytest

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:
    HealthCheck = st = MagicMock()

    def given(*_, **__):
        return pytest.mark.skip(reason="hypothesis is not installed")

    def settings(*_, **__):
        return lambda test: test


__all__ = ["HealthCheck", "given", "settings", "st"]
