"""The structural GAN: its terms, power iterations, image sizes, memory bank and monitors.

Its step is in ``test_reference_step.py``, and its variants' numbers are in ``methods/test_goldens.py``.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES
from tiny_networks import TINY, jacobian, pictures, seeded, transcribed

from benchmarks import reference_step
from structgan import config
from structgan.errors import UserError
from structgan.losses import gaussian, smoothness
from structgan.methods.structural import Structural
from structgan.training import health


@pytest.fixture
def structural(base):
    """Builds a tiny structural GAN at an image size; keywords change its settings."""

    def make(image_size=16, **changes):
        torch.manual_seed(0)
        settings = {**base["methods"]["structural"]["settings"], "discriminator": dict(TINY)}
        settings["generator"] = {"latent": 8, "condition": 8, "channels": 8, "hidden": 4, "blocks": 1}
        changes = config.merge({"cluster": {"bank": 16}}, changes)
        built = Structural(config.merge(settings, changes), image_size, 10, steps=10).train()
        built.rng = seeded(7)
        return built

    return make


MONITORS = {"gradient_norm_d", "gradient_norm_g"}
TERMS = {"d_gaussian", "d_hinge", "d_cluster", "d_smoothness", "g_gaussian", "g_cluster", "sigma", "sigma_max"}


LEFT_OUT = {"cluster": {"d_cluster", "g_cluster"}, "smoothness": {"d_smoothness", "sigma", "sigma_max"}}


@pytest.mark.parametrize(("term", "logged"), LEFT_OUT.items())
def test_a_term_without_weight_is_left_out(structural, term, logged):
    for weight, left_out in ((1.0, set()), (0.0, logged)):
        assert structural(**{term: {"weight": weight}}).step([IMAGES], None).keys() == (TERMS | MONITORS) - left_out


def test_spectral_norm_bounds_every_layer_of_the_discriminator_and_of_its_average(structural):
    method = structural(spectral_norm=True, smoothness={"weight": 0.0})
    method.step([pictures(4).float()], None)
    for network in (method.discriminator, method.discriminator_ema):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        network.train()
        for _ in range(200):
            weights = [layer.weight for layer in layers]  # each look is one power iteration
        norms = torch.stack([torch.linalg.svdvals(weight.detach().flatten(1))[0] for weight in weights])
        assert len(layers) > 5 and torch.allclose(norms, torch.ones(len(layers)), atol=1e-3)


def test_gaussians_of_groups_are_compared_group_by_group(structural):
    method = structural(per_process=3)
    real, fake = (F.normalize(torch.randn(6, 6, generator=seeded(seed)), dim=1) for seed in (1, 2))
    halves = [gaussian.jsd(real[rows], fake[rows], 0.5) for rows in (slice(0, 3), slice(3, 6))]
    assert torch.allclose(method.distance(real, fake), sum(halves) / 2)
    method.settings["per_process"] = None
    assert torch.equal(method.distance(real, fake), gaussian.jsd(real, fake, 0.5))
    method.settings["per_process"] = 4
    with pytest.raises(UserError, match=r"per_process = 4: .*training\.batch_size = 6"):
        method.distance(real, fake)


def test_embeddings_that_are_all_alike_stop_the_run(structural):
    method, images = structural(), (pictures(8) * 127.5 + 127.5).byte()
    health.check_collapse(method, images, "run", 1)
    for parameter in method.discriminator_ema.projection[-1].parameters():
        parameter.fill_(1.0 if parameter.ndim == 1 else 0.0)
    with pytest.raises(UserError, match="run: the embeddings collapsed at step 1"):
        health.check_collapse(method, images, "run", 1)


def test_many_power_iterations_reach_the_largest_singular_value(structural):
    images, method = pictures(3).float(), structural(smoothness={"power_iterations": 100})
    net = method.discriminator
    exact = torch.stack([torch.linalg.svdvals(jacobian(transcribed(net.double()), x))[0] for x in images.double()])
    net.float()
    images.requires_grad_(True)
    embeddings, tape = net.trace(images)

    def largest():
        return smoothness.penalty(net.derivative(method.power_iteration(images, embeddings, tape), tape))[1]

    many = largest()
    method.settings["smoothness"]["power_iterations"] = 1
    one = largest()
    assert torch.allclose(many.double(), exact, rtol=1e-3)
    assert (one.double() < exact * 1.0001).all() and (one < many * 0.999).any()


@pytest.mark.parametrize("size", [32, 96, 128])
def test_every_resolution_builds_and_trains_a_step(structural, size):
    method, images = structural(size), pictures(4, size).float()
    learning = (*method.discriminator.parameters(), *method.generator.parameters())
    before = [p.clone() for p in learning]
    assert all(loss.isfinite() for loss in method.step([images], None).values())
    assert not any(map(torch.equal, before, learning))
    samples = method.sample(2, seeded())
    assert samples.shape == (2, 3, size, size) and samples.abs().max() <= 1
    assert method.eval().encode(images).shape == (4, method.encoder.features)


@pytest.mark.parametrize("every", [1, 2])
def test_the_bank_takes_in_each_nth_batch(structural, every):
    """Four steps against a list: steps 0, n, 2n, ... overwrite the oldest entries, in the order of the batch."""
    method, size = structural(cluster={"update_every": every, "bank": 10}), 4
    slots = list(zip(method.bank.features.tolist(), method.bank.embeddings.tolist(), strict=True))
    place = 0
    for step in range(4):
        real = pictures(size).float().roll(step, 3)
        h = F.normalize(method.encoder(real), dim=1)
        method.step_index = step
        method.step([real], None)
        z = F.normalize(method.discriminator(real)[1], dim=1)
        if step % every == 0:
            for pair in zip(h.tolist(), z.tolist(), strict=True):
                slots[place] = pair
                place = (place + 1) % 10
        for stored, column in zip(
            (method.bank.features, method.bank.embeddings), zip(*slots, strict=True), strict=True
        ):
            assert torch.allclose(stored, torch.tensor(column), atol=1e-5)


def test_monitors_are_what_they_say(structural):
    torch.set_default_dtype(torch.float64)
    try:
        method, twin = structural(), structural()
        losses = method.step([IMAGES.double()], None)
        n, settings = len(IMAGES), twin.settings
        fake = twin.generator(torch.randn(n, settings["generator"]["latent"], generator=twin.rng)).detach()
        left = torch.randn(2 * n, settings["discriminator"]["embedding"], generator=twin.rng)
        book = reference_step.ReferenceStep(twin).discriminator
        sigma = reference_step.sigmas(book, torch.cat([IMAGES.double(), fake]), left).tolist()
    finally:
        torch.set_default_dtype(torch.float32)
    assert losses["sigma"].item() == pytest.approx(sum(sigma) / (2 * n))
    assert losses["sigma_max"].item() == pytest.approx(max(sigma)) and max(sigma) > 1.001 * min(sigma)
    for name, network in (("d", method.discriminator), ("g", method.generator)):
        squares = [number**2 for p in network.parameters() for number in p.grad.flatten().tolist()]
        assert losses[f"gradient_norm_{name}"].item() == pytest.approx(sum(squares) ** 0.5) and any(squares)
