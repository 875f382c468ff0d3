"""The contract over every method that discovery finds, and discovery itself."""

from __future__ import annotations

import pytest
import torch
from snapshots import IMAGES, same, snapshot

from structgan import config, files, sources, train
from structgan import method as contract
from structgan.datasets import store
from structgan.errors import UserError

METHODS = list(sources.methods())


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def planned_steps(demo, name):
    return config.merge(demo["training"], demo["methods"][name].get("training", {}))["steps"]


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
    declared = {"uses_labels": kind.uses_labels, "uses_generator": kind.uses_generator}
    assert sources.traits(name) == {"samples": hasattr(kind, "sample"), **declared}
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


def test_what_takes_no_gradient_stays_in_evaluation_mode(make_run, digits, name):
    """Moving averages in a training run: fixed batch norms and spectral norms, and what learns is in training mode."""
    run = train.Run(make_run(name, steps=2), digits, "cpu")
    run.fit()
    method = run.method.train()
    learning = {
        id(p) for optimiser in method.optimisers().values() for g in optimiser.param_groups for p in g["params"]
    }
    for module in method.modules():
        own = {id(p) for p in module.parameters()}
        if own and learning:
            assert module.training == bool(own & learning), module
    before = snapshot(method)
    with torch.no_grad():
        features = method.encode(IMAGES)
        samples = method.sample(6, torch.Generator().manual_seed(1)) if hasattr(method, "sample") else features
    assert not hasattr(method, "generator") or same(before, snapshot(method))
    method.eval()
    with torch.no_grad():
        assert torch.equal(features, method.encode(IMAGES))
        if hasattr(method, "sample"):
            assert torch.equal(samples, method.sample(6, torch.Generator().manual_seed(1)))


def test_labels_reach_only_a_method_that_declares_them(make_run, digits, tmp_path, name):
    """The whole loop twice, with other labels: the weights differ exactly where ``uses_labels`` is declared."""
    tensors, metadata = files.load_tensors(digits)
    tensors["train/labels"] = (tensors["train/labels"] * 3 + 1) % 10
    metadata["content_hash"] = store.content_hash(tensors)
    other = tmp_path / "other.safetensors"
    files.save_tensors(other, tensors, metadata)
    states, given = [], []
    for data in (digits, other):
        run = train.Run(make_run(name, steps=2, data=data), data, "cpu")
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
    history = [[(r["step"], r["images"], r["losses"]) for r in run.history.records] for run in (whole, second)]
    assert history[0] == history[1] and [step for step, *_ in history[0]] == [2, 4, 6]
    if whole.method.optimisers():
        assert not same(snapshot(first.method), snapshot(second.method))


def test_published_run_is_loaded_as_it_was(make_run, digits, name):
    folder = make_run(name, steps=2)
    run = train.Run(folder, digits, "cpu")
    run.fit()
    run.publish()
    images = run.dataset.content_hash
    loaded = contract.load_run(folder, images)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    run.method.eval()
    with torch.no_grad():
        assert torch.equal(loaded.encode(IMAGES), run.method.encode(IMAGES))
    if sources.traits(name)["samples"]:
        ours, theirs = (m.sample(3, torch.Generator().manual_seed(1)) for m in (loaded, run.method))
        assert torch.equal(ours, theirs)
    assert (folder / "generator.safetensors").exists() == sources.traits(name)["samples"]

    with pytest.raises(UserError, match="trained on other images"):
        contract.load_run(folder, "0" * 64)
    changed = {**files.read_json(folder / "config.json"), "identity": "0" * 64}
    files.write_json(folder / "config.json", changed)
    with pytest.raises(UserError, match=r"another config\.json"):
        contract.load_run(folder, images)


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
