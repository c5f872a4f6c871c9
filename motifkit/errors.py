"""The error that says what is wrong with an input and what to do about it."""

import importlib
from types import ModuleType


class InputError(ValueError):
    """Bad input: the message names the file or argument, the record, and the remedy.

    The `motifkit` command prints it on one line and exits with status 2.
    """


class MissingDependencyError(ImportError):
    """An optional library is needed and not installed; the message names the extra to install."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say which extra of motifkit brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} cannot be imported ({error}); install it with: pip install 'motifkit[{extra}]'"
        ) from error
