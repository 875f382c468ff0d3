"""The distances of Gaussians and their gradients against literal NumPy loops of their equations, in float64."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from gradcheck import agree, sphere

from structgan.losses import gaussian

EPSILON = 0.5


def literal_statistics(z):
    n, c = z.shape
    mean = [sum(z[s, i] for s in range(n)) / n for i in range(c)]
    mu = np.array(mean) / math.sqrt(sum(m * m for m in mean))
    sigma = [[sum((z[s, i] - mu[i]) * (z[s, j] - mu[j]) for s in range(n)) / n for j in range(c)] for i in range(c)]
    return mu, np.array(sigma)


def literal_rate(sigma, epsilon=EPSILON):
    return sum(math.log(1 + len(sigma) / epsilon * value) for value in np.linalg.eigvalsh(sigma))


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


@pytest.mark.parametrize("form", gaussian.FORMS)
@pytest.mark.parametrize(("n", "m", "c"), [(7, 7, 4), (3, 3, 5), (4, 6, 5)], ids=["N>C", "N<C", "N≠M"])
def test_distance_of_gaussians_and_its_gradient(form, n, m, c):
    real, fake = sphere(n, c, 1, shift=1.5), sphere(m, c, 2, shift=-0.5)
    agree(lambda r, f: gaussian.FORMS[form](r, f, EPSILON), LITERAL[form], real, fake)


@pytest.mark.parametrize("form", LITERAL)
def test_distances_of_groups_are_those_of_each_group_alone(form):
    real, fake = (torch.tensor(np.stack([sphere(n, 5, seed) for seed in (1, 2, 3)])) for n in (4, 6))
    alone = [gaussian.FORMS[form](r, f, EPSILON) for r, f in zip(real, fake, strict=True)]
    torch.testing.assert_close(gaussian.FORMS[form](real, fake, EPSILON), torch.stack(alone))


def test_a_matrix_that_is_not_positive_definite_has_a_rate_and_a_gradient_of_nan_and_spoils_no_other():
    matrices = torch.diag_embed(torch.tensor([[1.0, -1.0], [2.0, 4.0]])).requires_grad_(True)
    rates = gaussian.CodingRate.apply(matrices)
    (gradient,) = torch.autograd.grad(rates.sum(), matrices)
    assert rates.isnan().tolist() == [True, False] and rates[1].item() == pytest.approx(math.log(8))
    assert gradient[0].isnan().any()
    torch.testing.assert_close(gradient[1], torch.diag(torch.tensor([0.5, 0.25])))


@pytest.mark.parametrize("form", LITERAL)
def test_distance_is_finite_where_the_covariance_is_singular(form):
    """Embeddings that are all one point: rank 0, equal eigenvalues, in float32 as in training."""
    point = torch.zeros(8, 128)
    point[:, 3] = 1.0
    real = torch.tensor(sphere(8, 128, 1)).float()
    for first, second in ((point, real), (point, point.clone())):
        fake = second.clone().requires_grad_(True)
        value = gaussian.FORMS[form](first, fake)
        (gradient,) = torch.autograd.grad(value, fake)
        assert value.isfinite() and gradient.isfinite().all()
