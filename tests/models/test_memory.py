"""The memory bank as a queue, and the averages that follow a network."""

from collections import deque

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import seeded
from torch import nn

from structgan.models.memory import MemoryBank, ema_update_, frozen_copy


@pytest.mark.parametrize("batches", [[2, 2], [3, 3, 3], [5], [2, 5, 4], [12], [3, 13, 2]])
def test_memory_bank_is_first_in_first_out(batches):
    """Against a queue of bounded length, wrap-around and batches larger than the bank included."""
    torch.manual_seed(0)
    bank, empty = MemoryBank(5, features=4, embedding=3), MemoryBank(0, features=4, embedding=3)
    queue = deque(zip(bank.features.tolist(), bank.embeddings.tolist(), strict=True), maxlen=5)
    for stored in (bank.features, bank.embeddings):
        assert torch.allclose(stored.norm(dim=1), torch.ones(5))
    for seed, size in enumerate(batches):
        pair = [F.normalize(torch.randn(size, d, generator=seeded(seed + d)), dim=1) for d in (4, 3)]
        bank.push(*pair)
        empty.push(*pair)
        queue.extend(zip(*(part.tolist() for part in pair), strict=True))
    oldest_first = [(int(bank.position) + i) % 5 for i in range(5)]
    assert [(bank.features[i].tolist(), bank.embeddings[i].tolist()) for i in oldest_first] == list(queue)
    assert empty.features.shape == (0, 4) and empty.embeddings.shape == (0, 3)


def test_averages_follow_parameters_and_copy_buffers():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = frozen_copy(module)
    assert not any(p.requires_grad for p in average.parameters()) and not average.training
    old = [p.clone() for p in average.parameters()]
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1.0)
    module(torch.randn(8, 3))
    ema_update_(average, module, 0.9)
    for before, mine, theirs in zip(old, average.parameters(), module.parameters(), strict=True):
        assert torch.allclose(mine, 0.9 * before + 0.1 * theirs)
    assert all(map(torch.equal, average.buffers(), module.buffers())) and average[1].num_batches_tracked == 1
