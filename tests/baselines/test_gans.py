"""The GAN-based feature learners against what their papers say: losses in loops, and where gradients go."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES, same, snapshot

from baselines import ssgan
from structgan import train
from structgan.errors import UserError
from structgan.losses import contrastive

OTHERS = ("ssgan", "contrad", "selfcond_gan")


@pytest.fixture
def begin(make_run, digits):
    """A run of a method, by default without spectral norm, whose vectors each pass moves; and its first batch."""

    def make(name, augmentation="none", **settings):
        settings = {"spectral_norm": False, **settings}
        run = train.Run(make_run(name, folder=name, augmentation=augmentation, settings=settings), digits, "cpu")
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


def shapes(network):
    return [p.shape for p in network.parameters()]


def test_plain_gan_has_the_structural_gans_networks_and_one_logit(begin):
    method, structural = begin("plain_gan", loss="hinge")[0].method, begin("structural")[0].method
    assert shapes(method.encoder) == shapes(structural.encoder)
    assert shapes(method.generator) == shapes(structural.generator)
    twin = copy.deepcopy(method)
    loss = method.step([IMAGES], None)["d_adversarial"].item()
    of_real, of_fake = (twin.discriminator(images)[1] for images in (IMAGES, twin.fake_images(7)))
    assert loss == pytest.approx((F.relu(1 - of_real) + F.relu(1 + of_fake)).mean().item()) and of_real.shape == (7, 1)


@pytest.mark.parametrize("name", OTHERS)
def test_networks_and_settings_are_the_plain_gans_but_for_the_objective(begin, base, name):
    mine, plain = begin(name)[0].method, begin("plain_gan")[0].method
    assert shapes(mine.encoder) == shapes(plain.encoder)
    for block in ("blocks", "last"):
        networks = [getattr(m.generator, "network", m.generator) for m in (mine, plain)]
        assert shapes(getattr(networks[0], block)) == shapes(getattr(networks[1], block))
    mine, plain = (base["methods"][key]["settings"] for key in (name, "plain_gan"))
    assert plain.keys() <= mine.keys() and mine["discriminator"] == plain["discriminator"]
    assert {key: mine["generator"][key] for key in plain["generator"]} == plain["generator"]


@pytest.mark.parametrize("name", ["plain_gan", *OTHERS])
def test_each_player_is_updated_on_images_of_its_own_latents(begin, name):
    """As in the structural GAN's release: the generator is not judged on what the discriminator has just learned."""
    (run, _), made = begin(name, "simclr", spectral_norm=True), []
    run.method.generator.register_forward_hook(lambda module, given, images: made.append(images))
    run.update()
    of_discriminator, of_generator = made
    assert not of_discriminator.requires_grad and of_generator.requires_grad
    assert (of_discriminator - of_generator).flatten(1).norm(dim=1).min() > 0.1


