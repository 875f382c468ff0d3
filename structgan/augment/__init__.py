"""Augmentation of a whole batch at once on its device: every sample draws its own parameters.

A regime is a mapping of operations; the empty mapping only converts. Operations run in SimCLR's order: resized crop
and flip, color jitter, gray, blur, solarise. Definitions are torchvision's, on float images in [0, 1] without its
rounding to uint8 between operations:

- crop: boxes as ``RandomResizedCrop`` draws them, resampled as ``resized_crop(..., antialias=True)`` does, that is
  with Pillow's kernels (bicubic with a = -0.5; torch's own without antialias has -0.75) inside the box;
- jitter: ``ColorJitter``, with a random order of its four operations for each sample;
- blur: ``GaussianBlur`` with reflected borders; solarise: ``RandomSolarize`` with threshold 0.5.

All randomness is one draw of uniforms from the given generator, for the batch of all processes of a run. With a
generator on the CPU the same seed gives the same choices on every device, and nothing waits for the device: they are
made on the host before work is sent.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from structgan import distributed
from structgan.augment import color, resample

DRAWS = {"flip": 1, "crop": 2 * resample.TRIES + 2, "jitter": 9, "grayscale": 1, "blur": 2, "solarise": 1}
"""Uniforms that each operation takes for one sample."""
BLENDS = ("brightness", "contrast", "saturation")
"""The jitter's blends, in the order of their numbers in ``color``."""


class Augment:
    """A regime for images of one size; a function of (images, state of the generator), differentiable in the images.

    Attributes:
        regime: every value in use; {} where nothing is done.
        size: height and width of the images in pixels.
    """

    def __init__(self, regime: Mapping[str, Any], size: int) -> None:
        self.size = size
        self.regime = {name: regime[name] for name in DRAWS if name in regime}
        if "blur" in self.regime:
            self.regime["blur"] = {"kernel": blur_kernel(size), **self.regime["blur"]}
        kernel = self.regime["blur"]["kernel"] if "blur" in self.regime else 0
        self._taps = resample.reflected_taps(size, kernel)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """One random view of each image.

        Args:
            images: (N, 3, size, size) uint8 in 0..255 or floating point in [-1, 1], left as they are.
            generator: draws every parameter; best on the CPU, see the module's first paragraph.

        Returns:
            (N, 3, size, size) float32 in [-1, 1], on the images' device, or of their type where that is a longer one.
            Images that take a gradient get it through every operation.
        """
        with torch.autocast(images.device.type, enabled=False):
            return self._views((images + 1) * 127.5 if images.is_floating_point() else images, generator)

    def _views(self, images: Tensor, generator: Generator) -> Tensor:
        widths = [DRAWS[name] for name in self.regime]
        shape = (sum(widths), len(images) * distributed.size())
        uniform = torch.rand(*shape, generator=generator, device=generator.device, dtype=torch.float32).cpu()
        uniform = distributed.shard(uniform, dim=1)
        drawn = dict(zip(self.regime, torch.split(uniform, widths), strict=True)) if widths else {}
        flip = drawn["flip"][0] < self.regime["flip"] if "flip" in drawn else torch.zeros(len(images), dtype=torch.bool)
        if "crop" in drawn:
            views = self._crop(images, drawn["crop"], flip).clamp_(0, 255)
        else:
            views = images.to(torch.promote_types(images.dtype, torch.float32), copy=True)
            if "flip" in drawn:
                chosen = _chosen(flip, images.device)
                views[chosen] = views[chosen].flip(-1)
        if not {"jitter", "grayscale", "blur", "solarise"} & set(drawn):
            return views.div_(127.5).sub_(1)
        views.div_(255)
        if "jitter" in drawn:
            self._jitter_(views, drawn["jitter"])
        if "grayscale" in drawn:
            chosen = _chosen(drawn["grayscale"][0] < self.regime["grayscale"], images.device)
            views[chosen] = color.gray(views[chosen]).expand(-1, 3, -1, -1)
        if "blur" in drawn:
            self._blur_(views, drawn["blur"])
        if "solarise" in drawn:
            chosen = _chosen(drawn["solarise"][0] < self.regime["solarise"], images.device)
            views[chosen] = color.solarise(views[chosen])
        return views.clamp_(0, 1).mul_(2).sub_(1)

    def _crop(self, images: Tensor, uniform: Tensor, flip: Tensor) -> Tensor:
        crop = self.regime["crop"]
        box = resample.boxes(uniform.T, self.size, crop["scale"], crop["ratio"])
        top, left, height, width, mirrored = torch.stack([*box, flip.float()]).to(images.device, non_blocking=True)
        cubic = crop["interpolation"] == "bicubic"
        rows = resample.crop_matrix(top, height, torch.zeros_like(mirrored) > 0, self.size, cubic)
        columns = resample.crop_matrix(left, width, mirrored > 0, self.size, cubic)
        return resample.separable(images, rows, columns)

    def _jitter_(self, views: Tensor, uniform: Tensor) -> None:
        jitter = self.regime["jitter"]
        chosen = _chosen(uniform[0] < jitter["p"], torch.device("cpu"))
        order = uniform[1:5, chosen].T.argsort(1)  # (n, 4), a random permutation of the operations
        before = (order == color.HUE).int().argmax(1)  # blends before the hue
        sorted_ = before.argsort()
        chosen, order, values = chosen[sorted_], order[sorted_], uniform[5:, chosen[sorted_]]
        groups = torch.bincount(before, minlength=4).tolist() if jitter["hue"] else [0] * 4
        blends = order[order != color.HUE].view(-1, 3)
        strength = torch.tensor([jitter[name] for name in BLENDS])
        least = (1 - strength).clamp_(min=0)
        factors = least + values[:3].T * (1 + strength - least)
        shift = (2 * values[3] - 1) * jitter["hue"]
        chosen, factors, shift, blends = (
            tensor.to(views.device, non_blocking=True) for tensor in (chosen, factors, shift, blends)
        )
        views[chosen] = color.jitter_(views[chosen], factors, shift, blends, groups)

    def _blur_(self, views: Tensor, uniform: Tensor) -> None:
        blur = self.regime["blur"]
        chosen = _chosen(uniform[0] < blur["p"], torch.device("cpu"))
        low, high = blur["sigma"]
        sigma = (low + uniform[1, chosen] * (high - low)).to(views.device, non_blocking=True)
        chosen = chosen.to(views.device, non_blocking=True)
        self._taps = self._taps.to(views.device)
        matrix = resample.blur_matrix(sigma, self._taps)
        views[chosen] = resample.separable(views[chosen], matrix, matrix)


def build(regime: Mapping[str, Any], image_size: int) -> Augment:
    """The augmentation that a regime describes.

    Args:
        regime: any of ``flip`` (p), ``crop`` {scale, ratio, interpolation: bilinear | bicubic}, ``jitter`` {p,
            brightness, contrast, saturation, hue}, ``grayscale`` (p), ``blur`` {p, sigma, kernel}, ``solarise`` (p).
        image_size: height and width of the images in pixels.

    Raises:
        UserError: an unknown key or a value out of range.
    """
    return Augment(regime, image_size)


def blur_kernel(size: int) -> int:
    """Width of the blur where a regime names none: the odd number of pixels near a tenth of the image, at least 3."""
    return max(3, 2 * (size // 20) + 1)


def _chosen(mask: Tensor, device: torch.device) -> Tensor:
    """The indices where a mask on the host is true, on ``device``: with them no kernel has to wait for a count."""
    return mask.nonzero()[:, 0].to(device, non_blocking=True)
