"""The structural GAN beside its step, which is compared with the reference in ``test_reference_step.py``."""

import pytest
import torch
from tiny_networks import TINY, jacobian, pictures, seeded, transcribed

from structgan import config
from structgan.errors import UserError
from structgan.losses import smoothness
from structgan.methods.structural import Structural
from structgan.training import monitor


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


def test_embeddings_that_are_all_alike_stop_the_run(structural):
    method, images = structural(), (pictures(8) * 127.5 + 127.5).byte()
    monitor.check_collapse(method, images, "run", 1)
    for parameter in method.discriminator_ema.projection[-1].parameters():
        parameter.fill_(1.0 if parameter.ndim == 1 else 0.0)
    with pytest.raises(UserError, match="run: the embeddings collapsed at step 1"):
        monitor.check_collapse(method, images, "run", 1)


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


def test_the_bank_takes_in_each_nth_batch(structural):
    method = structural(cluster={"update_every": 2})
    for step, position in enumerate((4, 4, 8, 8, 12)):
        method.step_index = step
        method.step([pictures(4).float()], None)
        assert int(method.bank.position) == position
