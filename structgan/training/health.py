"""Checks that stop a run: weights that are not finite, and features or embeddings that collapsed."""

from __future__ import annotations

import torch
from torch import Tensor

from structgan import distributed
from structgan.errors import UserError
from structgan.method import Method

COLLAPSED = 1e-5
LOOKED_AT = 64
"""Images whose features are compared."""
KEPT = "stopped, the last good state is kept in state.safetensors, where one was saved"


def check_weights(method: Method, run: object, step: int) -> None:
    """Stop before a broken state is written.

    Raises:
        UserError: a network holds a number that is not finite.
    """
    for name, value in method.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{run}: the weights '{name}' are no longer finite after step {step}; {KEPT}")


@torch.no_grad()
def check_collapse(method: Method, images: Tensor, run: object, step: int) -> None:
    """Stop if the first images all have the same features, or the same of another vector in ``collapse_vectors``.

    Shape of the images: (N, 3, H, W), uint8.

    Raises:
        UserError: their spread is below ``COLLAPSED`` of their length.
    """
    method.eval()
    watched = method.collapse_vectors(images[:LOOKED_AT].float() / 127.5 - 1)
    method.train()
    for name, vectors in watched.items():
        vectors = vectors.float()
        spread = distributed.mean(vectors.std(0).norm() / vectors.norm(dim=1).mean().clamp_min(1e-12))
        if not float(spread) > COLLAPSED:
            raise UserError(f"{run}: the {name} collapsed at step {step} (spread {float(spread):.1e}); {KEPT}")
