"""The GAN-based feature learners against what their papers say: losses in loops, and where gradients go."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES, same, snapshot

from baselines import ssgan
from structgan import config, train
from structgan.errors import UserError

PLAIN = {"spectral_norm": False}  # each pass of a loop would turn its vectors on


@pytest.fixture
def begin(make_run, digits):
    """A run of a method without spectral norm, and its first batch."""

    def make(name, augmentation="none", **settings):
        run = train.Run(make_run(name, augmentation=augmentation, settings={**PLAIN, **settings}), digits, "cpu")
        run.method.train()
        return run, next(run.batches)[0]

    return make


def negative_log_share(logits, chosen):
    """Cross-entropy of one sample, literally."""
    values = [math.exp(value) for value in logits.tolist()]
    return -math.log(values[chosen] / sum(values))


def gradients(network):
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]


def flows(network):
    return any((gradient != 0).any() for gradient in gradients(network))


@pytest.mark.parametrize("name", ["ssgan", "contrad", "selfcond_gan"])
def test_networks_are_the_plain_gans(make_run, digits, name):
    mine = train.Run(make_run(name, folder="mine"), digits, "cpu").method
    plain = train.Run(make_run("plain_gan", folder="plain"), digits, "cpu").method
    assert [p.shape for p in mine.encoder.parameters()] == [p.shape for p in plain.encoder.parameters()]
    for block in ("blocks", "last"):
        networks = [getattr(m.generator, "network", m.generator) for m in (mine, plain)]
        shapes = [[p.shape for p in getattr(network, block).parameters()] for network in networks]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["ssgan", "contrad", "selfcond_gan"])
def test_settings_of_the_papers_runs_differ_from_the_plain_gans_in_the_objective(base, name):
    plain = base["methods"]["plain_gan"]["settings"]
    mine = base["methods"][name]["settings"]
    assert plain.keys() <= mine.keys() and mine["discriminator"] == plain["discriminator"]
    assert {key: mine["generator"][key] for key in plain["generator"]} == plain["generator"]


@pytest.mark.parametrize("name", ["plain_gan", "ssgan", "contrad", "selfcond_gan"])
def test_each_player_is_updated_on_images_of_its_own_latents(make_run, digits, name):
    """As in the structural GAN's release: the generator is not judged on what the discriminator has just learned."""
    run, made = train.Run(make_run(name, augmentation="simclr"), digits, "cpu"), []
    run.method.train().generator.register_forward_hook(lambda module, given, images: made.append(images))
    run.update()
    of_discriminator, of_generator = made
    assert not of_discriminator.requires_grad and of_generator.requires_grad
    assert (of_discriminator - of_generator).flatten(1).norm(dim=1).min() > 0.1


def test_turned_images_are_those_of_a_loop():
    turns = torch.tensor([0, 1, 2, 3, 3, 1, 0])
    ours = ssgan.turned(IMAGES, turns)
    for image, turn, result in zip(IMAGES.numpy(), turns.tolist(), ours.numpy(), strict=True):
        np.testing.assert_array_equal(result, np.rot90(image, turn, axes=(1, 2)))


