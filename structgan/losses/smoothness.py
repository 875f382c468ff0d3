"""Smoothness: the spectral norm of the embedding's Jacobian in the image is held near 1.

sigma(x) = |J v| with v = J^T u / |J^T u| from a random u (one power iteration; more repeat the pair). v is a constant,
so that d sigma / d theta = (J v / |J v|)^T (dJ/d theta) v. Samples do not interact, so one Jacobian-vector product of
the whole batch gives the value and the gradient of the per-sample form.
"""

import torch
from torch import Tensor

from structgan.precision import exact


def right_vector(embeddings: Tensor, images: Tensor, left: Tensor) -> Tensor:
    """v = J^T u / |J^T u| of each sample, detached. The backward pass leaves the autocast of a step.

    Shape: embeddings (N, C) with a graph to the images (N, 3, H, W), and u of any length (N, C), to (N, 3, H, W).
    """
    with torch.autocast(images.device.type, enabled=False):
        # of a scalar: given a vector, PyTorch imports its symbolic algebra, a third of the start of a job
        vector: Tensor = torch.autograd.grad((embeddings * left).sum(), images, retain_graph=True)[0]
    norm = vector.flatten(1).norm(dim=1).clamp_min(torch.finfo(vector.dtype).tiny)
    direction: Tensor = (vector / norm.view(-1, 1, 1, 1)).detach()
    return direction


@exact
def penalty(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """L_reg = mean (sigma - 1)^2 and each sigma = |J v|. Shape: J v (N, C), to a scalar at least 0 and (N,)."""
    sigma = tangents.norm(dim=1)
    return (sigma - 1).square().mean(), sigma
