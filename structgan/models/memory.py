"""State beside the weights: the memory bank of earlier real samples, and moving averages."""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class MemoryBank(nn.Module):
    """The last ``size`` pairs (EMA feature, embedding) of real samples, first in first out.

    It starts with random unit vectors. Shape: features (size, D) and embeddings (size, C), unit vectors.
    """

    features: Tensor
    embeddings: Tensor
    position: Tensor

    def __init__(self, size: int, features: int, embedding: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("features", F.normalize(torch.randn(size, features), dim=1))
        self.register_buffer("embeddings", F.normalize(torch.randn(size, embedding), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, features: Tensor, embeddings: Tensor) -> None:
        """Store a batch in place of the oldest entries. Shape: (N, D) and (N, C), unit vectors."""
        if self.size == 0:
            return
        features, embeddings = features[-self.size :], embeddings[-self.size :]
        slots = (self.position + torch.arange(len(features), device=self.features.device)) % self.size
        self.features[slots] = features.to(self.features.dtype)
        self.embeddings[slots] = embeddings.to(self.embeddings.dtype)
        self.position.copy_((self.position + len(features)) % self.size)


def frozen_copy(module: M) -> M:
    """A copy without gradients, in evaluation mode, for ``ema_update_``."""
    return copy.deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def ema_update_(average: nn.Module, module: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * module for parameters; buffers (batch-norm statistics) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    mine, theirs = list(average.buffers()), list(module.buffers())
    for dtype in {buffer.dtype for buffer in mine}:  # a GPU copies tensors of one type at once
        same = [index for index, buffer in enumerate(mine) if buffer.dtype == dtype]
        torch._foreach_copy_([mine[index] for index in same], [theirs[index] for index in same])
