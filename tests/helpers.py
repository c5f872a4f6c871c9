"""Inputs that several tests draw: always from a generator on the CPU, then moved to `device`."""

import torch


def random_codes(batch, length, generator, letters=5, device="cpu"):
    """Codes with N among them, as a slice of a larger tensor: rows are not next to each other."""
    wide = torch.randint(0, letters, (batch, length + 3), generator=generator, dtype=torch.uint8)
    return wide.to(device)[:, 1 : length + 1]


def integer_weight(filters, width, generator, dtype=torch.float32, device="cpu"):
    """Small integers: every partial sum is exact in float32, whatever the order."""
    return torch.randint(-4, 5, (filters, 4, width), generator=generator).to(device, dtype)
