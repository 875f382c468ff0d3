"""Coarse scale: how far apart two batches of embeddings are, each seen as one Gaussian.

Notation of Zhang & Maire 2023 (arXiv 2310.00357): Z holds embeddings on the unit sphere, mu is their mean scaled to
unit length, Sigma = (Z - mu)^T (Z - mu) / N, alpha = C / epsilon, R(Sigma) = log det(I + alpha Sigma). The
discriminator maximizes the distance, the generator minimizes it.

R is, up to a constant, the log-determinant of the covariance blurred by I / alpha. The paper does not say how the
inverse in the Bhattacharyya mean term and the square roots of Wasserstein-2 are kept finite when N < C. Here both take
that same blurred covariance, so that the three forms differ in the distance alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.precision import exact


def statistics(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """mu of unit length, shape (C,), and Sigma, shape (C, C), of unit vectors (N, C)."""
    mean = F.normalize(embeddings.mean(0), dim=0)
    centered = embeddings - mean
    return mean, centered.T @ centered / embeddings.shape[0]


def regularized(covariance: Tensor, epsilon: float) -> Tensor:
    """I + alpha Sigma with alpha = C / epsilon. Shape: (C, C), symmetric, smallest eigenvalue at least 1."""
    dim = covariance.shape[0]
    identity = torch.eye(dim, dtype=covariance.dtype, device=covariance.device)
    return identity + (dim / epsilon) * covariance


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of a symmetric matrix; NaN where it fails, because an error would wait for a GPU. Shape: (C, C)."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed == 0, factor, torch.nan)


def coding_rate(covariance: Tensor, epsilon: float) -> Tensor:
    """R(Sigma) = log det(I + alpha Sigma), in nats, by Cholesky. Scalar, at least 0."""
    rate: Tensor = 2 * cholesky(regularized(covariance, epsilon)).diagonal().log().sum()
    return rate


@exact
def jsd(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """d = 1/2 [R(Sigma_mix) - 1/2 (R(Sigma_real) + R(Sigma_fake))], Sigma_mix of both batches around their common mu.

    Shape: real (N, C) and fake (M, C), unit vectors; a scalar in nats. It is 0 for equal batches and can be slightly
    negative for batches that differ by sampling only, because mu is scaled to unit length.
    """
    _, mixed = statistics(torch.cat([real, fake]))
    rates = [coding_rate(statistics(batch)[1], epsilon) for batch in (real, fake)]
    return 0.5 * (coding_rate(mixed, epsilon) - 0.5 * (rates[0] + rates[1]))


@exact
def bhattacharyya(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """Bhattacharyya distance of the two blurred Gaussians, with its mean term.

    1/2 [R(S) - 1/2 (R(Sigma_real) + R(Sigma_fake))] + 1/8 (mu_r - mu_g)^T (S + I/alpha)^-1 (mu_r - mu_g), where
    S = 1/2 (Sigma_real + Sigma_fake). Shape: real (N, C), fake (M, C); a scalar in nats, at least 0.
    """
    mean_real, cov_real = statistics(real)
    mean_fake, cov_fake = statistics(fake)
    factor = cholesky(regularized(0.5 * (cov_real + cov_fake), epsilon))
    rates = coding_rate(cov_real, epsilon) + coding_rate(cov_fake, epsilon)
    whitened = torch.linalg.solve_triangular(factor, (mean_real - mean_fake)[:, None], upper=False)
    covariance_term = 0.5 * (2 * factor.diagonal().log().sum() - 0.5 * rates)
    distance: Tensor = covariance_term + (real.shape[1] / epsilon) / 8 * whitened.square().sum()
    return distance


@exact
def wasserstein(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """Squared Wasserstein-2 distance of the two blurred Gaussians.

    |mu_r - mu_g|^2 + tr(A + B) - 2 tr((A^1/2 B A^1/2)^1/2) with A = Sigma_real + I/alpha, B = Sigma_fake + I/alpha.
    With Cholesky factors A = K K^T, B = L L^T the last trace is the nuclear norm of K^T L, whose gradient stays finite
    where eigenvalues coincide. Shape: real (N, C), fake (M, C); a scalar, at least 0 up to rounding.
    """
    mean_real, cov_real = statistics(real)
    mean_fake, cov_fake = statistics(fake)
    alpha = real.shape[1] / epsilon
    blurred = [regularized(covariance, epsilon) / alpha for covariance in (cov_real, cov_fake)]
    factors = [cholesky(matrix) for matrix in blurred]
    overlap = torch.linalg.svdvals(factors[0].T @ factors[1]).sum()
    traces = blurred[0].trace() + blurred[1].trace()
    distance: Tensor = (mean_real - mean_fake).square().sum() + traces - 2 * overlap
    return distance


FORMS = {"jsd": jsd, "bhattacharyya": bhattacharyya, "wasserstein": wasserstein}
