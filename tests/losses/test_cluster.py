"""Nearest neighbors and their similarity against literal loops."""

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
                cosines.append((-sum(a * b for a, b in zip(query, entry, strict=True)), j))
        chosen.append([j for _, j in sorted(cosines)][skip : skip + k])
    return chosen


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize(("k", "per_process"), [(1, None), (2, 6), (3, 3), (2, 24), (5, None)])
def test_neighbors_are_the_nearest_of_the_own_group_and_the_bank(k, per_process, skip):
    """Two processes' batches in one: each sample sees its own group of the batch, and the whole bank."""
    real, fake, bank = (torch.tensor(sphere(n, 4, seed)) for n, seed in ((12, 1), (12, 2), (5, 3)))
    before, found = real.clone(), cluster.Candidates(real, bank, k, "settings", skip, per_process)
    size = min(per_process or 12, 12)
    for first in range(0, 12, size):
        rows = range(first, first + size)
        pool = torch.cat([real[rows], bank]).tolist()
        index = [*rows, *range(12, 17)]
        expected = literal_neighbors(real[rows].tolist(), pool, k, own=list(range(size)))
        assert found.of_real()[rows].tolist() == [[index[j] for j in row] for row in expected]
        expected = literal_neighbors(fake[rows].tolist(), pool, k, skip=skip)
        assert found.of_fake(fake)[rows].tolist() == [[index[j] for j in row] for row in expected]
    assert torch.equal(found.features, before) and torch.equal(real, before)


def test_too_few_candidates_and_groups_that_do_not_fit_are_refused():
    real, bank = torch.tensor(sphere(12, 4, 1)), torch.zeros(0, 4)
    cluster.Candidates(real, bank, 5, "settings", per_process=6)
    with pytest.raises(UserError, match=r"settings\.cluster\.k = 6: .* = 6"):
        cluster.Candidates(real, bank, 6, "settings", per_process=6)
    with pytest.raises(UserError, match=r"settings\.cluster\.bank = 1: .*cluster\.k = 2"):
        cluster.Candidates(real, bank.new_zeros(1, 4), 2, "settings")
    with pytest.raises(UserError, match=r"per_process = 5: .*training\.batch_size = 12"):
        cluster.Candidates(real, bank, 1, "settings", per_process=5)


def test_similarity_and_its_gradient_in_both_arguments():
    indices = RNG(0).integers(0, 7, (5, 2))

    def literal(z, pool):
        return sum(z[i, c] * pool[indices[i, j], c] for i in range(5) for j in range(2) for c in range(4)) / 10

    agree(lambda z, pool: cluster.similarity(z, pool, torch.tensor(indices)), literal, sphere(5, 4, 1), sphere(7, 4, 2))
