"""Linear heads on feature maps: which places they are fitted on, and their scores at every place.

A head is a 1×1 convolution on the encoder's maps, resampled to one grid and concatenated. Resampling and a 1×1
convolution commute, so a head is applied to each map at its own resolution and only its scores are resampled.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.datasets.annotated import IGNORED
from structgan.errors import UserError
from structgan.evaluation import features, linear

Maps = Callable[[Tensor], list[Tensor]]
"""Images (n, 3, H, W), float32 in [-1, 1], to maps (n, D_i, H_i, W_i)."""
BATCH_PIXELS = 1 << 16
"""Pixels of the images of one forward pass. It affects memory, and numbers by rounding only."""


def resample(values: Tensor, size: tuple[int, int]) -> Tensor:
    """A map on another grid: the mean over the area of each cell where it is finer, bilinear where it is coarser.

    Shape: (N, D, H, W) to (N, D, *size).
    """
    if values.shape[2] >= size[0] and values.shape[3] >= size[1]:
        return F.interpolate(values, size, mode="area")
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def batches(maps: Maps, images: Tensor) -> Iterator[tuple[slice, list[Tensor]]]:
    """The maps of uint8 images (N, 3, H, W), a few images at a time, without gradients."""
    step = max(1, BATCH_PIXELS // (images.shape[2] * images.shape[3]))
    for first in range(0, len(images), step):
        part = slice(first, min(first + step, len(images)))
        with torch.no_grad():
            found = maps(images[part].float() / 127.5 - 1)
        yield part, [values.float() for values in found]


def choose(classes: Tensor, count: int, seed: int) -> Tensor:
    """Places to fit a head on: up to half of ``count`` on objects and half on background.

    Args:
        classes: of each place: 0 background, else an object, or ``IGNORED``. Shape: (P,).

    Returns:
        Indices in ascending order. Shape: (n,), int64.
    """
    generator, kept = torch.Generator().manual_seed(seed), []
    for chosen in ((classes != 0) & (classes != IGNORED), classes == 0):
        index = chosen.nonzero().flatten()
        kept.append(index[torch.randperm(len(index), generator=generator)[: count // 2]])
    return torch.cat(kept).sort().values


@dataclass(frozen=True)
class Head:
    """Scores are ``x · weightᵀ + bias`` of the features x at a place. Shape: weight (K, D), bias (K,)."""

    weight: Tensor
    bias: Tensor

    def unscaled(self, shift: Tensor, scale: Tensor) -> "Head":
        """The head on features as they are, from this one on standardized features, (x - shift) * scale."""
        return Head(self.weight * scale, self.bias - (self.weight * scale) @ shift)

    def scores(self, values: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Scores on a grid of all maps together. Shape: maps (n, D_i, H_i, W_i) to (n, K, *size)."""
        if not all(part.isfinite().all() for part in values):
            raise UserError("dense: a feature map holds NaN or infinity: the encoder has diverged")
        total = self.bias[:, None, None].expand(len(values[0]), -1, *size)
        parts = torch.split(self.weight, [part.shape[1] for part in values], dim=1)
        for part, weight in zip(values, parts, strict=True):
            total = total + resample(F.conv2d(part, weight[:, :, None, None]), size)
        return total


class Gathered:
    """Features at chosen places of the training images, taken from their maps batch by batch.

    Args:
        classes: of each place, as in ``choose``. Shape: (N, h, w) or (N, h · w).
        size: (h, w), the grid of places.
        count: places to choose.
    """

    def __init__(self, classes: Tensor, size: tuple[int, int], count: int, seed: int) -> None:
        self.classes, self.size = classes.reshape(-1).cpu(), size
        self.chosen = choose(self.classes, count, seed)
        self.parts: list[Tensor] = []

    def add(self, part: slice, values: list[Tensor]) -> None:
        """Read the features of the images ``part`` from their maps, resampled to the grid and concatenated."""
        area = self.size[0] * self.size[1]
        inside = self.chosen[(self.chosen >= part.start * area) & (self.chosen < part.stop * area)].to(values[0].device)
        image, place = inside // area - part.start, inside % area
        read = [resample(each, self.size).flatten(2)[image, :, place] for each in values]
        self.parts.append(torch.cat(read, dim=1))

    def head(self, classes: int, settings: Mapping[str, Any]) -> tuple[Head, dict[str, Any]]:
        """The head of ``classes`` classes, and how its fit ended; see ``classifier``."""
        x = torch.cat(self.parts)
        counts = torch.bincount(self.classes[self.classes != IGNORED].long(), minlength=classes).double().to(x.device)
        return classifier(x, self.classes[self.chosen].long().to(x.device), counts, settings)


def classifier(x: Tensor, classes: Tensor, counts: Tensor, settings: Mapping[str, Any]) -> tuple[Head, dict[str, Any]]:
    """Multinomial logistic regression on chosen places, standardized, with the intercepts of all places.

    Where classes are sampled at different rates, logistic regression finds the same weights, and intercepts that are
    off by the logarithm of the rate (Prentice & Pyke 1979, "Logistic disease incidence models and case-control
    studies"). So log(all places / chosen places) of each class is added back.

    Args:
        x: Shape: (n, D).
        classes: of each place, 0 background. Shape: (n,), int64.
        counts: places of each class among all. Shape: (K,).
        settings: C, max_iter and tol of the solver.

    Returns:
        The head and how its fit ended. A class without a chosen place is never predicted.
    """
    shift, scale = features.scaling(features.finite(x, "features at the chosen places"))
    solver = settings["C"], settings["max_iter"], settings["tol"]
    model = linear.fit((x - shift) * scale, classes, len(counts), "softmax", *solver)
    chosen = torch.bincount(classes, minlength=len(counts)).to(counts)
    rate = torch.where(chosen > 0, counts / chosen.clamp_min(1), 0.0).log().float()
    head = Head(model.weight, model.bias + rate.to(model.bias)).unscaled(shift, scale)
    return head, {**model.convergence, "places": len(x)}
