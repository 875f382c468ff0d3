"""k-means and its scores against literal loops and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from blobs import blobs
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from structgan.evaluation import cluster, features, kmeans_release


def test_separable_classes_give_accuracy_one_whatever_the_cluster_numbers() -> None:
    x, y = blobs(400, 5, 8, 12.0)
    found = cluster.kmeans(x, 5, starts=8, seed=0, max_iter=300, tol=1e-4)
    index, _ = cluster.assign(x, found.centres[None])
    table = cluster.contingency(index[:, 0], y, 5)
    assert int(table.gather(1, cluster.match(table)[:, None]).sum()) == 400
    assert cluster.mutual_information(table) == pytest.approx(1.0)
    assert found.converged
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = cluster.contingency(permutation[y], y, 5)
    assert cluster.match(permuted)[permutation].tolist() == [0, 1, 2, 3, 4]


def test_the_matching_is_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = torch.from_numpy(rng.integers(0, 20, (5, 5)))
        best = max(sum(int(table[i, p[i]]) for i in range(5)) for p in itertools.permutations(range(5)))
        mapping = cluster.match(table)
        assert sorted(mapping.tolist()) == list(range(5))
        assert int(table.gather(1, mapping[:, None]).sum()) == best


def test_assignment_is_the_nearest_centre() -> None:
    x, centres = torch.randn(50, 4), torch.randn(3, 6, 4)
    index, distance = cluster.assign(x, centres)
    for n, s in itertools.product(range(50), range(3)):
        distances = [float((x[n] - c).square().sum()) for c in centres[s]]
        assert int(index[n, s]) == int(np.argmin(distances))
        assert float(distance[n, s]) == pytest.approx(min(distances), abs=1e-4)


def test_lloyd_is_scikit_learns_from_the_same_centres() -> None:
    x, _ = blobs(500, 6, 10, 0.6)
    starts = torch.stack([x[:6], x[6:12], x[100:106]])
    found = cluster.lloyd(x, starts, max_iter=300, tol=0.0)
    inertias = []
    for start in starts:
        reference = KMeans(6, init=start.numpy(), n_init=1, tol=0.0).fit(x.numpy())
        inertias.append(reference.inertia_)
    assert found.inertia == pytest.approx(min(inertias), rel=1e-4)
    best = KMeans(6, init=starts[int(np.argmin(inertias))].numpy(), n_init=1, tol=0.0).fit(x.numpy())
    np.testing.assert_allclose(found.centres.numpy(), best.cluster_centers_, atol=1e-3)


@pytest.mark.parametrize("most", [0.0, 1.0], ids=["all samples", "those in doubt"])
def test_samples_that_are_skipped_could_not_have_moved(monkeypatch: pytest.MonkeyPatch, most: float) -> None:
    """Against plain iterations, from several starts that need different numbers of them."""
    monkeypatch.setattr(cluster, "MOST", most)
    x, _ = blobs(700, 9, 12, 0.5)
    starts = torch.stack([x[9 * i : 9 * i + 9] for i in range(5)])
    ends = []
    for start in starts:
        centres = start.clone()
        for _ in range(300):
            index, _ = cluster.assign(x, centres[None])
            moved = torch.stack([x[index[:, 0] == j].mean(dim=0) for j in range(9)])
            if torch.equal(moved, centres):
                break
            centres = moved
        ends.append(float(cluster.assign(x, centres[None])[1].sum()))
    found = cluster.lloyd(x, starts, max_iter=300, tol=0.0)
    assert found.converged and found.inertia == pytest.approx(min(ends), rel=1e-6)
    search = cluster.Search(x, starts)
    every = torch.arange(5)
    for _ in range(6):
        search.step(every)
        search.reassign(every)
        index, distance = cluster.assign(x, search.centres)
        assert torch.equal(search.index, index)
        assert bool((search.near**2 >= distance - 1e-3).all())
        torch.testing.assert_close(search.sums, cluster.totals(x, index, 9), rtol=1e-4, atol=1e-3)


def test_kmeans_is_as_good_as_scikit_learns_and_repeats_itself() -> None:
    x, _ = blobs(800, 8, 12, 1.0)
    x = features.normalise(x)
    found = cluster.kmeans(x, 8, starts=10, seed=3, max_iter=300, tol=1e-4)
    reference = KMeans(8, n_init=10, random_state=0).fit(x.numpy())
    assert found.inertia <= 1.01 * reference.inertia_
    assert torch.equal(found.centres, cluster.kmeans(x, 8, starts=10, seed=3, max_iter=300, tol=1e-4).centres)


def test_an_empty_cluster_moves_to_the_farthest_sample() -> None:
    x = torch.tensor([[0.0], [0.1], [0.2], [9.0]])
    index = torch.zeros(4, 1, dtype=torch.int64)
    centres = cluster.means(x, cluster.totals(x, index, 2)[0], index[:, 0], torch.tensor([[0.1], [1000.0]]))
    assert centres[1].item() == 9.0
    assert cluster.lloyd(x, torch.tensor([[[0.1], [1000.0]]]), max_iter=300, tol=1e-4).inertia == pytest.approx(
        0.02, abs=1e-4
    )


def test_mutual_information_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.3, 1.0):
        y = rng.integers(0, 6, 300)
        c = np.where(rng.random(300) < noise, rng.integers(0, 6, 300), y)
        table = cluster.contingency(torch.from_numpy(c), torch.from_numpy(y), 6)
        expected = normalized_mutual_info_score(y, c)
        assert cluster.mutual_information(table) == pytest.approx(expected, abs=1e-9)


def test_kmeans_of_the_release_has_unit_centres_that_are_normalised_means() -> None:
    """A fixed point of its iteration on vectors of any length, and the start with the least mean distance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 6, generator=generator) * (1 + torch.arange(300) % 3)[:, None]
    found = kmeans_release.kmeans(x, 4, starts=5, seed=1, max_iter=300, tol=1e-6)
    assert found.converged and torch.allclose(found.centres.norm(dim=1), torch.ones(4))
    distances = torch.cdist(x, found.centres)
    index = distances.argmin(1)
    assert (index == (x @ found.centres.T).argmax(1)).all()  # the centres are of one length: the cosine decides
    for c in range(4):
        mean = x[index == c].mean(0)
        assert torch.allclose(found.centres[c], mean / mean.norm(), atol=1e-4)
    assert found.inertia == pytest.approx(distances.min(1).values.mean().item(), rel=1e-5)
    alone = [kmeans_release.kmeans(x, 4, starts=n, seed=1, max_iter=300, tol=1e-6).inertia for n in (1, 5)]
    assert found.inertia == alone[1] <= alone[0]


def test_kmeans_of_the_release_finds_directions() -> None:
    x, y = blobs(200, 5, 16, 6.0)
    found = kmeans_release.kmeans(x, 5, starts=5, seed=0, max_iter=300, tol=1e-6)
    table = cluster.contingency(cluster.assign(x, found.centres[None])[0][:, 0], y, 5)
    assert table.gather(1, cluster.match(table)[:, None]).sum() == 200
    with pytest.raises(ValueError, match="4 samples cannot make 5 clusters"):
        kmeans_release.kmeans(x[:4], 5, 5, 0, 10, 1e-6)
