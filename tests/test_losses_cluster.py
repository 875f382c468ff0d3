"""Nearest neighbours and their similarity against literal loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import RNG, agree, sphere

from structgan.losses import cluster


def literal_neighbours(queries, pool, k, own=None, skip=0):
    chosen = []
    for i, query in enumerate(queries):
        cosines = []
        for j, entry in enumerate(pool):
            if own is None or own[i] != j:
                dot = sum(a * b for a, b in zip(query, entry, strict=True))
                cosines.append((-dot, j))
        chosen.append([j for _, j in sorted(cosines)][skip : skip + k])
    return chosen


@pytest.mark.parametrize("k", [1, 3, 19])
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("exclude", [True, False])
def test_neighbours_are_the_nearest_of_batch_and_bank(k, skip, exclude):
    batch, bank = sphere(12, 5, 1), sphere(9, 5, 2)
    pool = np.concatenate([batch, bank])
    own = list(range(12)) if exclude else None
    found = cluster.neighbours(
        torch.tensor(batch), torch.tensor(pool), k, own=torch.tensor(own) if exclude else None, skip=skip
    )
    assert found.tolist() == literal_neighbours(batch, pool, k, own, skip)
    if not exclude and skip == 0:
        assert found[:, 0].tolist() == list(range(12))  # itself, were it not left out
    if exclude:
        assert all(i not in row for i, row in enumerate(found.tolist()))
        assert (found >= 12).any() and (found < 12).any()  # neighbours come from the bank and from the batch


def test_neighbours_change_neither_queries_nor_pool():
    batch = torch.tensor(sphere(4, 3, 1))
    before = batch.clone()
    cluster.neighbours(batch, batch, 1, own=torch.arange(4))
    assert torch.equal(batch, before)


def test_similarity_and_its_gradient_in_both_arguments():
    indices = RNG(0).integers(0, 7, (5, 2))

    def literal(z, pool):
        total = 0.0
        for i in range(5):
            for j in range(2):
                total += sum(z[i, c] * pool[indices[i, j], c] for c in range(4))
        return total / 10

    agree(lambda z, pool: cluster.similarity(z, pool, torch.tensor(indices)), literal, sphere(5, 4, 1), sphere(7, 4, 2))
