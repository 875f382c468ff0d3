"""The contract over every method that discovery finds, the structural objective term by term, and discovery itself."""

from __future__ import annotations

import copy
import json

import pytest
import textbook
import torch
import torch.nn.functional as F

from structgan import checkpoint, config, files, sources, train
from structgan import method as contract
from structgan.errors import UserError
from structgan.losses import gaussian
from structgan.methods.structural import Structural

METHODS = list(sources.methods())
IMAGES = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(9)) * 2 - 1


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def planned_steps(demo, name):
    return config.merge(demo["training"], demo["methods"][name].get("training", {}))["steps"]


def snapshot(method):
    return {key: value.clone() for key, value in method.state_dict().items()}


def same(a, b):
    """Whether two nested values of tensors and numbers are bit for bit the same."""
    tensors = ({}, {})
    trees = [checkpoint.flatten(value, store) for value, store in zip((a, b), tensors, strict=True)]
    return json.dumps(trees[0]) == json.dumps(trees[1]) and all(
        torch.equal(value, tensors[1][key]) for key, value in tensors[0].items()
    )


def optimiser_states(method):
    return {key: optimiser.state_dict() for key, optimiser in method.optimisers().items()}


def test_discovery_finds_the_paper_and_its_baselines():
    assert {"structural", "simclr", "plain_gan", "random", "supervised"} <= set(METHODS)
    assert sorted(METHODS) == METHODS


def test_every_method_has_settings(demo, name):
    assert name in demo["methods"], f"workflow/config/config.yaml has no block methods.{name}"
    assert (config.SCHEMAS / "methods" / f"{name}.yaml").exists() or "settings" not in demo["methods"][name]


def test_declared_traits_are_those_of_the_class(name):
    kind = contract.find(name)
    assert sources.traits(name) == {"samples": hasattr(kind, "sample"), "uses_labels": kind.uses_labels}
    assert isinstance(kind.views, int) and kind.views >= 1 and kind.__doc__


def test_two_steps_change_the_encoder_and_return_detached_finite_scalars(demo, make_run, digits, name):
    run = train.Run(make_run(name), digits, "cpu")
    before = [p.clone() for p in run.method.encoder.parameters()]
    run.method.train()
    for index in range(2):
        run.method.step_index = index
        views, labels = next(run.batches)
        assert len(views) == run.method.views
        losses = run.method.step(views, labels if run.method.uses_labels else None)
        for loss in losses.values():
            assert loss.shape == () and loss.isfinite() and not loss.requires_grad
    changed = [not torch.equal(a, b) for a, b in zip(before, run.method.encoder.parameters(), strict=True)]
    assert all(changed) if planned_steps(demo, name) else not any(changed)
    assert losses or not planned_steps(demo, name)


def test_encoding_is_deterministic_and_of_each_image_alone(make_run, digits, name):
    method = train.Run(make_run(name), digits, "cpu").method.eval()
    before = snapshot(method)
    with torch.no_grad():
        features = method.encode(IMAGES)
        assert features.ndim == 2 and len(features) == 7 and features.dtype == torch.float32
        assert torch.equal(features, method.encode(IMAGES))
        assert torch.allclose(features[:3], method.encode(IMAGES[:3]), atol=1e-5)
    assert same(before, snapshot(method))


@pytest.mark.parametrize("name", [name for name in METHODS if sources.traits(name)["samples"]])
def test_samples_are_images_of_the_given_generator_only(make_run, digits, name):
    method = train.Run(make_run(name), digits, "cpu").method.eval()
    before = snapshot(method)

    def sample(seed, world):
        torch.manual_seed(world)
        return method.sample(6, torch.Generator().manual_seed(seed))

    images = sample(1, world=0)
    assert images.shape == (6, 3, 16, 16) and not images.requires_grad
    assert images.min() >= -1 and images.max() <= 1 and (images.std(0) > 0).any()
    assert torch.equal(images, sample(1, world=5)) and not torch.equal(images, sample(2, world=0))
    assert same(before, snapshot(method))


def test_labels_reach_only_a_method_that_declares_them(make_run, digits, tmp_path, name):
    """The whole loop twice, with other labels: the weights differ exactly where ``uses_labels`` is declared."""
    tensors, metadata = files.load_tensors(digits)
    tensors["train/labels"] = (tensors["train/labels"] * 3 + 1) % 10
    other = tmp_path / "other.safetensors"
    files.save_tensors(other, tensors, metadata)
    states, given = [], []
    for data in (digits, other):
        run = train.Run(make_run(name, steps=2), data, "cpu")
        step = run.method.step
        run.method.step = lambda views, labels, step=step: given.append(labels) or step(views, labels)
        run.fit()
        del run.method.step
        states.append(snapshot(run.method))
    assert len(given) == 4 and all((labels is not None) == run.method.uses_labels for labels in given)
    assert same(*states) != run.method.uses_labels


def test_interrupted_training_is_the_uninterrupted_one(make_run, digits, name):
    """Save at step 4 of 6, restore into a fresh run, go on: weights, optimisers, history are bit-identical."""
    whole = train.Run(make_run(name, steps=6, augmentation="simclr", folder="whole"), digits, "cpu")
    whole.fit()

    folder = make_run(name, steps=6, augmentation="simclr", folder="parts")
    first = train.Run(folder, digits, "cpu")
    first.training = {**first.training, "steps": 4}
    first.fit()
    second = train.Run(folder, digits, "cpu")
    torch.manual_seed(999)
    second.resume()
    assert second.step == 4
    second.fit()

    assert same(snapshot(whole.method), snapshot(second.method))
    assert same(optimiser_states(whole.method), optimiser_states(second.method))
    history = [[(r["step"], r["images"], r["losses"]) for r in run.records] for run in (whole, second)]
    assert history[0] == history[1] and [step for step, *_ in history[0]] == [2, 4, 6]
    if whole.method.optimisers():
        assert not same(snapshot(first.method), snapshot(second.method))