def test_ssgan_losses_and_weights_are_those_of_the_paper(begin):
    """Rotated real images for the discriminator, rotated generated ones for the generator, 1.0 and 0.2."""
    run, (real,) = begin("ssgan")
    method, before = run.method, copy.deepcopy(run.method)
    losses = method.step([real], None)
    before.fake_images(len(real))  # what the discriminator was updated on
    fake = before.fake_images(len(real))

    def rotation(discriminator, images):
        turned = [torch.rot90(image, i % 4, (1, 2))[None] for i, image in enumerate(images.detach())]
        each = [negative_log_share(discriminator(image)[1][0, 1:], i % 4) for i, image in enumerate(turned)]
        return sum(each) / len(each)

    assert losses["d_rotation"].item() == pytest.approx(rotation(before.discriminator, real), rel=1e-4)
    assert losses["g_rotation"].item() == pytest.approx(rotation(method.discriminator, fake), rel=1e-4)
    turns = torch.arange(len(real)) % 4
    of_fake = method.discriminator(fake)[1][:, 0]
    of_rotated = method.discriminator(ssgan.rotated(fake, turns))[1][:, 1:]
    loss = F.softplus(-of_fake).mean() + 0.2 * F.cross_entropy(of_rotated, turns)
    expected = torch.autograd.grad(loss, list(before.generator.parameters()))
    for ours, theirs in zip(gradients(method.generator), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert method.settings["rotation"] == {"discriminator": 1.0, "generator": 0.2}


def test_contrad_losses_are_those_of_the_paper(begin):
    """NT-Xent on the real views; generated images as one class; the judge on the first view and the generated."""
    run, views = begin("contrad", "simclr")
    method, n = run.method, len(IMAGES)
    first, second = (view[:n] for view in views)
    losses, t = method.objectives(first, second, IMAGES), method.settings["temperature"]
    features = [method.discriminator.backbone(images) for images in (first, second, IMAGES)]
    instance = [method.heads["instance"](h) for h in features]
    generated = [method.heads["generated"](h) for h in features]
    logits = [method.discriminator.projection(h) for h in features[::2]]
    expected = {
        "d_instance": contrastive.nt_xent(instance[0], instance[1], t),
        "d_generated": contrastive.one_class(generated[2], torch.cat(generated[:2]), t),
        "d_adversarial": F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean(),
    }
    assert {k: v.item() for k, v in losses.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


def test_contrads_judge_never_shapes_the_features(begin):
    run, (first, second) = begin("contrad", "simclr")
    discriminator, heads = run.method.discriminator, run.method.heads
    losses = run.method.objectives(first, second, first.flip(0))
    losses["d_adversarial"].backward()
    assert flows(discriminator.projection) and not flows(discriminator.backbone) and not flows(heads)
    discriminator.zero_grad()
    (losses["d_instance"] + losses["d_generated"]).backward()
    assert flows(discriminator.backbone) and flows(heads) and not flows(discriminator.projection)


@pytest.mark.parametrize("augmentation", ["none", "simclr"])
def test_contrads_generator_learns_through_the_judge_and_the_runs_own_augmentation(begin, augmentation):
    run, views = begin("contrad", augmentation, spectral_norm=True)
    before, drawn = snapshot(run.method.generator), run.batches.rng.get_state()
    run.method.step(views, None)
    assert flows(run.method.generator) and not same(before, snapshot(run.method.generator))
    assert torch.equal(drawn, run.batches.rng.get_state()) == (augmentation == "none")


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


def test_selfconditioned_images_are_judged_and_sampled_by_their_cluster(clustered):
    clusters = [0, 3, 1, 1, 2, 0, 3]
    logits, ours = clustered.discriminator(IMAGES)[1], clustered.judged(IMAGES, torch.tensor(clusters))
    assert logits.shape == (7, 4)
    assert ours.tolist() == [logits[i, cluster].item() for i, cluster in enumerate(clusters)]
    clustered.eval().generator_ema.frequency.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0]))
    seed = torch.Generator().manual_seed(3)
    images = clustered.sample(5, seed)
    torch.multinomial(clustered.generator_ema.frequency, 5, replacement=True, generator=seed.manual_seed(3))
    latents = torch.randn(5, clustered.settings["generator"]["latent"], generator=seed)
    embedded = F.normalize(clustered.generator_ema.embedding.weight[2], dim=0).repeat(5, 1)
    with torch.no_grad():
        assert torch.allclose(images, clustered.generator_ema.network(torch.cat([latents, embedded], 1)), atol=1e-6)
        assert not torch.allclose(images, clustered.generator_ema(latents, torch.full((5,), 1)), atol=1e-3)


@pytest.mark.parametrize(("size", "said"), [(3, "clustering.pool = 3: must be at least"), (201, "pool = 201: must be")])
def test_a_pool_that_cannot_be_clustered_is_refused(make_run, digits, size, said):
    with pytest.raises(UserError, match=rf"methods\.selfcond_gan\.settings.*{said}"):
        train.Run(make_run("selfcond_gan", settings={"clustering": {"pool": size}}), digits, "cpu").fit()
