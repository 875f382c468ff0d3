"""The contract on every method that is found, and on small methods that break it in one place each."""

from __future__ import annotations

import pytest

from structgan import config, files, sources, testing
from structgan import method as methods
from structgan.errors import UserError
from structgan.harness import Harness, same

METHODS = list(sources.methods())
CHECKS = [name for name in testing.CHECKS if name not in ("variants", "processes")]
"""Variants have the sizes of the configuration; processes are tested below."""


@pytest.fixture
def harness(demo, digits, tmp_path, monkeypatch, name):
    """The method as ``structgan check`` sees it; its runs go to the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return Harness(name, demo, [], digits)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(harness, name, check):
    remark = testing.CHECKS[check](harness)
    assert (remark is None) == (check == "samples" and not sources.capabilities(name)["samples"])


@pytest.mark.parametrize("name", METHODS)
def test_the_loop_gives_labels_as_declared_and_evaluation_does_not_depend_on_the_mode(harness, name):
    given, run = [], harness.start("run", steps=4)
    step = run.method.step

    def recorded(views, labels):
        assert len(views) == run.method.views
        given.append(labels is not None)
        return step(views, labels)

    run.method.step = recorded
    run.fit()
    assert given == [run.method.uses_labels] * 4 and [record["step"] for record in run.history.records] == [2, 4]
    training = testing.outputs(harness, run.method.train())
    assert same(training, testing.outputs(harness, run.method.eval()))


@pytest.mark.parametrize("name", METHODS)
def test_a_run_is_not_loaded_for_other_images_or_settings(harness, name):
    assert (config.SCHEMAS / "methods" / f"{name}.yaml").exists() or "settings" not in harness.block
    run = harness.fit("run")
    run.publish()
    assert (run.folder / "generator.safetensors").exists() == sources.capabilities(name)["samples"]
    with pytest.raises(UserError, match="other images"):
        methods.load_run(run.folder, "0" * 64)
    files.write_json(run.folder / "config.json", {**run.config, "identity": "0" * 64})
    with pytest.raises(UserError, match=r"config\.json"):
        methods.load_run(run.folder, run.dataset.content_hash)


@pytest.mark.parametrize("name", ["simclr"])
def test_runs_on_two_processes_have_the_losses_of_one(demo, digits, harness):
    assert "2 processes" in testing.check_processes(Harness("simclr", demo, [], digits, processes=2))


GOOD = '''"""A small method: features follow those of the batch before, and a generator follows the features."""
import torch
from torch import nn
from structgan.method import Method


class Small(Method):
    """Features close to those of the batch before."""

    def __init__(self, settings, image_size, num_classes, steps):
        super().__init__(settings, image_size, num_classes, steps)
        pixels = 3 * image_size**2
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.Tanh())
        self.generator = nn.Sequential(nn.Linear(4, pixels), nn.Tanh(), nn.Unflatten(1, (3, image_size, image_size)))
        self.register_buffer("queue", torch.zeros(16, 8))
        self.opt = torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=0.01)

    def step(self, views, labels):
        (images,) = views
        features = self.encoder(images)
        fake = self.encoder(self.generator(self.noise(len(images), 4)))
        loss = (features - self.queue).square().mean() + (fake - features.detach()).square().mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.queue = features.detach()
        return {"loss": loss.detach()}

    def sample(self, n, generator):
        return self.sample_latents(n, 4, generator)
'''
BUFFER = 'self.register_buffer("queue", torch.zeros(16, 8))'
STEP, LOSS, NOISE, DRAW = (
    "    def step(",
    "loss = (",
    "self.noise(len(images), 4)",
    "self.sample_latents(n, 4, generator)",
)
ADAM = "torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=0.01)"


def encode(features):
    """The edit that gives the method an ``encode`` of its own."""
    return STEP, f"    def encode(self, images):\n        return {features}\n\n{STEP}"


FAULTS = {
    "plain_tensor": ("resume", ["`queue`", "register_buffer"], (BUFFER, "self.queue = torch.zeros(16, 8)")),
    "not_persistent": ("resume", ["`queue`", "persistent=False"], ("zeros(16, 8))", "zeros(16, 8), persistent=False)")),
    "counter": (
        "resume",
        ["`count`", "self.step_index"],
        (
            "        self.queue = f",
            "        self.count = getattr(self, 'count', 0) + 1\n        self.queue = self.count * f",
        ),
    ),
    "own_generator": (
        "resume",
        ["`own`", "self.rng"],
        (NOISE, "torch.randn(len(images), 4, generator=self.own)"),
        (BUFFER, BUFFER + "; self.own = torch.Generator().manual_seed(1)"),
    ),
    "hidden_optimizer": ("resume", ["`opt`", "optimizers()"], (ADAM, f"[{ADAM}]"), ("self.opt.", "self.opt[0].")),
    "class_variable": (
        "resume",
        ["`Small.queue`", "register_buffer"],
        (BUFFER, ""),
        ("    def __init__", "    queue = torch.zeros(16, 8)\n\n    def __init__"),
        ("self.queue = f", "Small.queue = f"),
    ),
    "global_random": ("randomness", ["PyTorch", "self.noise"], (NOISE, "torch.randn(len(images), 4)")),
    "in_place": ("features", ["images"], encode("self.encoder(images.mul_(0.5))")),
    "changing": ("features", ["`queue`"], encode("self.encoder(images) + self.queue.add_(1).mean()")),
    "shape": ("features", ["(7, 1, 8)", "(N, D)"], encode("self.encoder(images)[:, None]")),
    "batch_mean": ("features", ["batch"], encode("self.encoder(images - images.mean(0))")),
    "not_published": ("published", ["self.encoder"], encode("self.encoder(images) + self.queue.mean()")),
    "not_finite": ("learning", ["'loss'", "nan"], (LOSS, "loss = (images.mean() * 0 - 1).log() + (")),
    "graph": ("learning", ["'loss'", "loss.detach()"], ("loss.detach()}", "loss}")),
    "not_scalar": ("learning", ["'loss'", "(16, 8)"], ('{"loss": loss', '{"loss": features')),
    "not_learning": ("learning", ["self.encoder"], ("*self.encoder.parameters(), ", "")),
    "needs_labels": ("learning", ["uses_labels = True"], (LOSS, "loss = labels.float().mean() + (")),
    "unused_labels": ("labels", ["uses_labels"], (STEP, "    uses_labels = True\n\n" + STEP)),
    "too_bright": ("samples", ["[-1, 1]"], (DRAW, "2 + " + DRAW)),
    "other_generator": (
        "samples",
        ["generator=generator"],
        (DRAW, DRAW.replace("generator", "torch.default_generator")),
    ),
    "not_frozen": ("modes", ["`target`", "frozen_copy"], (BUFFER, BUFFER + "; self.target = nn.Linear(8, 8)")),
    "picky": (
        "augmentations",
        ["'none'", "not_applicable", "one view twice", "baselines/picky.py:"],
        ("(images,) = views", "images, other = views; assert not torch.equal(images, other), 'one view twice'"),
        (STEP, "    views = 2\n\n" + STEP),
    ),
    "no_block": ("settings", ["methods.no_block", "all.yaml"]),
    "no_module": ("class", ["not_installed"], ("import torch\n", "import torch\nimport not_installed\n")),
}
"""For each method its broken check, what the message names, and the edits of ``GOOD``."""


@pytest.fixture(scope="module")
def results(tmp_path_factory, copy_tree, command):
    """The lines that one ``structgan check`` prints of the good method and of all faulty ones, by name."""
    root = copy_tree(tmp_path_factory.mktemp("tree"))
    for name, (_, _, *edits) in {"good": ("", []), **FAULTS}.items():
        source = GOOD
        for old, new in edits:
            assert old in source, name
            source = source.replace(old, new)
        (root / "baselines" / f"{name}.py").write_text(source)
    blocks = [f"  {name}: {{}}\n" for name in ("good", *FAULTS) if name != "no_block"]
    (root / "all.yaml").write_text("methods:\n" + "".join(blocks))
    arguments = ["good", *FAULTS, "--configfile", "all.yaml"]
    done = command("-m", "structgan", "check", *arguments, cwd=root, root=root, timeout=600)
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert not (root / "results").exists() and not (root / "data").exists()
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            found[name].append(line.split(maxsplit=2))
        else:
            name = line.split(":")[0]
            found.setdefault(name, [])
    return found


def test_a_good_method_passes(results):
    assert {check for mark, check, _ in results["good"] if mark == "-"} == {"variants", "processes"}
    assert [check for _, check, _ in results["good"]] == list(testing.CHECKS)
    assert "WRONG" not in {mark for mark, *_ in results["good"]}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(results, name):
    check, words, *_ = FAULTS[name]
    wrong = {found: remark for mark, found, remark in results[name] if mark == "WRONG"}
    assert set(wrong) == {check}, wrong
    assert not [word for word in words if word not in wrong[check]], wrong
    assert "Traceback" not in wrong[check] and "/tmp" not in wrong[check]


def test_bad_input_is_one_line(tmp_path, copy_tree, command, refusal):
    root = copy_tree(tmp_path)
    assert "'smallest'" in refusal(command("-m", "structgan", "check", "smallest", cwd=root, root=root))
    (root / "bad.yaml").write_text("training: {steps: -1}\n")
    line = refusal(command("-m", "structgan", "check", "random", "--configfile", "bad.yaml", cwd=root, root=root))
    assert "bad.yaml" in line and "training.steps" in line


def test_files_are_found_by_name_and_a_name_taken_twice_is_refused(tmp_path, copy_tree, command, refusal):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(GOOD)
    listed = command("-m", "structgan", "methods", cwd=tmp_path, root=root)
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert [row[0] for row in rows] == sorted([*METHODS, "mine"]) and ["mine", "baselines/mine.py", "samples"] in rows
    (root / "baselines" / "structural.py").write_text(GOOD)
    line = refusal(command("-m", "structgan", "methods", cwd=tmp_path, root=root))
    assert "baselines/structural.py" in line and "structgan/methods/structural.py" in line


def test_an_unknown_method_is_refused_with_the_nearest():
    assert {"structural", "simclr", "plain_gan", "random", "supervised"} <= set(METHODS)
    with pytest.raises(UserError, match="'simclr'"):
        methods.find("simclrr")


@pytest.mark.parametrize(("source", "count"), [("", 0), (GOOD + "class Other(Small):\n    pass\n", 2)])
def test_a_file_without_exactly_one_method_is_refused(tmp_path, copy_tree, command, source, count):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(source)
    code = "from structgan import method, errors\ntry: method.find('mine')\nexcept errors.UserError as e: print(e)"
    done = command("-c", code, cwd=tmp_path, root=root)
    assert "baselines/mine.py" in done.stdout and f"found {count}" in done.stdout, done.stderr
