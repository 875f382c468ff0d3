"""Features: read in batches, from an encoder that must stay as it is, and standardised by the train split."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from blobs import blobs
from torch import Tensor, nn

from structgan.errors import UserError
from structgan.evaluation import features


class Encoder(nn.Module):
    """A convolution with batch norm: in training mode a forward pass changes its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.norm(self.convolution(images)).mean(dim=(2, 3))
        return pooled


def test_features_are_read_in_batches_from_images_in_minus_one_to_one() -> None:
    images = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8)
    found = features.extract(lambda x: x.flatten(1), images, batch_size=10)
    np.testing.assert_allclose(found.numpy(), images.flatten(1).numpy() / 127.5 - 1, atol=1e-6)
    encoder = Encoder().eval()
    one, many = features.extract(encoder, images, 23), features.extract(encoder, images, 4)
    assert not one.requires_grad and one.dtype == torch.float32
    torch.testing.assert_close(one, many)


def test_features_of_a_wrong_kind_are_refused() -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="uint8"):
        features.extract(lambda x: x.flatten(1), images.float())
    with pytest.raises(ValueError, match="must return"):
        features.extract(lambda x: x, images)
    with pytest.raises(UserError, match="NaN or infinity in 4 of 4 rows"):
        features.extract(lambda x: x.flatten(1) / 0, images)


def test_the_module_hash_covers_names_shapes_and_bytes() -> None:
    module = nn.Linear(2, 3)
    expected = hashlib.sha256()
    for name, shape in (("bias", "(3,)"), ("weight", "(3, 2)")):
        expected.update(f"{name} torch.float32 {shape}\n".encode())
        expected.update(module.state_dict()[name].numpy().tobytes())
    assert features.module_hash(module) == expected.hexdigest()
    before = features.module_hash(Encoder())
    assert features.module_hash(Encoder()) != before  # other weights


@pytest.mark.parametrize("what", ["weight", "buffer"])
def test_an_encoder_that_changes_is_noticed(what: str) -> None:
    encoder = Encoder().eval()
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    with features.frozen(encoder) as digest:
        features.extract(encoder, images)
    assert digest == features.module_hash(encoder)
    with pytest.raises(UserError, match="must be frozen"), features.frozen(encoder):
        if what == "buffer":
            features.extract(encoder.train(), images)
        else:
            with torch.no_grad():
                encoder.convolution.bias[0] += 1e-6


def test_standardising_uses_the_train_split_and_leaves_constant_features_at_zero() -> None:
    train, _ = blobs(500, 3, 6, 2.0)
    train[:, 2], train[:, 4] = 0.1, 1e6
    test = train[:50] + 1
    a, b = features.standardise(train, test)
    keep = [0, 1, 3, 5]
    mean, deviation = train.double().mean(0), train.double().std(0, correction=0)
    torch.testing.assert_close(b[:, keep], ((test - mean) / deviation)[:, keep].float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(a[:, keep].std(0, correction=0), torch.ones(4), atol=1e-5, rtol=1e-5)
    assert not a[:, [2, 4]].any() and not b[:, [2, 4]].any()
