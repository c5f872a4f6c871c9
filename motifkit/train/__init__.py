"""Training on top of Lightning, and evaluation by torchmetrics."""
