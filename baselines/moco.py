"""MoCo v2+ (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297): queries find their keys in a queue.

A query is the embedding of one view of an image, and its key that of the other view. The keys of earlier images wait
in a queue and are the negatives. Keys come from a moving average of encoder and head, which takes no gradient. The plus
(solo-learn's "MoCo V2+", the row of published tables, after Chen & He 2021, arXiv 2011.10566) makes each view the query
once: the loss is the mean of both directions, with as many queries a step as SimCLR. ``symmetric: false`` is MoCo v2.

The head is lightly's. The queue is the structural GAN's memory bank, which holds pairs: here the keys of an image's two
views, so that a query only meets keys of views like its own key's. lightly's queue drops the end of a batch that passes
its own end, and belongs to one process.

The papers shuffle keys among processes, so that batch norms do not tell which batch a key is of. Here that is not
needed: the head has no norms, and with ``norm: batch`` the average's encoder normalizes by the running statistics of
the other one, much as in EMAN (Cai et al. 2021, arXiv 2101.08482). That other one sees the queries of both directions
at once.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.method import Method
from structgan.models import encoder
from structgan.models.memory import MemoryBank, ema_update_, frozen_copy
from structgan.precision import exact


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """-log exp(q k+ / t) / (exp(q k+ / t) + sum_queue exp(q k- / t)), mean over queries (He et al. 2020, Eq. 1).

    Shape: queries and keys (N, C), queue (K, C), unit vectors; a scalar.
    """
    positive = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([positive, queries @ queue.T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class MoCo(Method):
    """InfoNCE against a queue of keys from a momentum encoder."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        self.head = MoCoProjectionHead(self.encoder.features, settings["head_hidden"], settings["head_output"])
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])
        self.encoder_ema = frozen_copy(self.encoder)
        self.head_ema = frozen_copy(self.head)
        self.queue = MemoryBank(settings["queue_size"], settings["head_output"], settings["head_output"])

    def embed(self, views: list[Tensor], encoder: nn.Module, head: nn.Module) -> tuple[Tensor, ...]:
        """Unit vectors of each view. Shape: (N, 3, H, W) each to (N, C) each."""
        return F.normalize(exact(head)(encoder(torch.cat(views))), dim=1).chunk(len(views))

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        directions = 2 if self.settings["symmetric"] else 1
        queries = self.embed(views[:directions], self.encoder, self.head)
        with torch.no_grad():
            keys = self.embed(views[::-1][:directions], self.encoder_ema, self.head_ema)
        waiting = (self.queue.embeddings, self.queue.features)  # keys of second views; and of first, if symmetric
        losses = [
            exact(info_nce)(query, key, queue, self.settings["temperature"])
            for query, key, queue in zip(queries, keys, waiting, strict=False)
        ]
        loss = torch.stack(losses).mean()
        optim.minimize(self.optimizer, loss)
        decay = cosine_schedule(self.step_index, self.steps, **self.settings["ema"])
        ema_update_(self.encoder_ema, self.encoder, decay)
        ema_update_(self.head_ema, self.head, decay)
        self.queue.push(distributed.gather(keys[-1]), distributed.gather(keys[0]))
        return {"info_nce": loss.detach()}
