"""Clusters that are found again: their ids stay with the samples, whatever the features have become."""

import itertools

import pytest
import torch
from blobs import blobs
from tiny_networks import seeded

from structgan.models.clusters import Clusters, induced_means, kept_ids

K, N, D = 5, 150, 6


@pytest.fixture
def found():
    """Clusters of far-apart blobs after the first fit, the features and the blobs that they are of."""
    features, labels = blobs(N, K, D, distance=8.0)
    clusters = Clusters(K, N, D, starts=5, max_iter=100, tol=1e-4)
    clusters.fit(features, seeded())
    return clusters, features, labels


def test_the_first_fit_finds_the_blobs_and_their_means(found):
    clusters, features, labels = found
    assert len(set(zip(clusters.ids.tolist(), labels.tolist(), strict=True))) == K
    for k in range(K):
        assert torch.allclose(clusters.centers[k], features[clusters.ids == k].mean(0), atol=1e-4)
    assert torch.equal(clusters.nearest(features), clusters.ids)
    assert clusters.counts().tolist() == [N // K] * K and clusters.fits == 1


@pytest.mark.parametrize("seed", range(2))
def test_ids_survive_new_features_of_the_same_partition(found, seed):
    """Turned, scaled and shifted features: all centers are others, and every sample keeps its id."""
    clusters, features, _ = found
    before, centers = clusters.ids.clone(), clusters.centers.clone()
    turn = torch.linalg.qr(torch.randn(D, D, generator=seeded(seed)))[0]
    clusters.fit(3 * features @ turn - 7, seeded(seed))
    assert torch.equal(clusters.ids, before) and clusters.fits == 2
    assert torch.allclose(clusters.centers, 3 * centers @ turn - 7, atol=1e-3)


def test_ids_survive_where_some_samples_change_their_cluster(found):
    """A tenth of the samples goes over to other blobs: the rest keep their ids, and those take the blob's."""
    clusters, features, _ = found
    expected, moved = clusters.ids.clone(), torch.arange(0, N, 10)
    features[moved], expected[moved] = features[moved + 1], clusters.ids[moved + 1]
    clusters.fit(features, seeded(1))
    assert torch.equal(clusters.ids, expected)


def test_an_empty_cluster_starts_from_a_sample_and_is_filled(found):
    clusters, features, _ = found
    before = clusters.ids.clone()
    clusters.ids[clusters.ids == 2] = 0
    clusters.fit(features, seeded(3))
    assert (clusters.counts() > 0).all() and all(torch.equal(clusters.ids == k, before == k) for k in (1, 3, 4))


def test_means_of_old_clusters_are_those_of_a_loop_and_an_empty_one_is_a_sample():
    features, ids = torch.randn(9, 3, generator=seeded()), torch.tensor([0, 0, 3, 3, 3, 1, 1, 0, 3])
    means = induced_means(features, ids, 4, seeded(8))
    for k in (0, 1, 3):
        rows = [features[i] for i in range(9) if ids[i] == k]
        assert torch.allclose(means[k], sum(rows) / len(rows))
    assert (features == means[2]).all(1).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_match_is_the_best_of_all_permutations(seed):
    new, old = torch.randint(4, (2, 40), generator=seeded(seed))
    keeping = {p: int((torch.tensor(p)[new] == old).sum()) for p in itertools.permutations(range(4))}
    assert keeping[tuple(kept_ids(new, old, 4).tolist())] == max(keeping.values())
