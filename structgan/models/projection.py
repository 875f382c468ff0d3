"""The projection head of SimCLR and of what follows its recipe: it is trained with the encoder and then thrown away."""

from __future__ import annotations

from torch import nn


def simclr_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear, batch norm; no biases, since a norm follows (solo-learn's and lightly's head).

    Shape: (N, inputs) to (N, outputs).
    """
    first, second = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), second, nn.BatchNorm1d(outputs))
