"""Which training samples keep their label in the probes with few labels."""

from __future__ import annotations

import torch
from torch import Tensor


def subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Indices of a stratified random subset: of each class the given fraction, rounded, and at least one sample.

    The subset depends on the labels, the fraction and the seed only, so that all encoders are given the same one.

    Args:
        labels: Shape: (N,), int64. fraction: in (0, 1].

    Returns:
        Shape: (n,), int64, ascending, on the labels' device.

    Raises:
        ValueError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction} is not in (0, 1]")
    generator = torch.Generator().manual_seed(seed)
    host, kept = labels.cpu(), []
    for label in torch.bincount(host).nonzero().flatten().tolist():
        members = (host == label).nonzero().flatten()
        count = max(1, round(fraction * len(members)))
        kept.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(kept).sort().values.to(labels.device)
