"""Each loss and its gradient against a literal NumPy loop of its equation, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from structgan.losses import adversarial, cluster, gaussian, smoothness

EPSILON = 0.5
RNG = np.random.default_rng


def sphere(n, c, seed, shift=0.0):
    """Unit vectors that lean towards the first axis. Shape: (n, c)."""
    z = RNG(seed).normal(size=(n, c))
    z[:, 0] += shift
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def finite_differences(function, x, h=1e-6):
    """Central differences of a scalar function of an array."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (function(up) - function(down)) / (2 * h)
    return gradient


def agree(ours, literal, *arrays, tolerance=2e-7):
    """Value and gradient in every array of our torch function against a NumPy function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = ours(*tensors)
    assert value.ndim == 0 and value.dtype == torch.float64
    np.testing.assert_allclose(value.item(), literal(*arrays), rtol=1e-10, atol=1e-12)
    gradients = torch.autograd.grad(value, tensors)
    for i, gradient in enumerate(gradients):
        expected = finite_differences(lambda x, i=i: literal(*arrays[:i], x, *arrays[i + 1 :]), arrays[i])
        assert np.abs(expected).max() > 1e-6  # a gradient that is zero would prove nothing
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-5, atol=tolerance)


def literal_statistics(z):
    n, c = z.shape
    mean = [sum(z[s, i] for s in range(n)) / n for i in range(c)]
    length = math.sqrt(sum(m * m for m in mean))
    mu = np.array([m / length for m in mean])
    sigma = np.zeros((c, c))
    for i in range(c):
        for j in range(c):
            for s in range(n):
                sigma[i, j] += (z[s, i] - mu[i]) * (z[s, j] - mu[j]) / n
    return mu, sigma


def literal_rate(sigma):
    c = len(sigma)
    return sum(math.log(1 + c / EPSILON * value) for value in np.linalg.eigvalsh(sigma))


def literal_jsd(real, fake):
    mixed = literal_statistics(np.concatenate([real, fake]))[1]
    parts = [literal_rate(literal_statistics(z)[1]) for z in (real, fake)]
    return 0.5 * (literal_rate(mixed) - 0.5 * (parts[0] + parts[1]))


def blurred(z):
    mu, sigma = literal_statistics(z)
    return mu, sigma + EPSILON / len(sigma) * np.eye(len(sigma))


def literal_bhattacharyya(real, fake):
    """The textbook distance of two Gaussians, N(mu, Sigma + I/alpha) each."""
    (mu_r, s_r), (mu_f, s_f) = blurred(real), blurred(fake)
    middle = (s_r + s_f) / 2
    between = mu_r - mu_f
    determinants = [np.linalg.det(s) for s in (middle, s_r, s_f)]
    mean_term = between @ np.linalg.inv(middle) @ between / 8
    return mean_term + 0.5 * math.log(determinants[0] / math.sqrt(determinants[1] * determinants[2]))


def literal_wasserstein(real, fake):
    (mu_r, s_r), (mu_f, s_f) = blurred(real), blurred(fake)
    root = scipy.linalg.sqrtm(s_r).real
    cross = scipy.linalg.sqrtm(root @ s_f @ root).real
    return float(((mu_r - mu_f) ** 2).sum() + np.trace(s_r + s_f - 2 * cross))


LITERAL = {"jsd": literal_jsd, "bhattacharyya": literal_bhattacharyya, "wasserstein": literal_wasserstein}


def test_every_form_has_a_literal_twin():
    assert set(gaussian.FORMS) == set(LITERAL)


@pytest.mark.parametrize("form", LITERAL)
@pytest.mark.parametrize(("n", "m", "c"), [(7, 7, 4), (3, 3, 5), (4, 6, 5)], ids=["N>C", "N<C", "N≠M"])
def test_distance_of_gaussians_and_its_gradient(form, n, m, c):
    real, fake = sphere(n, c, 1, shift=1.5), sphere(m, c, 2, shift=-0.5)
    agree(lambda r, f: gaussian.FORMS[form](r, f, EPSILON), LITERAL[form], real, fake)


@pytest.mark.parametrize("form", LITERAL)
def test_distance_is_zero_for_equal_batches_symmetric_and_grows_with_the_shift(form):
    distance = gaussian.FORMS[form]
    a, b, c = (torch.tensor(sphere(64, 6, seed, shift)) for seed, shift in ((1, 2.0), (2, 0.5), (3, -2.0)))
    assert distance(a, a.flip(0)).item() == pytest.approx(0.0, abs=1e-9)
    assert distance(a, b).item() == pytest.approx(distance(b, a).item(), rel=1e-9)
    assert 0 < distance(a, b).item() < distance(a, c).item()


@pytest.mark.parametrize("form", LITERAL)
def test_distance_is_finite_where_the_covariance_is_singular(form):
    """Embeddings that are all one point: rank 0, equal eigenvalues, in float32 as in training."""
    point = torch.zeros(8, 128)
    point[:, 3] = 1.0
    real = torch.nn.functional.normalize(torch.randn(8, 128, generator=torch.Generator().manual_seed(0)), dim=1)
    for first, second in ((point, real), (point, point.clone())):
        fake = second.clone().requires_grad_(True)
        value = gaussian.FORMS[form](first, fake)
        (gradient,) = torch.autograd.grad(value, fake)
        assert value.isfinite() and gradient.isfinite().all()


def test_epsilon_sets_alpha_to_c_over_epsilon():
    sigma = literal_statistics(sphere(9, 4, 5))[1]
    for epsilon in (0.1, 0.5, 2.0):
        expected = sum(math.log(1 + 4 / epsilon * value) for value in np.linalg.eigvalsh(sigma))
        assert gaussian.coding_rate(torch.tensor(sigma), epsilon).item() == pytest.approx(expected, rel=1e-12)


def test_mean_direction_and_covariance():
    z = sphere(6, 4, 3, shift=1.0)
    for ours, literal in zip(gaussian.statistics(torch.tensor(z)), literal_statistics(z), strict=True):
        np.testing.assert_allclose(ours.numpy(), literal, rtol=1e-12)


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


def test_norm_hinge_pulls_short_vectors_only():
    e = RNG(4).normal(size=(6, 5))
    e *= (np.array([0.2, 0.5, 0.9, 1.1, 2.0, 5.0]) / np.linalg.norm(e, axis=1))[:, None]

    def literal(x):
        return sum(max(0.0, 1 - math.sqrt(sum(v * v for v in row))) ** 2 for row in x) / len(x)

    agree(adversarial.norm_hinge, literal, e)
    tensor = torch.tensor(e, requires_grad=True)
    (gradient,) = torch.autograd.grad(adversarial.norm_hinge(tensor), tensor)
    assert (gradient[3:] == 0).all() and (gradient[:3] != 0).all()
    assert adversarial.norm_hinge(torch.zeros(3, 4)).item() == 1.0


def test_norm_hinge_has_a_finite_gradient_at_the_origin():
    origin = torch.zeros(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(adversarial.norm_hinge(origin), origin)
    assert gradient.isfinite().all()


FORMS = {
    "hinge": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
    "non_saturating": (
        lambda r: math.log(1 + math.exp(-r)),
        lambda f: math.log(1 + math.exp(f)),
        lambda f: math.log(1 + math.exp(-f)),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_adversarial_forms(form):
    real, fake = np.array([-2.0, 0.3, 1.4, 3.0]), np.array([-1.7, 0.2, -0.4, 2.5, 0.9])
    on_real, on_fake, of_generator = FORMS[form]
    agree(
        lambda r, f: adversarial.discriminator_loss(r, f, form),
        lambda r, f: sum(map(on_real, r)) / len(r) + sum(map(on_fake, f)) / len(f),
        real,
        fake,
    )
    agree(lambda f: adversarial.generator_loss(f, form), lambda f: sum(map(of_generator, f)) / len(f), fake)


def test_smoothness_penalty():
    tangents = RNG(5).normal(size=(5, 4))

    def literal(t):
        return sum((math.sqrt(sum(v * v for v in row)) - 1) ** 2 for row in t) / len(t)

    agree(lambda t: smoothness.penalty(t)[0], literal, tangents)
    _, sigma = smoothness.penalty(torch.tensor(tangents))
    np.testing.assert_allclose(sigma.numpy(), np.linalg.norm(tangents, axis=1), rtol=1e-12)
    assert smoothness.penalty(torch.eye(3))[0].item() == 0.0


def test_right_vector_of_a_linear_map_is_its_transpose_applied():
    """e = A x: v = A^T u / |A^T u|, each sample with its own u, and no graph comes with it."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    images = torch.randn(3, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    left = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    right = smoothness.right_vector(images.flatten(1) @ matrix.T, images, left)
    expected = left @ matrix
    expected = (expected / expected.norm(dim=1, keepdim=True)).view(3, 3, 2, 2)
    assert torch.allclose(right, expected, rtol=1e-12) and not right.requires_grad


def test_right_vector_is_finite_where_the_gradient_vanishes():
    images = torch.zeros(2, 3, 2, 2, requires_grad=True)
    right = smoothness.right_vector((images * 0).flatten(1), images, torch.ones(2, 12))
    assert right.isfinite().all()
