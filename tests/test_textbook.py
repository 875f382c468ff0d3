"""The fast step against the textbook's: same weights and batch, same losses, gradients and next weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import pictures

from benchmarks.quality import Demo, compared
from benchmarks.textbook import TextbookStep
from structgan import config, precision
from structgan.methods.structural import Structural

SMALL = {
    "discriminator": {"width": 16, "blocks": [1, 1, 1], "channels_per_group": 8, "hidden": 32, "embedding": 16},
    "generator": {"latent": 8, "condition": 8, "channels": 16, "hidden": 8, "blocks": 1},
    "cluster": {"bank": 64},
}


def method():
    settings = config.merge(config.load([])["methods"]["structural"]["settings"], SMALL)
    torch.manual_seed(0)
    built = Structural(settings, 16, 10, steps=100).train()
    built.rng = torch.Generator().manual_seed(1)
    with torch.no_grad():  # averages that differ from the networks
        for average in (built.average_discriminator, built.generator):
            for parameter in average.parameters():
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    return built


def gradients(network):
    return torch.cat([p.grad.flatten().double() for p in network.parameters()])


@pytest.mark.parametrize(
    ("name", "losses_apart", "cosine"), [("float32", 1e-4, 0.99999), ("bfloat16", 0.05, 0.99)], ids=["float32", "fast"]
)
def test_a_step_is_the_textbook_step(name, losses_apart, cosine):
    fast, images = method(), pictures(32).float()
    textbook = TextbookStep(fast)
    expected = textbook.step(images)
    with precision.autocast(name, "cpu"):
        losses = fast.step([images], None)
    assert set(losses) == set(expected)
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, rel=losses_apart, abs=losses_apart / 10), key
    reference = torch.cat([g.flatten().double() for g in textbook.gradient])
    assert F.cosine_similarity(gradients(fast.discriminator), reference, dim=0) > cosine
    assert F.cosine_similarity(gradients(fast.gan_generator), gradients(textbook.gan_generator), dim=0) > cosine
    assert all(loss.dtype == torch.float32 for loss in losses.values())


def test_many_steps_follow_the_textbook():
    """In float64, where rounding does not grow: weights, averages and bank after five steps."""
    torch.set_default_dtype(torch.float64)
    try:
        fast = method()
        textbook = TextbookStep(fast)
        for step in range(5):
            images = pictures(16).roll(step, 3)
            fast.step([images], None)
            textbook.step(images)
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("discriminator", "gan_generator", "average_discriminator", "generator", "bank"):
        theirs = getattr(textbook, name).state_dict()
        for key, value in getattr(fast, name).state_dict().items():
            if "running" not in key and "num_batches" not in key:  # the textbook draws its images twice
                assert torch.allclose(value, theirs[key], rtol=1e-6, atol=1e-9), f"{name}.{key}"


def test_sides_of_the_quality_benchmark_differ_by_their_step_alone(tmp_path):
    """A step from the same weights, batch and latents ends at the same features; those of another seed are others."""
    demo = Demo(tmp_path, 1, "cpu")
    sides = [("textbook", 0), ("float32", 0), ("float32", 1)]
    methods = [demo.trained(side, seed)[0] for side, seed in sides]
    with torch.no_grad():
        book, fast, other = (method.encode(pictures(16).float()) for method in methods)
    assert (book - fast).abs().max() < 1e-3 < 0.1 < (other - fast).abs().max()


def test_sides_agree_within_a_pooled_deviation():
    found = compared({"textbook": [50.0, 52.0], "float32": [51.0, 53.5], "bfloat16": [60.0, 61.0]})
    assert found["float32"]["agrees"] and not found["bfloat16"]["agrees"]
    assert found["float32"]["points"] == 1.25 and found["float32"]["pooled_std"] == pytest.approx(1.6008, abs=1e-4)
