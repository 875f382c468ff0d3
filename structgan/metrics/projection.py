"""A 2-D map of features: exact t-SNE (van der Maaten & Hinton 2008), started from the principal components.

For the thousand points of a figure the exact form, a few dense matrices for each iteration, costs less than the tree
approximation, and it is deterministic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EARLY_ITERATIONS = 250
EARLY_EXAGGERATION = 12.0


def principal_components(features: Tensor, dimensions: int) -> Tensor:
    """Scores on the leading principal components, signs fixed so that each one's largest entry is positive.

    Shape: (N, D) → (N, dimensions); missing components (D or N too small) are 0.
    """
    centred = features.double() - features.double().mean(dim=0)
    left, scale, _ = torch.linalg.svd(centred, full_matrices=False)
    scores = (left * scale)[:, :dimensions]
    scores = scores * torch.where(scores.gather(0, scores.abs().argmax(dim=0)[None]) < 0, -1.0, 1.0)
    return torch.nn.functional.pad(scores, (0, dimensions - scores.shape[1]))


def affinities(features: Tensor, perplexity: float) -> Tensor:
    """Symmetric neighbour probabilities, each row's Gaussian bisected to the given perplexity.

    Shape: (N, D) → (N, N), float64, summing to 1, diagonal 0.
    """
    n = len(features)
    distance = torch.cdist(features.double(), features.double()).square()
    distance -= distance.clone().fill_diagonal_(torch.inf).min(dim=1, keepdim=True).values
    distance /= distance.mean().clamp_min(1e-30)
    distance = distance.fill_diagonal_(0).float()
    low = torch.full((n, 1), -20.0, device=features.device)  # natural log of the precision
    high = -low
    for _ in range(24):  # to the last bits of float32
        middle = (low + high) / 2
        # cut at exp(-80): denormal numbers would make every operation tens of times slower
        kernel = (distance * -middle.exp()).clamp_min_(-80).exp_().fill_diagonal_(0)
        total = kernel.sum(dim=1, keepdim=True)
        # entropy = log Z + precision · mean distance
        entropy = total.log() + middle.exp() * (kernel.mul_(distance)).sum(dim=1, keepdim=True) / total
        narrow = entropy < math.log(perplexity)
        low, high = torch.where(narrow, low, middle), torch.where(narrow, middle, high)
    p = (distance.double() * -middle.double().exp()).exp_().fill_diagonal_(0)
    p /= p.sum(dim=1, keepdim=True)
    return (p + p.T) / (2 * n)


def tsne(features: Tensor, perplexity: float, iterations: int) -> Tensor:
    """Positions that minimise KL(P ‖ Q), Q the Student-t similarities of the positions.

    Gradient descent with momentum and per-entry gains, learning rate max(N / 48, 50), exaggeration 12 for the first 250
    iterations, started from the first two principal components scaled to a deviation of 1e-4 (sklearn's settings).

    Args:
        features: Shape: (N, D). The perplexity is lowered to (N − 1) / 3 where there are few points.

    Returns:
        Shape: (N, 2), float32.

    Raises:
        ValueError: fewer than 4 points.
    """
    n = len(features)
    if n < 4:
        raise ValueError(f"t-SNE needs at least 4 points, not {n}")
    p = affinities(features, min(perplexity, (n - 1) / 3)).float().clamp_min_(1e-16)
    position = principal_components(features, 2)
    position = (position / position[:, 0].std().clamp_min(1e-12) * 1e-4).float()
    velocity, gain = torch.zeros_like(position), torch.ones_like(position)
    rate = max(n / EARLY_EXAGGERATION / 4, 50.0)
    for iteration in range(iterations):
        early = iteration < EARLY_ITERATIONS
        norm = position.square().sum(dim=1)
        kernel = torch.addmm(norm[:, None] + (1 + norm), position, position.T, alpha=-2).clamp_min_(1).reciprocal_()
        kernel.fill_diagonal_(0)
        force = torch.mul(kernel, -1 / kernel.sum()).add_(p, alpha=EARLY_EXAGGERATION if early else 1.0).mul_(kernel)
        gradient = 4 * (force.sum(dim=1, keepdim=True) * position - force @ position)
        gain = torch.where(gradient * velocity < 0, gain + 0.2, gain * 0.8).clamp_min_(0.01)
        velocity = velocity * (0.5 if early else 0.8) - rate * gain * gradient
        position = position + velocity
    return position - position.mean(dim=0)
