"""Reference row without training: the encoder as initialized. Its probe is the floor that a method must beat."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from structgan.method import Method
from structgan.models import encoder


class Random(Method):
    """An untrained encoder; ``step`` changes nothing."""

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        return {}
