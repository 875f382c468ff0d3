"""A good engineer's form of the reference's step: what the suite must beat, where the reference is what it must equal.

Same networks, losses and random numbers, from PyTorch's own tools: v and J v of the whole batch by ``torch.func``, real
and generated images in one pass, autocast, channels-last, fused optimizers, foreach averages; features of the average
once an image; no gradients of the discriminator in the generator's update. ``compiled`` puts the value, the tangent and
the generator into ``torch.compile``, which takes minutes. GroupNorm is written out: PyTorch's has no tangent that is
channels-last or compiles.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.reference_step import ReferenceStep


class PlainNorm(nn.Module):
    """GroupNorm by mean and deviation, with the parameters of ``norm``. Shape: (N, C, H, W)."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps, self.weight, self.bias = norm.num_groups, norm.eps, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.unflatten(x if x.dtype == torch.float64 else x.float(), 1, (self.groups, -1))
        centered = rows - rows.mean((2, 3, 4), keepdim=True)
        scaled = centered * (centered.square().mean((2, 3, 4), keepdim=True) + self.eps).rsqrt()
        return (scaled.flatten(1, 2) * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class RivalStep(ReferenceStep):
    """``ReferenceStep`` as above; ``precision`` is bfloat16 or that of the weights."""

    def __init__(self, method: Any, precision: str = "bfloat16", compiled: bool = False) -> None:
        super().__init__(method)
        cast = torch.autocast(method.rng.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        for net in (self.discriminator, self.discriminator_ema):
            for block in net.blocks:
                for name, child in list(block.named_children()):
                    if isinstance(child, nn.GroupNorm):
                        setattr(block, name, PlainNorm(child))
            net.features = self.wide(cast(net.features))  # type: ignore[method-assign]
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator.forward = self.wide(cast(self.generator.forward))  # type: ignore[method-assign]
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group |= {"fused": True, "foreach": None}
        if compiled:
            self.traced = torch.compile(self.traced)  # type: ignore[method-assign]
            self.generator.forward = torch.compile(self.generator.forward)  # type: ignore[method-assign]

    def wide(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function whose result has the type of the weights."""
        return lambda *given: function(*given).to(self.bank_features.dtype)

    def traced(self, images: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings, and |J v| with v = J^T u / |J^T u| held constant. Shape: u (N, C) to (N, C) and (N,)."""
        with torch.no_grad():
            right = torch.func.vjp(self.discriminator, images)[1](left)[0]
            right = right / right.flatten(1).norm(dim=1)[:, None, None, None]
        pushed: Any = torch.func.jvp(self.discriminator, (images,), (right,))
        return pushed[0], pushed[1].norm(dim=1)

    def average_features(self, images: Tensor) -> Tensor:
        found = self.of_real.get(images.data_ptr())
        return super().average_features(images) if found is None else found

    @torch.no_grad()
    def update_averages(self) -> None:
        for average, net in ((self.discriminator_ema, self.discriminator), (self.generator_ema, self.generator)):
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - self.settings["ema"])

    def update_discriminator(self, real: Tensor) -> dict[str, float]:
        self.of_real: dict[int, Tensor] = {}
        parts = torch.split(real, self.images)
        self.of_real |= {part.data_ptr(): self.average_features(part) for part in parts}
        with torch.no_grad():
            fake = self.generator(self.noise(len(real), self.settings["generator"]["latent"]), self.images)
        both, sigma = torch.cat([real, fake]), real.new_zeros(0)
        if self.weights["smoothness"]:
            left = self.noise(len(both), self.settings["discriminator"]["embedding"])
            value, sigma = self.traced(both, left)
        else:
            value = self.discriminator(both)
        e_real, e_fake = (torch.split(half, self.images) for half in value.chunk(2))
        groups = zip(parts, torch.split(fake, self.images), e_real, e_fake, strict=True)
        return self.finish([self.losses(*group, sigma) for group in groups], sigma)

    def update_generator(self, real: Tensor) -> dict[str, float]:
        self.discriminator.requires_grad_(False)
        found = super().update_generator(real)
        self.discriminator.requires_grad_(True)
        return found
