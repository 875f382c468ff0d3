"""The suite's step against the reference's: same weights, latents and batch, same losses, gradients and next weights.

The reference step shares no code with the suite, so that a generator that upsamples in another block, a step in another
order or a bias too many shows here.
"""

import inspect
import re

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import pictures

from benchmarks import reference_networks, reference_step
from benchmarks.reference_step import ReferenceStep
from benchmarks.rival_step import RivalStep
from structgan import config, precision
from structgan.losses import gaussian
from structgan.methods.structural import Structural

SMALL = {
    "discriminator": {"width": 16, "blocks": [1, 2], "channels_per_group": 8, "hidden": 32, "embedding": 16},
    "generator": {"latent": 8, "condition": 8, "channels": 16, "hidden": 8, "blocks": 2},
    "cluster": {"bank": 12},
}
CASES = {
    "release": {},
    "two processes": {"per_process": 4},
    "no_cluster": {"cluster": {"weight": 0.0}},
    "no_smoothness": {"smoothness": {"weight": 0.0}},
    "gaussian_only": {"cluster": {"weight": 0.0}, "smoothness": {"weight": 0.0}},
    "no_gaussian": {"gaussian": {"weight": 0.0}},
    "no_hinge": {"hinge": {"weight": 0.0}},
    "bhattacharyya": {"gaussian": {"form": "bhattacharyya"}},
    "wasserstein": {"gaussian": {"form": "wasserstein"}},
    "two neighbors, no bank": {"cluster": {"k": 2, "bank": 0}},
    "first neighbor": {"cluster": {"skip_best_for_generated": False}},
}


def build(**changes):
    """A small structural GAN with averages unlike its networks, and embeddings on both sides of the hinge."""
    settings = config.merge(config.load([])["methods"]["structural"]["settings"], SMALL)
    torch.manual_seed(0)
    method = Structural(config.merge(settings, changes), 8, 10, steps=100).train()
    method.rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for average in (method.discriminator_ema, method.generator_ema):
            for parameter in average.parameters():
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
        length = method.discriminator(batch(0).to(torch.get_default_dtype()))[1].norm(dim=1).median()
        for parameter in method.discriminator.projection[-1].parameters():
            parameter.div_(length)
    return method


def batch(step):
    return pictures(8, 8).roll(step, 3)


def test_the_reference_shares_no_code_with_the_suite():
    text = "".join(map(inspect.getsource, (reference_step, reference_networks)))
    modules = set(re.findall(r"^\s*(?:from|import) ([\w.]+)", text, re.MULTILINE))
    assert {"torch", "benchmarks.reference_networks"} <= modules
    assert not {module for module in modules if module.startswith(("structgan", "baselines", "tests"))}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_reference(doubles, case):
    """Losses, gradients, weights, averages and the memory bank after each of two steps."""
    method = build(**CASES[case])
    reference = ReferenceStep(method, gaussian.FORMS[method.settings["gaussian"]["form"]])
    for step in range(2):
        losses, expected = method.step([batch(step)], None), reference.step(batch(step))
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-8, abs=1e-10)
        assert reference.cosine(method) > 1 - 1e-12
        oldest_first = -int(method.bank.position)
        assert torch.allclose(method.bank.features.roll(oldest_first, 0), reference.bank_features)
        assert torch.allclose(method.bank.embeddings.roll(oldest_first, 0), reference.bank_embeddings)
        for name in ("discriminator", "discriminator_ema"):
            mine, theirs = (getattr(side, name).parameters() for side in (method, reference))
            for own, wanted in zip(mine, theirs, strict=True):
                assert torch.allclose(own, wanted, rtol=1e-6, atol=1e-9), name
        for name in ("generator", "generator_ema"):
            own = getattr(method, name).state_dict()
            for key, wanted in getattr(reference, name).state_dict().items():
                if name == "generator" or not key.endswith(".u"):  # an average's vectors are never used
                    assert torch.allclose(own[reference_networks.suite_name(key)], wanted, rtol=1e-6, atol=1e-9), key
    assert (0 < losses["d_hinge"] < 1) and method.rng.get_state().equal(reference.rng.get_state())


@pytest.mark.parametrize("case", ["release", "two processes", "no_smoothness"])
def test_the_rival_does_the_same_work(doubles, case):
    reference, rival = ReferenceStep(build(**CASES[case])), RivalStep(build(**CASES[case]), "float64")
    for step in range(2):
        assert rival.step(batch(step)) == pytest.approx(reference.step(batch(step)), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(("name", "losses_apart", "cosine"), [("float32", 1e-5, 0.9999), ("bfloat16", 0.05, 0.98)])
def test_a_step_in_the_precisions_of_training(name, losses_apart, cosine):
    method, images = build(), pictures(32, 8).float()
    reference = ReferenceStep(method)
    expected = reference.step(images)
    with precision.autocast(name, "cpu"):
        losses = method.step([images], None)
    assert set(losses) == set(expected)
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, rel=losses_apart, abs=losses_apart), key
    assert reference.cosine(method) > cosine
    assert all(loss.dtype == torch.float32 for loss in losses.values())


def test_reused_latents_and_older_embeddings_are_other_steps(doubles):
    """What is cheaper or other than the release has another result, and by the first step already."""
    method = build(latents="reused")
    losses, expected = method.step([batch(0)], None), ReferenceStep(build(latents="reused")).step(batch(0))
    assert losses["d_gaussian"].item() == pytest.approx(expected["d_gaussian"])
    assert losses["g_gaussian"].item() != pytest.approx(expected["g_gaussian"], rel=1e-4)
    method = build(cluster={"embeddings": "before"})
    reference = ReferenceStep(method)
    before = F.normalize(reference.discriminator(batch(0)), dim=1).detach()
    losses, expected = method.step([batch(0)], None), reference.step(batch(0))
    assert losses["g_gaussian"].item() == pytest.approx(expected["g_gaussian"])
    assert torch.allclose(method.bank.embeddings[:8], before)
    assert not torch.allclose(before, reference.bank_embeddings[-8:], rtol=1e-4)
