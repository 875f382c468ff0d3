"""The Gaussian diffusion process: the noise of an image at each time, and the steps back.

q(x_t | x_0) = N(a_t x_0, b_t^2 I) with a_t^2 = abar_t, b_t^2 = 1 - abar_t and abar_t = prod_{i <= t} (1 - beta_i), for
t = 1..T (Ho et al. 2020, arXiv 2006.11239, eq. 4); at t = 0 an image is clean.
"""

import itertools
import math

import torch
from torch import Tensor, nn


def betas(name: str, timesteps: int, first: float, last: float, offset: float) -> list[float]:
    """beta_1..beta_T of a schedule.

    ``linear``: equal steps from ``first`` to ``last`` (Ho et al. 2020). ``cosine``: abar_t = f(t) / f(0) with
    f(t) = cos^2(pi/2 (t/T + s) / (1 + s)) and s = ``offset``, each beta at most 0.999 (Nichol & Dhariwal 2021,
    arXiv 2102.09672, eq. 17).
    """
    if name == "linear":
        return [first + (last - first) * i / max(1, timesteps - 1) for i in range(timesteps)]
    f = [math.cos(math.pi / 2 * (t / timesteps + offset) / (1 + offset)) ** 2 for t in range(timesteps + 1)]
    return [min(1 - now / before, 0.999) for before, now in itertools.pairwise(f)]


class Diffusion(nn.Module):
    """The process of one schedule, and the clean image that a network's output implies.

    ``prediction`` is ``epsilon``, the noise, or ``v`` = a_t eps - b_t x_0 (Salimans & Ho 2022, arXiv 2202.00512), whose
    x_0 is well conditioned at every time. The other arguments are those of ``betas``.
    """

    signal: Tensor
    spread: Tensor

    def __init__(self, timesteps: int, name: str, first: float, last: float, offset: float, prediction: str) -> None:
        super().__init__()
        self.timesteps, self.prediction = timesteps, prediction
        kept = (1 - beta for beta in betas(name, timesteps, first, last, offset))
        self.abar = [1.0, *itertools.accumulate(kept, lambda a, b: a * b)]
        for buffer, values in (("signal", self.abar), ("spread", [1 - abar for abar in self.abar])):
            self.register_buffer(buffer, torch.tensor(values, dtype=torch.float64).sqrt().float(), persistent=False)

    def scales(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and b_t. Shape: times (N,), whole numbers from 0 to T, to (N, 1, 1, 1) each."""
        return self.signal[times][:, None, None, None], self.spread[times][:, None, None, None]

    def noised(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """x_t = a_t x_0 + b_t eps. Shape: x_0 and eps ~ N(0, I) (N, 3, H, W), times (N,)."""
        a, b = self.scales(times)
        return a * clean + b * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the network should predict: eps, or v. Shape: as ``noised``."""
        a, b = self.scales(times)
        return noise if self.prediction == "epsilon" else a * noise - b * clean

    def clean(self, noisy: Tensor, output: Tensor, times: Tensor) -> Tensor:
        """The x_0 that an output implies: (x_t - b_t eps) / a_t, or a_t x_t - b_t v. Shape: as ``noised``."""
        a, b = self.scales(times)
        return (noisy - b * output) / a if self.prediction == "epsilon" else a * noisy - b * output

    def path(self, steps: int) -> list[tuple[int, int]]:
        """Pairs (t, s) of ``steps`` steps back from T to 0, as even as whole numbers can be."""
        return list(itertools.pairwise(round(self.timesteps * i / steps) for i in range(steps, -1, -1)))

    def back(self, noisy: Tensor, clean: Tensor, t: int, s: int, eta: float, fresh: Tensor | None) -> Tensor:
        """One step from x_t to x_s, s < t, given x_0 (Song et al. 2021, DDIM, arXiv 2010.02502, eq. 12 and 16).

        x_s = a_s x_0 + (b_s^2 - c^2)^1/2 eps + c z with eps = (x_t - a_t x_0) / b_t and
        c = eta (b_s / b_t) (1 - abar_t / abar_s)^1/2. ``eta`` 0 is DDIM, where ``fresh``, z ~ N(0, I), may be None; 1
        with s = t - 1 is Algorithm 2 of Ho et al. with the posterior's variance. Shape of all: (N, 3, H, W).
        """
        past, now = self.abar[s], self.abar[t]
        variance = eta**2 * (1 - past) / (1 - now) * (1 - now / past)
        noise = (noisy - math.sqrt(now) * clean) / math.sqrt(1 - now)
        mean = math.sqrt(past) * clean + math.sqrt(max(0.0, 1 - past - variance)) * noise
        return mean if fresh is None else mean + math.sqrt(variance) * fresh
