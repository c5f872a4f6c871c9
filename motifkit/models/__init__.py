"""The paper's architectures by name."""

from motifkit.models.paper import build, names

__all__ = ["build", "names"]
