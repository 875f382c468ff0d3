"""The structural objectives on an encoder that another generative model trains: a game of its encoder and decoder.

Zhang & Maire (2023) train a discriminator, P after E, and a generator. A model with an encoder and a decoder has both
players: E with a projection P is the discriminator, the decoder the generator. With z = P(E(x)) / |P(E(x))| of real
images and of images that the decoder made, d the distance of their Gaussians and s the mean cosine with the nearest
real neighbors' z, E and P minimize

    L = -w_g d(Z_real, Z_made) + w_c [s(made) - s(real)] + w_h mean max(0, 1 - |P(E(x_real))|)^2

and the decoder maximizes r L. With r = 1 that is the paper's game: its generator's loss w_g d - w_c s(made) is -L up to
terms without made images. A decoder has another loss as well, a mean over pixels with a far smaller gradient at an
image; r weighs the two.

Chosen here, where the paper is silent: one backward pass updates both players, and the gradient changes its sign where
it enters the made images. Neighbors are found, as in the paper, by the pooled features of the encoder's moving average,
among the batch's real images and a memory bank; as in the structural GAN's variants ``first_neighbor`` and
``bank_before``, a made image keeps its best match, and the bank has embeddings from before the update. There is no
L_reg: the model's own loss keeps E from degenerating.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import distributed
from structgan.losses import adversarial, cluster, gaussian
from structgan.models.memory import MemoryBank
from structgan.precision import exact


def wanted(settings: Mapping[str, Any]) -> bool:
    """Whether any term of the game has a weight."""
    return any(settings[name]["weight"] for name in ("gaussian", "cluster", "hinge"))


class StructuralGame(nn.Module):
    """P, the memory bank, and L on features of real and of made images.

    Args:
        features: length of h = E(x).
        settings: ``hidden`` and ``embedding`` of P; ``reversal``: r; ``gaussian``: form, epsilon, weight; ``cluster``:
            weight, k, bank; ``hinge``: weight.
    """

    def __init__(self, features: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings, hidden, embedding = settings, settings["hidden"], settings["embedding"]
        self.projection = nn.Sequential(nn.Linear(features, hidden), nn.ELU(inplace=True), nn.Linear(hidden, embedding))
        self.bank = MemoryBank(settings["cluster"]["bank"], features, embedding)

    def against(self, real: Tensor, made: Tensor) -> Tensor:
        """Both batches in one; the gradient of the made one is multiplied by -r (Ganin & Lempitsky 2015).

        Shape: (N, 3, H, W) each, to (2N, 3, H, W).
        """
        reversed_ = made.view_as(made)
        reversed_.register_hook(lambda grad: grad * -self.settings["reversal"])  # type: ignore[no-untyped-call]
        return torch.cat([real, reversed_])

    def forward(self, features: Tensor, average: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """L, and its terms without their weights, detached; the real half of the batch goes to the bank.

        Args:
            features: h of ``images``. Shape: (2N, D).
            average: the moving average of E, which finds the neighbors.
            images: the real images and, after them, the made ones. Shape: (2N, 3, H, W), values in [-1, 1].
        """
        embeddings = exact(self.projection)(features)
        z_real, z_made = F.normalize(embeddings, dim=1).chunk(2)
        all_real, all_made = distributed.gather(z_real), distributed.gather(z_made)
        options = self.settings["gaussian"]
        terms = {
            "gaussian": -gaussian.FORMS[options["form"]](all_real, all_made, options["epsilon"]),
            "hinge": adversarial.norm_hinge(embeddings[: len(z_real)]),
        }
        if self.settings["cluster"]["weight"]:
            with torch.no_grad():
                of_real, of_made = F.normalize(average(images), dim=1).chunk(2)
            candidates = cluster.Candidates(of_real, self.bank.features, self.settings["cluster"]["k"], "objectives")
            pool = torch.cat([all_real, self.bank.embeddings])
            attraction = cluster.similarity(z_real, pool, candidates.of_real())
            terms["cluster"] = cluster.similarity(z_made, pool, candidates.of_fake(of_made)) - attraction
            self.bank.push(candidates.features, all_real.detach())
        total = torch.stack([self.settings[name]["weight"] * term for name, term in terms.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}
