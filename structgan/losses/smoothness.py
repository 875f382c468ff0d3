"""Smoothness: the spectral norm of the embedding's Jacobian in the image is held near 1.

sigma(x) = |J v| with v = J^T u / |J^T u| from a random u (one power iteration; more repeat the pair). v is a constant,
so that d sigma / d theta = (J v / |J v|)^T (dJ/d theta) v: one Jacobian-vector product of the whole batch gives the
number and the gradient that a per-sample form gives, because samples do not interact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from structgan.precision import exact


def right_vector(embeddings: Tensor, images: Tensor, left: Tensor) -> Tensor:
    """v = J^T u / |J^T u| of each sample, without a graph of its own; the backward pass leaves the autocast of a step.

    Args:
        embeddings: e = P(E(images)), with a graph back to ``images``. Shape: (N, C).
        images: the input, requiring grad. Shape: (N, 3, H, W), values in [-1, 1].
        left: u, any length. Shape: (N, C).

    Returns:
        Unit vectors in image space. Shape: (N, 3, H, W).
    """
    with torch.autocast(images.device.type, enabled=False):
        vector: Tensor = torch.autograd.grad(embeddings, images, left, retain_graph=True)[0]
    norm = vector.flatten(1).norm(dim=1).clamp_min(torch.finfo(vector.dtype).tiny)
    direction: Tensor = (vector / norm.view(-1, 1, 1, 1)).detach()
    return direction


@exact
def penalty(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """L_reg = mean (sigma - 1)^2 with sigma = |J v|.

    Args:
        tangents: J v of each sample. Shape: (N, C).

    Returns:
        The loss, a scalar at least 0, and sigma of each sample, shape (N,).
    """
    sigma = tangents.norm(dim=1)
    return (sigma - 1).square().mean(), sigma
