"""Layers on the ops, with torch.nn's argument names, parameters and state_dict keys."""

from motifkit.nn.accelerate import restore
from motifkit.nn.deep_block import Dropout
from motifkit.nn.layers import ConvPool, Exp, MaxPool1d, OneHotConv1d

__all__ = ["ConvPool", "Dropout", "Exp", "MaxPool1d", "OneHotConv1d", "restore"]
