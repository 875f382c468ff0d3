"""The structural GAN's step transcribed from the paper and its release, sharing no code with the suite.

It is the oracle of the suite's step and the yardstick of its speed. Nothing here is optimized: float32 and contiguous
tensors; real and generated images pass through the discriminator one batch after the other; the Jacobian term is taken
sample by sample (``torch.func``, vmap of vjp for v and of jvp for J v); features of the moving average are computed in
each of the two updates; the generator's update leaves gradients on the discriminator; optimizers and averages go
parameter by parameter; every loss is read on each step.

``ReferenceStep`` copies the weights, the bank and the random state of a ``Structural`` method. A step then computes the
same losses, gradients and weights, provided that the suite's step is the release's.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import get_total_norm as norm

from benchmarks.reference_networks import Discriminator, Generator, copy_generator, copy_parameters, suite_name

TERMS = ("gaussian", "cluster", "smoothness", "hinge")
Distance: TypeAlias = Callable[[Tensor, Tensor, float], Tensor]


def sigmas(net: Callable[[Tensor], Tensor], images: Tensor, left: Tensor) -> Tensor:
    """|J v| of each sample, with v = J^T u / |J^T u| held constant. Shape: (N, 3, H, W) and u (N, C) to (N,)."""

    def one(image: Tensor, u: Tensor) -> Tensor:
        def function(x: Tensor) -> Tensor:
            return net(x[None])[0]

        right = torch.func.vjp(function, image)[1](u)[0].detach()
        right = right / right.norm()
        return torch.func.jvp(function, (image,), (right,))[1].norm()  # type: ignore[no-any-return]

    return torch.func.vmap(one)(images, left)


def covariance(embeddings: Tensor) -> Tensor:
    """(Z - mu)^T (Z - mu) / N with mu the mean scaled to unit length. Shape: (N, C) to (C, C)."""
    mean = embeddings.mean(0)
    centered = embeddings - mean / mean.norm()
    product: Tensor = centered.T @ centered / len(embeddings)
    return product


def coding_rate(matrix: Tensor, epsilon: float) -> Tensor:
    """R(Sigma) = log det(I + C / epsilon Sigma)."""
    size = len(matrix)
    return torch.logdet(torch.eye(size, dtype=matrix.dtype, device=matrix.device) + size / epsilon * matrix)


def jsd(real: Tensor, fake: Tensor, epsilon: float) -> Tensor:
    """d = 1/2 [R(Sigma_mix) - 1/2 (R(Sigma_real) + R(Sigma_fake))]. Shape: (N, C) each."""
    mixed = coding_rate(covariance(torch.cat([real, fake])), epsilon)
    return 0.5 * (mixed - 0.5 * (coding_rate(covariance(real), epsilon) + coding_rate(covariance(fake), epsilon)))


class ReferenceStep:
    """Networks, bank and random state copied from a method of the suite, and the release's step over them.

    Args:
        method: a ``Structural`` with one power iteration, fresh latents, a bank of updated embeddings, constant rates
            and Adam; it is not changed.
        distance: d of two batches of embeddings; the paper's by default.
    """

    def __init__(self, method: Any, distance: Distance = jsd) -> None:
        self.settings, self.distance = method.settings, distance
        self.weights = {name: self.settings[name]["weight"] for name in TERMS}
        device, dtype = method.rng.device, next(method.parameters()).dtype
        self.rng = torch.Generator(device)
        self.rng.set_state(method.rng.get_state())
        self.discriminator = Discriminator(**self.settings["discriminator"]).to(device, dtype)
        self.discriminator_ema = copy.deepcopy(self.discriminator)
        self.generator = Generator(method.image_size, **self.settings["generator"]).to(device, dtype)
        copy_parameters(method.discriminator, self.discriminator)
        copy_parameters(method.discriminator_ema, self.discriminator_ema)
        copy_generator(method.generator.state_dict(), self.generator)
        self.generator_ema = copy.deepcopy(self.generator)
        copy_generator(method.generator_ema.state_dict(), self.generator_ema)
        self.skip = int(self.settings["cluster"]["skip_best_for_generated"])
        oldest_first = -int(method.bank.position)
        self.bank_features = method.bank.features.roll(oldest_first, 0)
        self.bank_embeddings = method.bank.embeddings.roll(oldest_first, 0)
        keys = ("lr", "betas", "weight_decay")
        rates = {name: {key: block[key] for key in keys} for name, block in self.settings["optimizer"].items()}
        self.optimizers = (
            torch.optim.AdamW(self.discriminator.parameters(), foreach=False, **rates["discriminator"]),
            torch.optim.Adam(self.generator.parameters(), foreach=False, **rates["generator"]),
        )

    def cosine(self, method: Any) -> float:
        """Cosine of a method's gradients of its last step with these, the lower one of both players."""
        grads = {suite_name(name): p.grad for name, p in self.generator.named_parameters()}
        expected: dict[str, list[Tensor | None]] = {"discriminator": [*self.gradient]}
        expected["generator"] = [grads[name] for name, _ in method.generator.named_parameters()]
        cosines = []
        for player, theirs in expected.items():
            mine = [parameter.grad for parameter in getattr(method, player).parameters()]
            a, b = (torch.cat([g.flatten().double() for g in part if g is not None]) for part in (mine, theirs))
            cosines.append(F.cosine_similarity(a, b, dim=0).item())
        return min(cosines)

    def noise(self, n: int, length: int) -> Tensor:
        """Standard normal numbers. Shape: (n, length)."""
        return torch.randn(n, length, generator=self.rng, device=self.rng.device, dtype=self.bank_features.dtype)

    def step(self, real: Tensor) -> dict[str, float]:
        """Update everything on a batch of real images. Shape: (N, 3, H, W), values in [-1, 1]."""
        real = real.contiguous()
        self.images = min(len(real), self.settings["per_process"] or len(real))
        losses = self.update_discriminator(real) | self.update_generator(real)
        self.update_averages()
        if self.weights["cluster"] and (size := len(self.bank_features)):
            self.bank_features = torch.cat([self.bank_features, self.pushed_features])[-size:]
            self.bank_embeddings = torch.cat([self.bank_embeddings, self.pushed_embeddings])[-size:]
        return losses

    def update_averages(self) -> None:
        """Move both averages towards the networks in training."""
        for average, net in ((self.discriminator_ema, self.discriminator), (self.generator_ema, self.generator)):
            for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                mine.data = self.settings["ema"] * mine.data + (1 - self.settings["ema"]) * theirs.data

    def average_features(self, images: Tensor) -> Tensor:
        """Unit features of the discriminator's moving average. Shape: (N, 3, H, W) to (N, D)."""
        with torch.no_grad():
            return F.normalize(self.discriminator_ema.features(images), dim=1)

    def closeness(self, queries: Tensor, z: Tensor, real_features: Tensor, z_real: Tensor, skip: int) -> Tensor:
        """s: the mean cosine of z with its neighbors' z, among one process's real images and the bank.

        Args:
            queries: features of the images of z, which find the neighbors. Shape: (N, D).
            z: Shape: (N, C).
            real_features, z_real: of the process's real images. Shape: (N, D) and (N, C).
            skip: how many best matches to drop; the first one of a real image is that image.
        """
        cosines = queries @ torch.cat([real_features, self.bank_features]).T
        pool = torch.cat([z_real, self.bank_embeddings])
        nearest = cosines.argsort(dim=1, descending=True)[:, skip : skip + self.settings["cluster"]["k"]]
        return (z[:, None] * pool[nearest]).sum(2).mean()

    def update_discriminator(self, real: Tensor) -> dict[str, float]:
        """-d + w_c L_cluster + w_s L_reg + w_h hinge."""
        settings, net = self.settings, self.discriminator
        fake = self.generator(self.noise(len(real), settings["generator"]["latent"]), self.images).detach()
        lengths = [real.new_zeros(0)]
        if self.weights["smoothness"]:
            left = self.noise(2 * len(real), settings["discriminator"]["embedding"]).chunk(2)
            lengths = [sigmas(net, x, u) for x, u in zip((real, fake), left, strict=True)]
        sigma, found = torch.cat(lengths), []
        for x, y in zip(torch.split(real, self.images), torch.split(fake, self.images), strict=True):
            found.append(self.losses(x, y, net(x), net(y), sigma))
        return self.finish(found, sigma)

    def losses(self, x: Tensor, y: Tensor, e_real: Tensor, e_fake: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """The discriminator's, of one process's real images x and generated ones y, by their embeddings."""
        z_real, z_fake = F.normalize(e_real, dim=1), F.normalize(e_fake, dim=1)
        of_real, of_fake = self.average_features(x), self.average_features(y)
        attraction = self.closeness(of_real, z_real, of_real, z_real, skip=1)
        repulsion = self.closeness(of_fake, z_fake, of_real, z_real, self.skip)
        return {
            "smoothness": ((sigma - 1) ** 2).mean(),
            "gaussian": -self.distance(z_real, z_fake, self.settings["gaussian"]["epsilon"]),
            "hinge": (F.relu(1 - e_real.norm(dim=1)) ** 2).mean(),
            "cluster": repulsion - attraction,
        }

    def finish(self, found: list[dict[str, Tensor]], sigma: Tensor) -> dict[str, float]:
        """Update the discriminator; what is logged of it."""
        total = self.minimize(found, 0)
        self.gradient = [p.grad.clone() for p in self.discriminator.parameters() if p.grad is not None]
        logged = {f"d_{name}": loss for name, loss in total.items()} | {"gradient_norm_d": norm(self.gradient).item()}
        if self.weights["smoothness"]:
            logged |= {"sigma": sigma.mean().item(), "sigma_max": sigma.max().item()}
        return logged

    def update_generator(self, real: Tensor) -> dict[str, float]:
        """d + w_c L_cluster(G), against the updated discriminator, on images of new latents."""
        settings, net = self.settings, self.discriminator
        fake = self.generator(self.noise(len(real), settings["generator"]["latent"]), self.images)
        features, embeddings, found = [], [], []
        for x, y in zip(torch.split(real, self.images), torch.split(fake, self.images), strict=True):
            z_real, z_fake = F.normalize(net(x), dim=1).detach(), F.normalize(net(y), dim=1)
            of_real, of_fake = self.average_features(x), self.average_features(y.detach())
            losses = {
                "gaussian": self.distance(z_real, z_fake, settings["gaussian"]["epsilon"]),
                "cluster": -self.closeness(of_fake, z_fake, of_real, z_real, self.skip),
            }
            found.append(losses)
            features.append(of_real)
            embeddings.append(z_real)
        self.pushed_features, self.pushed_embeddings = torch.cat(features), torch.cat(embeddings)
        total = self.minimize(found, 1)
        gradient = [p.grad for p in self.generator.parameters() if p.grad is not None]
        return {f"g_{name}": loss for name, loss in total.items()} | {"gradient_norm_g": norm(gradient).item()}

    def minimize(self, found: list[dict[str, Tensor]], player: int) -> dict[str, float]:
        """One step of a player's optimizer on the weighted sum of the processes' mean losses; these as numbers.

        The Gaussian term and the hinge are always computed; the others have no loss where their weight is 0.
        """
        names = [name for name in found[0] if name in ("gaussian", "hinge") or self.weights[name]]
        wanted = {name: torch.stack([losses[name] for losses in found]).mean() for name in names}
        total: Any = sum(self.weights[name] * loss for name, loss in wanted.items())
        self.optimizers[player].zero_grad()
        total.backward()
        self.optimizers[player].step()
        return {name: loss.item() for name, loss in wanted.items()}
