"""The memory bank as a queue, and the averages that follow a network."""

from __future__ import annotations

from collections import deque

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import seeded
from torch import nn

from structgan.models.memory import MemoryBank, ema_update_, frozen_copy


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=seeded(seed)), dim=1)


@pytest.mark.parametrize("batches", [[2, 2], [3, 3, 3], [5], [2, 5, 4], [12], [3, 13, 2]])
def test_memory_bank_is_first_in_first_out(batches):
    """Against a queue of bounded length, wrap-around and batches larger than the bank included."""
    torch.manual_seed(0)
    bank = MemoryBank(5, features=4, embedding=3)
    queue = deque(zip(bank.features.tolist(), bank.embeddings.tolist(), strict=True), maxlen=5)
    assert torch.allclose(bank.features.norm(dim=1), torch.ones(5))
    assert torch.allclose(bank.embeddings.norm(dim=1), torch.ones(5))
    for seed, size in enumerate(batches):
        features, embeddings = unit(size, 4, seed), unit(size, 3, seed + 100)
        bank.push(features, embeddings)
        queue.extend(zip(features.tolist(), embeddings.tolist(), strict=True))
    start = int(bank.position)
    order = [(start + i) % 5 for i in range(5)]  # oldest first
    assert [(bank.features[i].tolist(), bank.embeddings[i].tolist()) for i in order] == list(queue)


def test_memory_bank_of_size_0_stays_empty():
    bank = MemoryBank(0, 4, 3)
    bank.push(unit(2, 4, 0), unit(2, 3, 1))
    assert bank.features.shape == (0, 4) and bank.embeddings.shape == (0, 3)


def test_follow_averages_parameters_and_copies_buffers():
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
    assert torch.equal(average[1].running_mean, module[1].running_mean) and average[1].running_mean.abs().max() > 0
    assert average[1].num_batches_tracked == 1


def test_two_followers_of_a_constant_converge_to_it():
    module = nn.Linear(2, 2)
    average = frozen_copy(module)
    nn.init.constant_(module.weight, 5.0)
    for _ in range(400):
        ema_update_(average, module, 0.95)
    assert torch.allclose(average.weight, module.weight, atol=1e-5)