def test_published_run_is_loaded_as_it_was(make_run, digits, name):
    folder = make_run(name, steps=2)
    run = train.Run(folder, digits, "cpu")
    run.fit()
    run.publish()
    loaded = contract.load_run(folder)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    run.method.eval()
    with torch.no_grad():
        assert torch.equal(loaded.encode(IMAGES), run.method.encode(IMAGES))
    if sources.traits(name)["samples"]:
        ours, theirs = (m.sample(3, torch.Generator().manual_seed(1)) for m in (loaded, run.method))
        assert torch.equal(ours, theirs)
    assert (folder / "generator.safetensors").exists() == sources.traits(name)["samples"]

    changed = {**files.read_json(folder / "config.json"), "identity": "0" * 64}
    files.write_json(folder / "config.json", changed)
    with pytest.raises(UserError, match=r"another config\.json"):
        contract.load_run(folder)


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
        sigma = torch.func.vmap(lambda x, u: textbook.sigma(twin.discriminator, parameters, x, u))(images, left)
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
            assert torch.allclose(value, 0.99 * before[average][key] + 0.01 * now[key], rtol=1e-9, atol=1e-12)
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
    wanted = {"full", "no_cluster", "no_smoothness", "bhattacharyya", "wasserstein", "gaussian_only"}
    assert wanted <= set(variants)
    names = {}
    for variant in variants:
        run = train.Run(make_run("structural", variant=variant, steps=2), digits, "cpu")
        run.fit()
        names[variant] = set(run.records[-1]["losses"])
    full = {"d_gaussian", "d_hinge", "d_cluster", "d_smoothness", "sigma", "g_gaussian", "g_cluster"}
    assert names["full"] == names["bhattacharyya"] == names["wasserstein"] == full
    assert names["no_cluster"] == full - {"d_cluster", "g_cluster"}
    assert names["no_smoothness"] == full - {"d_smoothness", "sigma"}
    assert names["gaussian_only"] == {"d_gaussian", "d_hinge", "g_gaussian"}


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
@pytest.mark.parametrize("spectral", [True, False])
def test_plain_gan_has_the_same_networks_and_one_logit(make_run, digits, loss, spectral):
    settings = {"loss": loss, "spectral_norm": spectral}
    run = train.Run(make_run("plain_gan", settings=settings, steps=2), digits, "cpu")
    run.fit()
    structural = train.Run(make_run("structural", folder="s"), digits, "cpu").method
    mine = [p.shape for p in run.method.encoder.parameters()]
    theirs = [p.shape for p in structural.encoder.parameters()]
    assert sorted(mine) == sorted(theirs)
    assert run.method.discriminator(IMAGES)[1].shape == (7, 1)
    assert hasattr(run.method.discriminator.projection[-1], "parametrizations") == spectral


def test_simclr_loss_is_nt_xent(make_run, digits):
    """Against a literal loop: -log exp(s_ij / t) / sum over all other views, mean over the 2N views."""
    run = train.Run(make_run("simclr", augmentation="simclr"), digits, "cpu")
    method = copy.deepcopy(run.method.train())
    views, _ = next(run.batches)
    z = F.normalize(method.head(method.encoder(torch.cat(views))), dim=1).double()
    total, n = 0.0, len(views[0])
    for i in range(2 * n):
        scores = {j: (z[i] @ z[j] / run.method.settings["temperature"]).exp() for j in range(2 * n) if j != i}
        total -= (scores[(i + n) % (2 * n)] / sum(scores.values())).log() / (2 * n)
    assert run.method.step(views, None)["nt_xent"].item() == pytest.approx(total.item(), rel=1e-4)


NEW = '''
"""A method of a reader."""
import torch
from structgan.method import Method

class Mine(Method):
    """Learns nothing much."""

    def sample(self, n, generator):
        return torch.zeros(n, 3, 8, 8)
'''


def test_a_new_file_is_found_and_a_name_taken_twice_is_refused(tmp_path, copy_tree, command, refusal):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(NEW)
    listed = command("-m", "structgan", "methods", cwd=tmp_path, root=root)
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert [row[0] for row in rows] == sorted([*METHODS, "mine"])
    assert ["mine", "baselines/mine.py", "samples"] in rows
    (root / "baselines" / "structural.py").write_text(NEW)
    line = refusal(command("-m", "structgan", "methods", cwd=tmp_path, root=root))
    assert "'structural'" in line and "baselines/structural.py" in line and "structgan/methods/structural.py" in line


def test_unknown_method_offers_the_nearest():
    with pytest.raises(UserError, match="did you mean 'simclr'") as caught:
        contract.find("simclrr")
    assert all(name in str(caught.value) for name in METHODS)


@pytest.mark.parametrize(("source", "count"), [("", 0), (NEW + "class Other(Mine):\n    pass\n", 2)])
def test_a_file_without_exactly_one_method_is_named(tmp_path, copy_tree, command, source, count):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(source)
    code = "from structgan import method, errors\ntry: method.find('mine')\nexcept errors.UserError as e: print(e)"
    done = command("-c", code, cwd=tmp_path, root=root)
    assert "baselines/mine.py" in done.stdout and f"found {count}" in done.stdout, done.stderr
