"""k-means against literal loops and scikit-learn, the release's variant, and the matching of clusters with classes."""

import itertools

import numpy as np
import pytest
import torch
from blobs import blobs
from sklearn.cluster import KMeans

from structgan.evaluation import features, kmeans, probe


@pytest.mark.parametrize("most", [0.0, 1.0], ids=["all samples", "uncertain samples"])
def test_iterations_are_scikit_learns_from_the_same_centers(monkeypatch: pytest.MonkeyPatch, most: float) -> None:
    """From several starts that need different numbers of iterations; samples that are skipped could not have moved."""
    monkeypatch.setattr(kmeans, "MOST", most)
    x, _ = blobs(700, 9, 12, 0.5)
    starts = torch.stack([x[9 * i : 9 * i + 9] for i in range(5)])
    fits = [KMeans(9, init=start.numpy(), n_init=1, tol=0.0).fit(x.numpy()) for start in starts]
    best = min(fits, key=lambda fit: fit.inertia_)
    found = kmeans.lloyd(x, starts, max_iter=300, tol=0.0)
    assert found.converged and found.inertia == pytest.approx(best.inertia_, rel=1e-5)
    np.testing.assert_allclose(found.centers.numpy(), best.cluster_centers_, atol=1e-3)
    search = kmeans.Search(x, starts[0])
    for _ in range(6):
        search.step()
        search.reassign()
        index, distance = (found[:, 0] for found in kmeans.assign(x, search.centers[None]))
        assert torch.equal(search.index, index) and bool((search.near**2 >= distance - 1e-3).all())
        torch.testing.assert_close(search.sums, kmeans.totals(x, index, 9), rtol=1e-4, atol=1e-3)


def test_kmeans_is_as_good_as_scikit_learns_and_repeats_itself() -> None:
    x, _ = blobs(800, 8, 12, 1.0)
    x = features.normalize(x)
    found, again = (kmeans.kmeans(x, 8, starts=10, seed=3, max_iter=300, tol=1e-4) for _ in range(2))
    reference = KMeans(8, n_init=10, random_state=0).fit(x.numpy())
    assert found.inertia <= 1.01 * reference.inertia_ and torch.equal(found.centers, again.centers)


def test_an_empty_cluster_moves_to_the_farthest_sample() -> None:
    x = torch.tensor([[0.0], [0.1], [0.2], [9.0]])
    starts = torch.tensor([[[0.1], [1000.0]]])
    index = torch.zeros(4, dtype=torch.int64)
    assert kmeans.means(x, kmeans.totals(x, index, 2), index, starts[0])[1].item() == 9.0
    assert kmeans.lloyd(x, starts, max_iter=300, tol=1e-4).inertia == pytest.approx(0.02, abs=1e-4)


def test_the_matching_is_the_best_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        clusters, labels = torch.randint(0, 5, (2, 60), generator=generator)
        hits = max(
            int((torch.tensor(permutation)[clusters] == labels).sum())
            for permutation in itertools.permutations(range(5))
        )
        mapping = probe.match(clusters, labels, 5)
        assert sorted(mapping.tolist()) == list(range(5)) and int((mapping[clusters] == labels).sum()) == hits


def test_unit_centers_are_normalized_means_and_the_best_start_has_the_least_mean_distance() -> None:
    """A fixed point of the release's iteration, on vectors of any length."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 6, generator=generator) * (1 + torch.arange(300) % 3)[:, None]
    one, found = (kmeans.kmeans_unit(x, 4, starts=n, seed=1, max_iter=300, tol=1e-6) for n in (1, 5))
    assert found.converged and torch.allclose(found.centers.norm(dim=1), torch.ones(4))
    distances = torch.cdist(x, found.centers)
    index = distances.argmin(1)
    for c in range(4):
        mean = x[index == c].mean(0)
        assert torch.allclose(found.centers[c], mean / mean.norm(), atol=1e-4)
    assert found.inertia == pytest.approx(distances.min(1).values.mean().item(), rel=1e-5)
    assert found.inertia <= one.inertia


@pytest.mark.parametrize("algorithm", [kmeans.kmeans, kmeans.kmeans_unit])
def test_separable_classes_are_found_and_too_few_samples_refused(algorithm) -> None:
    x, y = blobs(400, 5, 16, 12.0)
    found = algorithm(x, 5, 8, 0, 300, 1e-6)
    clusters = kmeans.assign(x, found.centers[None])[0][:, 0]
    assert torch.equal(probe.match(clusters, y, 5)[clusters], y)
    with pytest.raises(ValueError, match="4 samples cannot make 5 clusters"):
        algorithm(x[:4], 5, 5, 0, 10, 1e-6)
