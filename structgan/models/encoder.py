"""The encoder of a method without a discriminator: the structural GAN's backbone, or the one its authors would use.

With ``norm: group`` it is the backbone, so that rows of a table differ in the objective alone. That backbone was made
for the GAN: few norms, ELU, pooling in place of strides. With ``norm: batch`` it is the ResNet that SimCLR and its
successors use on small images (Chen et al. 2020, appendix B.9): blocks conv-norm-ReLU-conv-norm with strides, a 3x3
stem without max-pool, and batch norm everywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1

from structgan.models.discriminator import Backbone


class ResNet(nn.Module):
    """ResNet-18's shape with a CIFAR stem, of torchvision's blocks.

    Stage i has ``width * 2**i`` channels and ``blocks[i]`` blocks; every stage but the first halves the resolution.

    Shape: (N, 3, H, W) with values in [-1, 1] to (N, ``features``).
    """

    def __init__(self, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.stem, self.stages, self.features = nn.Sequential(*stem), nn.ModuleList(), width
        for stage, count in enumerate(blocks):
            layers = nn.Sequential()
            for block in range(count):
                stride, outputs = 2 if stage > 0 and block == 0 else 1, width * 2**stage
                shortcut = None
                if stride > 1 or self.features != outputs:
                    shortcut = nn.Sequential(conv1x1(self.features, outputs, stride), nn.BatchNorm2d(outputs))
                layers.append(BasicBlock(self.features, outputs, stride, shortcut))
                self.features = outputs
            self.stages.append(layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        return self.feature_maps(images)[-1].mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The map of each stage. Shape: (N, 3, H, W), values in [-1, 1], to (N, width * 2**i, H/2**i, W/2**i)."""
        maps, x = [], self.stem(images.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def build(image_size: int, width: int, blocks: Sequence[int], channels_per_group: int, norm: str) -> Backbone | ResNet:
    """The encoder of these settings: ``norm`` is ``group`` or ``batch``; the latter ignores ``channels_per_group``."""
    return ResNet(width, blocks) if norm == "batch" else Backbone(image_size, width, blocks, channels_per_group)
