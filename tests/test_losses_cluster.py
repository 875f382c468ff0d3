"""Nearest neighbors and their similarity against literal loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradcheck import RNG, agree, sphere

from structgan.errors import UserError
from structgan.losses import cluster


def literal_neighbors(queries, pool, k, own=None, skip=0):
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
def test_neighbors_are_the_nearest_of_batch_and_bank(k, skip, exclude):
    batch, bank = sphere(12, 5, 1), sphere(9, 5, 2)
    pool = np.concatenate([batch, bank])
    own = list(range(12)) if exclude else None
    excluded = torch.eye(12, dtype=torch.bool) if exclude else None
    found = cluster.neighbors(torch.tensor(batch), torch.tensor(pool), k, excluded, skip=skip)
    assert found.tolist() == literal_neighbors(batch, pool, k, own, skip)
    if not exclude and skip == 0:
        assert found[:, 0].tolist() == list(range(12))  # itself, were it not left out
    if exclude:
        assert all(i not in row for i, row in enumerate(found.tolist()))
        assert (found >= 12).any() and (found < 12).any()  # neighbors come from the bank and from the batch


def test_neighbors_change_neither_queries_nor_pool():
    batch = torch.tensor(sphere(4, 3, 1))
    before = batch.clone()
    cluster.neighbors(batch, batch, 1, torch.eye(4, dtype=torch.bool))
    assert torch.equal(batch, before)


@pytest.mark.parametrize("per_process", [None, 6, 3, 24])
def test_candidates_of_a_batch_are_those_of_its_own_group(per_process):
    """Two processes' batches in one: each sample sees its own group of the batch, and the whole bank."""
    real, fake, bank = (torch.tensor(sphere(n, 4, seed)) for n, seed in ((12, 1), (12, 2), (5, 3)))
    found = cluster.Candidates(real, bank, 2, "settings", skip=1, per_process=per_process)
    size = min(per_process or 12, 12)
    for first in range(0, 12, size):
        rows = range(first, first + size)
        pool = torch.cat([real[rows], bank])
        index = [*rows, *range(12, 17)]
        expected = literal_neighbors(real[rows].tolist(), pool.tolist(), 2, own=list(range(size)))
        assert found.of_real()[rows].tolist() == [[index[j] for j in row] for row in expected]
        expected = literal_neighbors(fake[rows].tolist(), pool.tolist(), 2, skip=1)
        assert found.of_fake(fake)[rows].tolist() == [[index[j] for j in row] for row in expected]
    assert torch.equal(found.features, real)


def test_too_few_candidates_and_groups_that_do_not_fit_are_refused():
    real, bank = torch.tensor(sphere(12, 4, 1)), torch.zeros(0, 4)
    cluster.Candidates(real, bank, 5, "settings", per_process=6)
    with pytest.raises(UserError, match=r"settings\.cluster\.k = 6: must be less than images of a process .* = 6"):
        cluster.Candidates(real, bank, 6, "settings", per_process=6)
    with pytest.raises(UserError, match=r"per_process = 5: must divide training\.batch_size = 12"):
        cluster.Candidates(real, bank, 1, "settings", per_process=5)


def test_similarity_and_its_gradient_in_both_arguments():
    indices = RNG(0).integers(0, 7, (5, 2))

    def literal(z, pool):
        total = 0.0
        for i in range(5):
            for j in range(2):
                total += sum(z[i, c] * pool[indices[i, j], c] for c in range(4))
        return total / 10

    agree(lambda z, pool: cluster.similarity(z, pool, torch.tensor(indices)), literal, sphere(5, 4, 1), sphere(7, 4, 2))
