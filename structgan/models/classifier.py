"""A small convolutional classifier: the feature extractor of the generation metrics on small data sets."""

import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """3×3 convolutions with batch norm and ReLU, halved down to 4 to 7 pixels, average pool, linear.

    ``width`` is that of the first stage. It doubles with each halving up to 4 * ``width``, the penultimate features.
    """

    def __init__(self, image_size: int, classes: int, width: int = 32) -> None:
        super().__init__()
        if image_size < 8 or classes < 2 or width < 1:
            raise ValueError(f"image_size {image_size} ≥ 8, classes {classes} ≥ 2 and width {width} ≥ 1 are needed")
        self.features = 4 * width
        layers = _stage(3, width, stride=1)
        channels, size = width, image_size
        while size >= 8:
            wider = min(2 * channels, self.features)
            layers += _stage(channels, wider, stride=2)
            channels, size = wider, size // 2
        self.body = nn.Sequential(*layers, *_stage(channels, self.features, stride=1))
        self.head = nn.Linear(self.features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Penultimate features and logits. Shape: (N, 3, H, W), values in [-1, 1], to (N, features), (N, classes)."""
        features = F.adaptive_avg_pool2d(self.body(images), 1).flatten(1)
        return features, self.head(features)


def _stage(channels: int, wider: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]
