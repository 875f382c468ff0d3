"""The structural GAN: variants, power iterations, image sizes. Its step is in
``test_reference_step.py``."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TINY, jacobian, pictures, seeded, transcribed

from structgan import config, train
from structgan.errors import UserError
from structgan.losses import gaussian, smoothness
from structgan.methods.structural import Structural
from structgan.training import monitor


def test_every_variant_trains(demo, make_run, digits):
    variants = demo["methods"]["structural"]["variants"]
    wanted = {"full", "no_cluster", "no_smoothness", "spectral_norm", "bhattacharyya", "wasserstein", "gaussian_only"}
    assert wanted <= set(variants)
    names = {}
    for variant in variants:
        run = train.Run(make_run("structural", variant=variant, steps=2), digits, "cpu")
        run.fit()
        names[variant] = set(run.history.records[-1]["losses"])
    full = {"d_gaussian", "d_hinge", "d_cluster", "d_smoothness", "g_gaussian", "g_cluster"}
    full |= {"sigma", "sigma_max", "gradient_norm_d", "gradient_norm_g"}
    assert names["full"] == names["bhattacharyya"] == names["wasserstein"] == full
    assert names["no_cluster"] == full - {"d_cluster", "g_cluster"}
    assert names["no_smoothness"] == names["spectral_norm"] == full - {"d_smoothness", "sigma", "sigma_max"}
    assert names["gaussian_only"] == {"d_gaussian", "d_hinge", "g_gaussian", "gradient_norm_d", "gradient_norm_g"}


@pytest.fixture
def structural():
    """Builds a tiny structural GAN at an image size; keywords change its settings."""

    def make(image_size=16, **changes):
        torch.manual_seed(0)
        settings = config.load([])["methods"]["structural"]["settings"]
        settings["discriminator"] = dict(TINY)
        settings["generator"] = {"latent": 8, "condition": 8, "channels": 8, "hidden": 4, "blocks": 1}
        settings["cluster"]["bank"] = 16
        built = Structural(config.merge(settings, changes), image_size, 10, steps=10)
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


def test_gaussians_of_groups_are_compared_group_by_group(structural):
    method = structural(per_process=3)
    real, fake = (F.normalize(torch.randn(6, 6, generator=seeded(seed)), dim=1) for seed in (1, 2))
    halves = [gaussian.jsd(real[rows], fake[rows], 0.5) for rows in (slice(0, 3), slice(3, 6))]
    assert torch.allclose(method.distance(real, fake), sum(halves) / 2)
    method.settings["per_process"] = None
    assert torch.equal(method.distance(real, fake), gaussian.jsd(real, fake, 0.5))
    method.settings["per_process"] = 4
    with pytest.raises(UserError, match=r"per_process = 4: must divide training\.batch_size = 6"):
        method.distance(real, fake)


def test_embeddings_that_are_all_alike_stop_the_run(structural):
    method, images = structural(), (pictures(8) * 127.5 + 127.5).byte()
    monitor.check_collapse(method, images, "run", 1)
    for parameter in method.discriminator_ema.projection[-1].parameters():
        parameter.fill_(1.0 if parameter.ndim == 1 else 0.0)
    with pytest.raises(UserError, match="run: the embeddings collapsed at step 1"):
        monitor.check_collapse(method, images, "run", 1)


def test_many_power_iterations_reach_the_largest_singular_value(structural):
    images = pictures(3).float()
    method = structural(smoothness={"power_iterations": 100})
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
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("size", [16, 32, 64, 96, 128])
def test_every_resolution_builds_and_trains_a_step(structural, size):
    method = structural(size)
    images = pictures(4, size).float()
    before = [p.clone() for p in (*method.discriminator.parameters(), *method.generator.parameters())]
    losses = method.step([images], None)
    assert all(loss.isfinite() for loss in losses.values())
    after = (*method.discriminator.parameters(), *method.generator.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    samples = method.sample(2, seeded())
    assert samples.shape == (2, 3, size, size) and samples.abs().max() <= 1
    assert method.eval().encode(images).shape == (4, method.encoder.features)
