"""The images that methods are shown, and their state before and after, compared bit for bit."""

import torch

from structgan.harness import same

__all__ = ["IMAGES", "same", "snapshot"]
IMAGES = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(9)) * 2 - 1


def snapshot(method):
    """A copy of all parameters and buffers that are saved."""
    return {key: value.clone() for key, value in method.state_dict().items()}
