"""Coarse scale: how far apart two batches of embeddings are, each seen as one Gaussian.

Notation of Zhang & Maire 2023 (arXiv 2310.00357): Z holds embeddings on the unit sphere, mu is their mean scaled to
unit length, Sigma = (Z - mu)^T (Z - mu) / N, alpha = C / epsilon, R(Sigma) = log det(I + alpha Sigma). The
discriminator maximizes the distance, the generator minimizes it.

R is, up to a constant, the log-determinant of the covariance blurred by I / alpha. The paper does not say how the
inverse in the Bhattacharyya mean term and the square roots of Wasserstein-2 are kept finite when N < C. Here both take
that same blurred covariance, so that the three forms differ in the distance alone.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.precision import exact


def statistics(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """mu of unit length, shape (..., C), and Sigma, shape (..., C, C), of unit vectors (..., N, C)."""
    mean = F.normalize(embeddings.mean(-2), dim=-1)
    centered = embeddings - mean[..., None, :]
    return mean, centered.mT @ centered / embeddings.shape[-2]


def regularized(covariance: Tensor, epsilon: float) -> Tensor:
    """I + alpha Sigma with alpha = C / epsilon. Shape: (..., C, C), symmetric, smallest eigenvalue at least 1."""
    dim = covariance.shape[-1]
    identity = torch.eye(dim, dtype=covariance.dtype, device=covariance.device)
    return identity + (dim / epsilon) * covariance


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of a symmetric matrix; NaN where it fails, as an error would wait for a GPU. Shape: (..., C, C)."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed[..., None, None] == 0, factor, torch.nan)


def log_det(factor: Tensor) -> Tensor:
    """log det(L L^T) by the lower factor L. Shape: (..., C, C) to (...)."""
    total: Tensor = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return total


class CodingRate(torch.autograd.Function):
    """R = log det of a symmetric matrix, in nats; its gradient is the inverse. Shape: (..., C, C) to (...)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        factor = cholesky(matrix)
        ctx.save_for_backward(factor)
        return log_det(factor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (factor,) = ctx.saved_tensors
        identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)
        root = torch.linalg.solve_triangular(factor, identity, upper=False)
        found: Tensor = (root.mT @ root).mul_(grad[..., None, None])
        return found


@exact
def jsd(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """d = 1/2 [R(Sigma_mix) - 1/2 (R(Sigma_real) + R(Sigma_fake))], Sigma_mix of both batches around their common mu.

    Shape: real (..., N, C) and fake (..., M, C), unit vectors, to (...) in nats. It is 0 for equal batches and can be
    slightly negative for batches that differ by sampling only, because mu is scaled to unit length.
    """
    batches = (torch.cat([real, fake], -2), real, fake)
    covariances = torch.stack([statistics(batch)[1] for batch in batches])
    mixed, *rates = CodingRate.apply(regularized(covariances, epsilon))  # type: ignore[no-untyped-call]
    distance: Tensor = 0.5 * (mixed - 0.5 * (rates[0] + rates[1]))
    return distance


@exact
def bhattacharyya(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """Bhattacharyya distance of the two blurred Gaussians, with its mean term.

    1/2 [R(S) - 1/2 (R(Sigma_real) + R(Sigma_fake))] + 1/8 (mu_r - mu_g)^T (S + I/alpha)^-1 (mu_r - mu_g), where
    S = 1/2 (Sigma_real + Sigma_fake). Shape: real (..., N, C), fake (..., M, C), to (...) in nats, at least 0.
    """
    mean_real, cov_real = statistics(real)
    mean_fake, cov_fake = statistics(fake)
    covariances = torch.stack([0.5 * (cov_real + cov_fake), cov_real, cov_fake])
    factors = cholesky(regularized(covariances, epsilon))
    mixed, *rates = log_det(factors)
    whitened = torch.linalg.solve_triangular(factors[0], (mean_real - mean_fake)[..., None], upper=False)
    mean_term = (real.shape[-1] / epsilon) / 8 * whitened.square().sum((-2, -1))
    distance: Tensor = 0.5 * (mixed - 0.5 * (rates[0] + rates[1])) + mean_term
    return distance


@exact
def wasserstein(real: Tensor, fake: Tensor, epsilon: float = 0.5) -> Tensor:
    """Squared Wasserstein-2 distance of the two blurred Gaussians.

    |mu_r - mu_g|^2 + tr(A + B) - 2 tr((A^1/2 B A^1/2)^1/2) with A = Sigma_real + I/alpha, B = Sigma_fake + I/alpha.
    With Cholesky factors A = K K^T, B = L L^T the last trace is the nuclear norm of K^T L, whose gradient stays finite
    where eigenvalues coincide. Shape: real (..., N, C), fake (..., M, C), to (...), at least 0 up to rounding.
    """
    mean_real, cov_real = statistics(real)
    mean_fake, cov_fake = statistics(fake)
    blurred = regularized(torch.stack([cov_real, cov_fake]), epsilon) / (real.shape[-1] / epsilon)
    factors = cholesky(blurred)
    overlap = torch.linalg.svdvals(factors[0].mT @ factors[1]).sum(-1)
    traces = blurred.diagonal(dim1=-2, dim2=-1).sum((0, -1))
    distance: Tensor = (mean_real - mean_fake).square().sum(-1) + traces - 2 * overlap
    return distance


FORMS = {"jsd": jsd, "bhattacharyya": bhattacharyya, "wasserstein": wasserstein}