def test_ssgan_losses_and_weights_are_those_of_the_paper(begin):
    """Turned real images for the discriminator, turned generated ones for the generator, 1.0 and 0.2."""
    run, (real,) = begin("ssgan")
    method, before = run.method, copy.deepcopy(run.method)
    losses = method.step([real], None)
    with torch.no_grad():
        before.generate(len(real))  # what the discriminator was updated on
    fake = before.generate(len(real))

    def rotation(discriminator, images):
        total = 0.0
        for i, image in enumerate(images.detach()):
            turned = torch.rot90(image, i % 4, (1, 2))[None]
            total += negative_log_share(discriminator(turned)[1][0, 1:], i % 4) / len(images)
        return total

    assert losses["d_rotation"].item() == pytest.approx(rotation(before.discriminator, real), rel=1e-4)
    assert losses["g_rotation"].item() == pytest.approx(rotation(method.discriminator, fake), rel=1e-4)

    turns = torch.arange(len(real)) % 4
    of_fake = method.discriminator(fake)[1][:, 0]
    of_turned = method.discriminator(ssgan.turned(fake, turns))[1][:, 1:]
    loss = F.softplus(-of_fake).mean() + 0.2 * F.cross_entropy(of_turned, turns)
    expected = torch.autograd.grad(loss, list(before.generator.parameters()))
    for ours, theirs in zip(gradients(method.generator), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert method.settings["rotation"] == {"discriminator": 1.0, "generator": 0.2}


def test_contrad_losses_are_those_of_a_loop(begin):
    """NT-Xent on the real views; generated images as one class; the judge on the first view and the generated."""
    run, (first, second) = begin("contrad", "simclr")
    fake, n = IMAGES.repeat(3, 1, 1, 1)[: len(first)], len(first)
    method, temperature = run.method.double(), run.method.settings["temperature"]
    first, second, fake = first.double(), second.double(), fake.double() + torch.arange(n)[:, None, None, None] / n
    losses = method.objectives(first, second, fake)
    features = method.discriminator.backbone(torch.cat([first, second, fake]))

    def shares(z, i):
        return {j: (z[i] @ z[j] / temperature).exp().item() for j in range(len(z)) if j != i}

    z = F.normalize(method.heads["instance"](features[: 2 * n]), dim=1)
    nt_xent = [-math.log(shares(z, i)[(i + n) % (2 * n)] / sum(shares(z, i).values())) for i in range(2 * n)]
    assert losses["d_instance"].item() == pytest.approx(sum(nt_xent) / (2 * n), rel=1e-6)
    z, total = F.normalize(method.heads["generated"](features), dim=1), 0.0
    for i in range(2 * n, 3 * n):
        share = shares(z, i)
        own = [math.log(share[p] / sum(share.values())) for p in range(2 * n, 3 * n) if p != i]
        total -= sum(own) / (n - 1) / n
    assert losses["d_generated"].item() == pytest.approx(total, rel=1e-6)
    logit = method.discriminator.projection(features)[:, 0].tolist()
    judged = sum(math.log1p(math.exp(-logit[i])) + math.log1p(math.exp(logit[2 * n + i])) for i in range(n)) / n
    assert losses["d_adversarial"].item() == pytest.approx(judged, rel=1e-6)


def test_contrads_judge_never_shapes_the_features(begin):
    run, (first, second) = begin("contrad", "simclr")
    discriminator, heads = run.method.discriminator, run.method.heads
    losses = run.method.objectives(first, second, first.flip(0))
    losses["d_adversarial"].backward()
    assert flows(discriminator.projection) and not flows(discriminator.backbone) and not flows(heads)
    discriminator.zero_grad()
    (losses["d_instance"] + losses["d_generated"]).backward()
    assert flows(discriminator.backbone) and flows(heads) and not flows(discriminator.projection)


def test_contrads_generator_learns_through_the_judge_and_the_run_s_own_augmentation(begin):
    for regime in ("none", "simclr"):
        run, views = begin("contrad", regime, spectral_norm=True)
        before, drawn = snapshot(run.method.generator), run.batches.rng.get_state()
        run.method.step(views, None)
        assert flows(run.method.generator) and not same(before, snapshot(run.method.generator))
        assert torch.equal(drawn, run.batches.rng.get_state()) == (regime == "none")


@pytest.fixture
def clustered(begin):
    """A self-conditioned GAN after its first step."""
    run, views = begin("selfcond_gan")
    run.method.step(views, None)
    return run.method


def test_selfconditions_clusters_are_those_of_the_nearest_centers_of_the_pool(clustered):
    images = clustered.images[clustered.pool].float() / 127.5 - 1
    assert len(clustered.pool.unique()) == 100 == len(images)
    features = clustered.clusterer(images)[0]
    ids = [min(range(4), key=lambda k: (f - clustered.clusters.centers[k]).norm().item()) for f in features]
    assert ids == clustered.clusters.ids.tolist()
    assert clustered.generator.frequency.tolist() == [ids.count(k) for k in range(4)]
    assert torch.equal(clustered.generator_ema.frequency, clustered.generator.frequency)


def test_selfconditioned_discriminator_judges_by_the_clusters_own_logit(clustered):
    clusters = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    logits = clustered.discriminator(IMAGES)[1]
    assert logits.shape == (7, 4)
    ours = clustered.judged(IMAGES, clusters)
    assert ours.tolist() == [logits[i, cluster].item() for i, cluster in enumerate(clusters.tolist())]


def test_selfconditioned_samples_have_the_clusters_that_the_pool_has(clustered):
    clustered.eval()
    clustered.generator_ema.frequency.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0]))
    seed = torch.Generator().manual_seed(3)
    images = clustered.sample(5, seed)
    seed.manual_seed(3)
    classes = torch.multinomial(torch.tensor([0.0, 0.0, 5.0, 0.0]), 5, replacement=True, generator=seed)
    assert classes.tolist() == [2] * 5
    latents = torch.randn(5, clustered.settings["generator"]["latent"], generator=seed)
    embedded = F.normalize(clustered.generator_ema.embedding.weight[2], dim=0).repeat(5, 1)
    with torch.no_grad():
        assert torch.allclose(images, clustered.generator_ema.network(torch.cat([latents, embedded], 1)), atol=1e-6)
        assert not torch.allclose(images, clustered.generator_ema(latents, torch.full((5,), 1)), atol=1e-3)


def test_selfconditioned_assignments_survive_a_resume(make_run, digits):
    """Stopped between two clusterings: pool, ids, centers and the features' network are those that were left."""
    folder = make_run("selfcond_gan", steps=6, augmentation="simclr")
    first = train.Run(folder, digits, "cpu")
    first.training = {**first.training, "steps": 4}
    first.fit()
    second = train.Run(folder, digits, "cpu")
    second.resume()
    kept = [
        {
            key: value
            for key, value in snapshot(run.method).items()
            if key.startswith(("clusters.", "pool", "clusterer."))
        }
        for run in (first, second)
    ]
    assert same(*kept) and kept[0]["clusters.fits"] == 2 and len(kept[0]["clusters.ids"].unique()) > 1
    second.fit()
    assert second.method.clusters.fits == 3 and torch.equal(second.method.pool, first.method.pool)


@pytest.mark.parametrize(("size", "said"), [(3, "clustering.pool = 3: must be at least"), (201, "pool = 201: must be")])
def test_a_pool_that_cannot_be_clustered_is_one_line(make_run, digits, size, said):
    with pytest.raises(UserError, match=said) as caught:
        train.Run(make_run("selfcond_gan", settings={"clustering": {"pool": size}}), digits, "cpu").fit()
    assert "methods.selfcond_gan.settings" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("ssgan", {"rotation": {"generator": -1}}, "rotation.generator"),
        ("contrad", {"temperature": 0}, "temperature"),
        ("selfcond_gan", {"clustering": {"kmeans": {"starts": 0}}}, "clustering.kmeans.starts"),
    ],
)
def test_values_out_of_range_are_named(base, name, change, said):
    changed = config.merge(base, {"methods": {name: {"settings": change}}})
    with pytest.raises(UserError, match=rf"methods\.{name}\.settings\.{said}"):
        config.check(changed, [])
