"""The structural GAN: its objective term by term, its variants, its power iterations, every image size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES, same, snapshot
from tiny_networks import TINY, jacobian, parameters, pictures, seeded

from benchmarks import textbook
from structgan import config, train
from structgan.errors import UserError
from structgan.losses import gaussian, smoothness
from structgan.methods.structural import Structural
from structgan.training import health


@pytest.fixture
def doubles():
    """Everything in float64, so that two ways to the same gradient agree to many digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(settings):
    torch.manual_seed(0)
    method = Structural(settings, 16, 10, steps=10)
    method.rng = torch.Generator().manual_seed(5)
    with torch.no_grad():  # averages that differ from the networks, and embeddings on both sides of the hinge
        for average in (method.average_discriminator, method.generator):
            for p in average.parameters():
                p.mul_(1 + 0.1 * torch.randn_like(p))
        length = method.discriminator(IMAGES.double())[1].norm(dim=1).median()
        for p in method.discriminator.projection[-1].parameters():
            p.div_(length)
    return method


WEIGHTS = {"gaussian": 1.0, "cluster": 3.0, "smoothness": 5.0, "hinge": 20.0}
CASES = {
    "full": {},
    "no_cluster": {"cluster": {"weight": 0.0}},
    "no_smoothness": {"smoothness": {"weight": 0.0}},
    "gaussian_only": {"cluster": {"weight": 0.0}, "smoothness": {"weight": 0.0}},
    "no_gaussian": {"gaussian": {"weight": 0.0}},
    "no_hinge": {"hinge": {"weight": 0.0}},
    "bhattacharyya": {"gaussian": {"form": "bhattacharyya"}},
    "wasserstein": {"gaussian": {"form": "wasserstein"}},
    "two_neighbours": {"cluster": {"k": 2, "bank": 0}},
    "release": {"cluster": {"skip_best_for_generated": True}},
}


@pytest.mark.parametrize("case", CASES)
def test_one_step_follows_the_gradients_of_the_objectives(doubles, demo, case):
    """METHOD: D minimises -d + 3 L_cluster + 5 L_reg + 20 hinge, G then d + 3 L_cluster(G), each with its own terms."""
    settings = config.merge(demo["methods"]["structural"]["settings"], CASES[case])
    weights = {key: CASES[case].get(key, {}).get("weight", value) for key, value in WEIGHTS.items()}
    method, twin = build(settings), build(settings)
    real, n, k = IMAGES.double(), len(IMAGES), settings["cluster"]["k"]
    distance = gaussian.FORMS[settings["gaussian"]["form"]]
    before = {key: snapshot(getattr(method, key)) for key in ("average_discriminator", "generator")}
    losses = method.step([real], None)

    fake = twin.gan_generator(torch.randn(n, settings["generator"]["latent"], generator=twin.rng))
    h = F.normalize(twin.encoder(torch.cat([real, fake]).detach()), dim=1)
    cosines = h @ torch.cat([h[:n], twin.bank.features]).T
    cosines[range(n), range(n)] = -2.0
    drop = [0] * n + [int(settings["cluster"]["skip_best_for_generated"])] * n
    nearest = [row.argsort(descending=True)[d : d + k] for row, d in zip(cosines, drop, strict=True)]

    def closeness(z, chosen, pool):
        return torch.stack([(z[i] * pool[j]).sum() for i in range(n) for j in chosen[i]]).mean()

    parameters = dict(twin.discriminator.named_parameters())
    images = torch.cat([real, fake]).detach()
    e = textbook.embed(twin.discriminator, parameters, images)
    z = F.normalize(e, dim=1)
    pool = torch.cat([z[:n], twin.bank.embeddings])
    terms = {
        "gaussian": -distance(z[:n], z[n:], 0.5),
        "cluster": -closeness(z[:n], nearest[:n], pool) + closeness(z[n:], nearest[n:], pool),
        "hinge": torch.stack([(1 - row.norm()).clamp(min=0) ** 2 for row in e[:n]]).mean(),
    }
    assert 0 < terms["hinge"] < 1
    if weights["smoothness"]:
        left = torch.randn(2 * n, e.shape[1], generator=twin.rng)
        sigma = textbook.sigmas(twin.discriminator, parameters, images, left)
        terms["smoothness"] = (sigma - 1).square().mean()
    if not weights["cluster"]:
        del terms["cluster"]
    logged = {key.removeprefix("d_"): value for key, value in losses.items() if key.startswith("d_")}
    assert set(logged) == set(terms)
    for key, value in terms.items():
        assert logged[key].item() == pytest.approx(value.item(), rel=1e-8, abs=1e-12), key
    compare(method.discriminator, parameters, sum(weights[key] * value for key, value in terms.items()))

    updated = {key: value.detach() for key, value in method.discriminator.named_parameters()}
    z_real, z_fake = (F.normalize(textbook.embed(twin.discriminator, updated, x), dim=1) for x in (real, fake))
    objective = weights["gaussian"] * distance(z_real, z_fake, 0.5)
    if weights["cluster"]:
        pool = torch.cat([z_real, twin.bank.embeddings])
        objective = objective - weights["cluster"] * closeness(z_fake, nearest[n:], pool)
    compare(method.gan_generator, dict(twin.gan_generator.named_parameters()), objective)

    for average, network in (("average_discriminator", "discriminator"), ("generator", "gan_generator")):
        now = dict(getattr(method, network).named_parameters())
        for key, value in getattr(method, average).named_parameters():
            expected = settings["ema"] * before[average][key] + (1 - settings["ema"]) * now[key]
            assert torch.allclose(value, expected, rtol=1e-9, atol=1e-12)
    if weights["cluster"] and settings["cluster"]["bank"]:
        assert torch.allclose(method.bank.features[:n], h[:n]) and torch.allclose(method.bank.embeddings[:n], z[:n])
    else:
        assert same(method.bank.state_dict(), twin.bank.state_dict())


