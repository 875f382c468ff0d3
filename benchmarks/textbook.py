"""The structural GAN's step read literally from its equations, in none of the suite's own forms: oracle, yardstick.

Float32 and contiguous throughout. Real and generated images go through the discriminator one batch after the other; the
Jacobian term is taken sample by sample (``torch.func``, vmap of vjp for v and of jvp for J v) and one backward goes
through it; EMA features are computed in each of the two updates; the generator's draws its images anew and leaves
gradients on the discriminator; optimisers and averages go parameter by parameter; every loss is read on each step.

Given a ``Structural`` method's weights, bank and random state, a step computes the same losses, gradients and weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan.methods.structural import Structural

Parameters = Mapping[str, Tensor]


def embed(net: nn.Module, parameters: Parameters, images: Tensor) -> Tensor:
    """e = P(E(x)) in plain operations. Shape: (N, 3, H, W), values in [-1, 1], to (N, C).

    Args:
        net: a ``Discriminator``; its own layers are only read for their shape.
        parameters: its parameters by name.
    """
    return project(net, parameters, represent(net, parameters, images))


def represent(net: Any, parameters: Parameters, images: Tensor) -> Tensor:
    """h = E(x), the pooled features. Shape: (N, 3, H, W) to (N, D)."""
    names = {module: name for name, module in net.named_modules()}

    def conv(module: Any, x: Tensor) -> Tensor:
        name = names[module]
        bias = parameters.get(f"{name}.bias")
        return F.conv2d(x, parameters[f"{name}.weight"], bias, padding=module.kernel_size[0] // 2)

    def norm(module: Any, x: Tensor) -> Tensor:
        name = names[module]
        return F.group_norm(x.contiguous(), module.num_groups, parameters[f"{name}.weight"], parameters[f"{name}.bias"])

    x = F.elu(conv(net.backbone.stem[0], images))
    if images.shape[-1] > 48:
        x = F.avg_pool2d(x, 4 if images.shape[-1] > 96 else 2)
    for block in net.backbone.layers:
        first, second = [m for m in block.body if isinstance(m, nn.Conv2d)]
        source = x if isinstance(block.body[0], nn.Conv2d) else F.avg_pool2d(x, 2)
        y = norm(block.body[-1], conv(second, F.elu(conv(first, source))))
        if len(block.shortcut):
            short, short_norm = [m for m in block.shortcut if isinstance(m, nn.Conv2d | nn.GroupNorm)]
            source = norm(short_norm, conv(short, source))
        x = F.elu(y + source)
    return x.mean((2, 3))


def project(net: Any, parameters: Parameters, features: Tensor) -> Tensor:
    """e = P(h), not normalised. Shape: (N, D) to (N, C)."""
    hidden, out = (f"projection.{i}" for i in (0, 2))
    y = F.elu(F.linear(features, parameters[f"{hidden}.weight"], parameters[f"{hidden}.bias"]))
    return F.linear(y, parameters[f"{out}.weight"], parameters[f"{out}.bias"])


def generate(net: Any, latents: Tensor) -> Tensor:
    """G(w) of a ``Generator``, contiguous. Shape: (N, latent) to (N, 3, H, W), values in [-1, 1]."""
    condition = net.condition(latents)
    x = net.first(condition).reshape(len(latents), -1, net.start, net.start)
    for block in net.blocks:
        x = block(x, condition)
    image: Tensor = torch.tanh(net.last(F.relu(net.last_norm(x))))
    return image


def sigmas(net: nn.Module, parameters: Parameters, images: Tensor, left: Tensor) -> Tensor:
    """|J v| of each sample, with v = J^T u / |J^T u| held constant. Shape: (N, 3, H, W) and u (N, C) to (N,)."""

    def one(image: Tensor, u: Tensor) -> Tensor:
        def function(x: Tensor) -> Tensor:
            return embed(net, parameters, x[None])[0]

        right = torch.func.vjp(function, image)[1](u)[0].detach()
        right = right / right.norm()
        length: Tensor = torch.func.jvp(function, (image,), (right,))[1].norm()
        return length

    lengths: Tensor = torch.func.vmap(one)(images, left)
    return lengths


def covariance(embeddings: Tensor) -> Tensor:
    """(Z - mu)^T (Z - mu) / N with mu the mean scaled to unit length. Shape: (N, C) to (C, C)."""
    mean = embeddings.mean(0)
    centred = embeddings - mean / mean.norm()
    product: Tensor = centred.T @ centred / len(embeddings)
    return product


def coding_rate(matrix: Tensor, epsilon: float) -> Tensor:
    """R(Sigma) = log det(I + C / epsilon Sigma)."""
    size = len(matrix)
    return torch.logdet(torch.eye(size, dtype=matrix.dtype, device=matrix.device) + size / epsilon * matrix)


def jsd(real: Tensor, fake: Tensor, epsilon: float) -> Tensor:
    """d = 1/2 [R(Sigma_mix) - 1/2 (R(Sigma_real) + R(Sigma_fake))]. Shape: (N, C) each."""
    mixed = coding_rate(covariance(torch.cat([real, fake])), epsilon)
    return 0.5 * (mixed - 0.5 * (coding_rate(covariance(real), epsilon) + coding_rate(covariance(fake), epsilon)))


class TextbookStep:
    """A copy of a method's networks, bank and random state, and the step over them.

    Args:
        method: a ``Structural`` with all terms, one power iteration, constant rates and Adam; it is not changed.
    """

    def __init__(self, method: Structural) -> None:
        self.settings = method.settings
        device = method.rng.device
        self.rng = torch.Generator(device)
        self.rng.set_state(method.rng.get_state())
        names = ("discriminator", "gan_generator", "average_discriminator", "generator", "bank")
        nets = [copy.deepcopy(getattr(method, name)).to(memory_format=torch.contiguous_format) for name in names]
        self.discriminator, self.gan_generator, self.average_discriminator, self.generator, self.bank = nets
        options = self.settings["optimiser"]
        self.optimisers = [
            kind(
                net.parameters(),
                lr=block["lr"],
                betas=block["betas"],
                weight_decay=block["weight_decay"],
                foreach=False,
            )
            for kind, net, block in (
                (torch.optim.AdamW, self.discriminator, options["discriminator"]),
                (torch.optim.Adam, self.gan_generator, options["generator"]),
            )
        ]

    def noise(self, n: int, length: int) -> Tensor:
        """Standard normal numbers. Shape: (n, length)."""
        return torch.randn(n, length, generator=self.rng, device=self.rng.device)

    def step(self, real: Tensor) -> dict[str, float]:
        """Update everything on a batch of real images. Shape: (N, 3, H, W), values in [-1, 1]."""
        real = real.contiguous()
        latents = self.noise(len(real), self.settings["generator"]["latent"])
        losses = self.update_discriminator(real, latents)
        losses |= self.update_generator(real, latents)
        for average, net in (
            (self.average_discriminator, self.discriminator),
            (self.generator, self.gan_generator),
        ):
            for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                mine.data = self.settings["ema"] * mine.data + (1 - self.settings["ema"]) * theirs.data
            for mine, theirs in zip(average.buffers(), net.buffers(), strict=True):
                mine.data = theirs.data.clone()
        self.bank.push(self.pushed_features, self.pushed_embeddings)
        return losses

    def average_features(self, images: Tensor) -> Tensor:
        """Unit features of the discriminator's moving average. Shape: (N, 3, H, W) to (N, D)."""
        with torch.no_grad():
            return F.normalize(
                represent(self.average_discriminator, self.named(self.average_discriminator), images), dim=1
            )

    @staticmethod
    def named(net: nn.Module) -> Parameters:
        """Parameters by name."""
        return dict(net.named_parameters())

    def nearest(self, queries: Tensor, real_features: Tensor, pool: Tensor, of_real: bool) -> Tensor:
        """Embeddings of each query's k neighbours by EMA features. Shape: (N, D), (N, D), pool (P, C) to (N, k, C)."""
        cosines = queries @ torch.cat([real_features, self.bank.features]).T
        if of_real:
            cosines.fill_diagonal_(-2)
        skip = 0 if of_real else int(self.settings["cluster"]["skip_best_for_generated"])
        return pool[cosines.argsort(dim=1, descending=True)[:, skip : skip + self.settings["cluster"]["k"]]]

    def closeness(self, queries: Tensor, z: Tensor, real_features: Tensor, pool: Tensor, of_real: bool) -> Tensor:
        """s: the mean cosine of z with the neighbours of its images, whose EMA features are the queries."""
        return (z[:, None] * self.nearest(queries, real_features, pool, of_real)).sum(2).mean()

    def update_discriminator(self, real: Tensor, latents: Tensor) -> dict[str, float]:
        """-d + w_c L_cluster + w_s L_reg + w_h hinge."""
        settings, net, parameters = self.settings, self.discriminator, self.named(self.discriminator)
        fake = generate(self.gan_generator, latents).detach()
        e_real, e_fake = embed(net, parameters, real), embed(net, parameters, fake)
        z_real, z_fake = F.normalize(e_real, dim=1), F.normalize(e_fake, dim=1)
        left = self.noise(2 * len(real), settings["discriminator"]["embedding"])
        sigma = torch.cat([sigmas(net, parameters, x, u) for x, u in zip((real, fake), left.chunk(2), strict=True)])
        pool = torch.cat([z_real, self.bank.embeddings])
        of_real, of_fake = self.average_features(real), self.average_features(fake)
        attraction = self.closeness(of_real, z_real, of_real, pool, True)
        losses = {
            "smoothness": ((sigma - 1) ** 2).mean(),
            "gaussian": -jsd(z_real, z_fake, settings["gaussian"]["epsilon"]),
            "hinge": (F.relu(1 - e_real.norm(dim=1)) ** 2).mean(),
            "cluster": self.closeness(of_fake, z_fake, of_real, pool, False) - attraction,
        }
        total: Any = sum(settings[name]["weight"] * loss for name, loss in losses.items())
        self.optimisers[0].zero_grad()
        total.backward()
        self.optimisers[0].step()
        self.pushed_features, self.pushed_embeddings = of_real, z_real.detach()
        self.gradient = [p.grad.clone() for p in self.discriminator.parameters() if p.grad is not None]
        logged = {f"d_{name}": loss.item() for name, loss in losses.items()}
        logged |= {"sigma": sigma.mean().item(), "sigma_max": sigma.max().item()}
        return logged | {"gradient_norm_d": self.length(self.gradient)}

    def update_generator(self, real: Tensor, latents: Tensor) -> dict[str, float]:
        """d + w_c L_cluster(G), against the discriminator as it stands after its own update."""
        settings, net, parameters = self.settings, self.discriminator, self.named(self.discriminator)
        for module in self.gan_generator.modules():  # the same latents again must meet the same spectral norms
            if type(module).__name__ == "_SpectralNorm":
                module.eval()
        fake = generate(self.gan_generator, latents)
        self.gan_generator.train()
        z_real = F.normalize(embed(net, parameters, real), dim=1).detach()
        z_fake = F.normalize(embed(net, parameters, fake), dim=1)
        pool = torch.cat([z_real, self.bank.embeddings])
        of_real, of_fake = self.average_features(real), self.average_features(fake.detach())
        losses = {
            "gaussian": jsd(z_real, z_fake, settings["gaussian"]["epsilon"]),
            "cluster": -self.closeness(of_fake, z_fake, of_real, pool, False),
        }
        total: Any = sum(settings[name]["weight"] * loss for name, loss in losses.items())
        self.optimisers[1].zero_grad()
        total.backward()
        self.optimisers[1].step()
        gradient = [p.grad for p in self.gan_generator.parameters() if p.grad is not None]
        return {f"g_{name}": loss.item() for name, loss in losses.items()} | {"gradient_norm_g": self.length(gradient)}

    @staticmethod
    def length(gradient: list[Tensor]) -> float:
        """Euclidean length of a gradient that lies in several tensors."""
        return math.sqrt(sum(float(part.square().sum()) for part in gradient))
