"""Denoising diffusion (Ho et al. 2020, arXiv 2006.11239), plain or with the structural objectives.

A U-Net on the backbone of every row predicts the noise of an image: with x_t = a_t x_0 + b_t eps, t uniform in 1..T and
eps ~ N(0, I),

    L_simple = mean |U(x_t, t) - target|^2, where the target is eps or v = a_t eps - b_t x_0.

A moving average encodes, and samples by DDIM's steps or, with eta = 1, by Ho et al.'s own. The representation is the
pooled feature of a clean image: the backbone sees no time (``structgan.models.unet``), so that features are a function
of the image alone, computed as in every other row. Others choose the layer or the noise level that suits the labels
best (Xiang et al. 2023, arXiv 2303.09769; Li et al. 2025, arXiv 2502.05743), which is not done here.

``structural``: backbone and decoder also play the game of ``structgan.objectives``, for real against denoised images:

    x_made = the x_0 that U(x_t, t) implies, in [-1, 1], with t uniform in the noisier part of 1..T.

At little noise x_made would be a copy of x_0 but for traces, and an encoder that tells them apart would see the traces
only. The reversed gradient reaches the decoder, as the game's generator, and not the maps that it starts from. Samples
of the whole reverse process would be closer to the paper's G(w), but take many passes a step.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import distributed, objectives, optim
from structgan.method import Method
from structgan.models.diffusion import Diffusion
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.unet import UNet


class DDPM(Method):
    """A U-Net on the backbone that removes noise from images."""

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        sampling, last = settings["sampling_steps"], settings["timesteps"]
        if sampling > last:
            raise ValueError(f"sampling_steps = {sampling} must be at most timesteps = {last}")
        self.diffusion = Diffusion(last, **settings["schedule"], prediction=settings["prediction"])
        self.denoiser = UNet(image_size, settings["condition"], **settings["encoder"])
        terms, features = settings["objectives"], self.denoiser.backbone.features
        self.game = objectives.StructuralGame(features, terms) if objectives.wanted(terms) else None
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])
        self.generator_ema = frozen_copy(self.denoiser)
        self.encoder = self.generator_ema.backbone

    @property
    def live_encoder(self) -> nn.Module:
        return self.denoiser.backbone

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Images that the average makes of pure noise, the clean one clamped at each step as by Ho et al."""
        shape, device, eta = (n, 3, self.image_size, self.image_size), generator.device, self.settings["eta"]
        images = torch.randn(shape, generator=generator, device=device)
        for t, s in self.diffusion.path(self.settings["sampling_steps"]):
            times = torch.full((n,), t, device=device)
            clean = self.diffusion.clean(images, self.generator_ema(images, times), times).clamp(-1, 1)
            fresh = torch.randn(shape, generator=generator, device=device) if eta else None
            images = self.diffusion.back(images, clean, t, s, eta, fresh)
        return images

    def times(self, n: int, first: int) -> Tensor:
        """Whole numbers, uniform from ``first`` to T, from the run's own generator. Shape: (n,)."""
        last, rows = self.settings["timesteps"], n * distributed.size()
        drawn = torch.randint(first, last + 1, (rows,), generator=self.rng, device=self.rng.device)
        return distributed.shard(drawn)

    def denoised(self, real: Tensor) -> Tensor:
        """x_made of each image, with a graph to the decoder. Shape: (N, 3, H, W), values in [-1, 1]."""
        first = math.ceil(self.settings["denoised_from"] * self.settings["timesteps"])
        times = self.times(len(real), max(1, first))
        noisy = self.diffusion.noised(real, self.noise(*real.shape), times)
        with torch.no_grad():
            maps = self.denoiser.down(noisy)
        return self.diffusion.clean(noisy, self.denoiser.up(maps, times), times).clamp(-1, 1)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        times, noise = self.times(len(real), first=1), self.noise(*real.shape)
        output = self.denoiser(self.diffusion.noised(real, noise, times), times)
        loss = F.mse_loss(output, self.diffusion.target(real, noise, times))
        logged = {"denoising": loss.detach()}
        if self.game is not None:
            images = self.game.against(real, self.denoised(real))
            total, terms = self.game(self.denoiser.backbone(images), self.encoder, images.detach())
            loss, logged = loss + total, logged | terms
        optim.minimize(self.optimizer, loss)
        ema_update_(self.generator_ema, self.denoiser, self.settings["ema"])
        return logged