def compare(network, leaves, objective):
    """The gradients that a step left in ``network`` against those of an objective in ``leaves``."""
    expected = torch.autograd.grad(objective, list(leaves.values()), allow_unused=True)
    for (key, parameter), gradient in zip(network.named_parameters(), expected, strict=True):
        gradient = torch.zeros_like(parameter) if gradient is None else gradient
        assert torch.allclose(parameter.grad, gradient, rtol=1e-6, atol=1e-9 * float(gradient.abs().max() + 1)), key
    assert any(p.grad.abs().max() > 1e-4 for p in network.parameters())


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
    for network in (method.discriminator, method.average_discriminator):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        network.train()
        for _ in range(200):
            weights = [layer.weight for layer in layers]  # each look is one power iteration
        norms = torch.stack([torch.linalg.svdvals(weight.detach().flatten(1))[0] for weight in weights])
        assert len(layers) > 5 and torch.allclose(norms, torch.ones(len(layers)), atol=1e-3)


def test_gaussians_of_groups_are_compared_group_by_group(structural):
    method = structural(gaussian={"images": 3})
    real, fake = (F.normalize(torch.randn(6, 6, generator=seeded(seed)), dim=1) for seed in (1, 2))
    halves = [gaussian.jsd(real[rows], fake[rows], 0.5) for rows in (slice(0, 3), slice(3, 6))]
    assert torch.allclose(method.distance(real, fake), sum(halves) / 2)
    method.settings["gaussian"]["images"] = None
    assert torch.equal(method.distance(real, fake), gaussian.jsd(real, fake, 0.5))
    method.settings["gaussian"]["images"] = 4
    with pytest.raises(UserError, match=r"gaussian\.images = 4: must divide training\.batch_size = 6"):
        method.distance(real, fake)


def test_embeddings_that_are_all_alike_stop_the_run(structural):
    method, images = structural(), (pictures(8) * 127.5 + 127.5).byte()
    health.check_collapse(method, images, "run", 1)
    for parameter in method.average_discriminator.projection[-1].parameters():
        parameter.fill_(1.0 if parameter.ndim == 1 else 0.0)
    with pytest.raises(UserError, match="run: the embeddings collapsed at step 1"):
        health.check_collapse(method, images, "run", 1)


def test_many_power_iterations_reach_the_largest_singular_value(structural):
    images = pictures(3).float()
    method = structural(smoothness={"power_iterations": 100})
    net = method.discriminator
    exact = torch.stack([torch.linalg.svdvals(jacobian(net.double(), parameters(net), x))[0] for x in images.double()])
    net.float()
    images.requires_grad_(True)
    embeddings, tape = net.trace(images)

    def largest():
        return smoothness.penalty(net.derivative(method.steepest(images, embeddings, tape), tape))[1]

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
    before = [p.clone() for p in (*method.discriminator.parameters(), *method.gan_generator.parameters())]
    losses = method.step([images], None)
    assert all(loss.isfinite() for loss in losses.values())
    after = (*method.discriminator.parameters(), *method.gan_generator.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    samples = method.sample(2, seeded())
    assert samples.shape == (2, 3, size, size) and samples.abs().max() <= 1
    assert method.eval().encode(images).shape == (4, method.encoder.features)
