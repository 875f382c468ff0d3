"""The contract on every method that is found, and on small methods that break it in one place each."""

import json
import re
import sys
import types

import pytest

from structgan import files, sources, testing
from structgan import method as methods
from structgan.errors import UserError
from structgan.harness import Harness

METHODS = list(sources.methods())
CORE = ("structural", "simclr")
"""These keep the whole contract in ``make test``, the others in ``make test-faults``."""
QUICK = ("class", "settings", "features", "samples")
CHECKS = [
    pytest.param(name, check, marks=[] if name in CORE or check in QUICK else [pytest.mark.faults])
    for name in METHODS
    for check in testing.CHECKS
    if check not in ("processes", "unread")
]


@pytest.fixture
def harness(demo, digits, tmp_path, monkeypatch, name):
    """The method as ``structgan check`` sees it, without variants, which have the configuration's sizes."""
    monkeypatch.chdir(tmp_path)
    block = {key: value for key, value in demo["methods"][name].items() if key != "variants"}
    monkeypatch.setattr(Harness, "block", block)
    return Harness(name, demo, [], digits)


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_every_method_keeps_the_contract(harness, name, check):
    mark, remark = harness.check(testing.CHECKS[check])
    applies = check != "samples" or sources.capabilities(name)["samples"]
    assert mark == ("ok" if applies else "-"), remark


@pytest.mark.parametrize("name", ["supervised", "simclr"])
def test_a_run_is_not_loaded_for_other_images_or_settings(harness, name):
    run = harness.fit("run")
    run.publish()
    with pytest.raises(UserError, match="other images"):
        methods.load_run(run.folder, "0" * 64)
    files.write_json(run.folder / "config.json", {**run.config, "identity": "0" * 64})
    with pytest.raises(UserError, match=r"config\.json"):
        methods.load_run(run.folder, run.dataset.content_hash)


@pytest.mark.slow
def test_runs_on_two_processes_have_the_losses_of_one(demo, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Harness("simclr", demo, [], digits, processes=2).check(testing.check_processes)[0] == "ok"


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
        self.opt = torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=settings["rate"])

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
ADAM = 'torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=settings["rate"])'


def encode(features):
    """The edit that gives the method an ``encode`` of its own."""
    return STEP, f"    def encode(self, images):\n        return {features}\n\n{STEP}"


FAULTS = {
    "plain_tensor": ("resume", ["`queue`", "register_buffer"], (BUFFER, "self.queue = torch.zeros(16, 8)")),
    "not_persistent": ("resume", ["`queue`"], ("zeros(16, 8))", "zeros(16, 8), persistent=False)")),
    "own_generator": (
        "resume",
        ["`own`", "self.rng"],
        (NOISE, "torch.randn(len(images), 4, generator=self.own)"),
        (BUFFER, BUFFER + "; self.own = torch.Generator().manual_seed(1)"),
    ),
    "hidden_optimizer": ("resume", ["`opt`"], (ADAM, f"[{ADAM}]"), ("self.opt.", "self.opt[0].")),
    "class_variable": (
        "resume",
        ["`Small.queue`"],
        (BUFFER, ""),
        ("    def __init__", "    queue = torch.zeros(16, 8)\n\n    def __init__"),
        ("self.queue = f", "Small.queue = f"),
    ),
    "global_random": ("randomness", ["torch", "self.noise"], (NOISE, "torch.randn(len(images), 4)")),
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
    "picky": (
        "trainings",
        ["'none'", "not_applicable", "one view twice", "baselines/picky.py:"],
        ("(images,) = views", "images, other = views; assert not torch.equal(images, other), 'one view twice'"),
        (STEP, "    views = 2\n\n" + STEP),
    ),
    "unread": ("unread", ["setting rate"], ('settings["rate"]', "0.01")),
    "no_block": ("settings", ["methods.no_block", "all.yaml"]),
    "no_module": ("class", ["not_installed"], ("import torch\n", "import torch\nimport not_installed\n")),
}
"""For each method its broken check, what the message names, and the edits of ``GOOD``."""

CODE = """if True:
    import dataclasses, json, sys
    from pathlib import Path
    from structgan import harness, testing
    first = harness.Harness.load("good", ["all.yaml"], Path("data.safetensors"))
    found = {}
    for name, check in json.loads(sys.argv[1]).items():
        own = dataclasses.replace(first, name=name, seen=set())
        if check == "unread":
            own.check(testing.check_learning)
        found[name] = own.check(testing.CHECKS[check])
    print(json.dumps(found))
    """


@pytest.fixture(scope="module")
def tree(tmp_path_factory, copy_tree):
    """A copy of the sources with the good method and all faulty ones, and their configuration."""
    root = copy_tree(tmp_path_factory.mktemp("tree"))
    for name, (_, _, *edits) in {"good": ("", []), **FAULTS}.items():
        source = GOOD
        for old, new in edits:
            assert old in source, name
            source = source.replace(old, new)
        (root / "baselines" / f"{name}.py").write_text(source)
    blocks = [f"  {name}: {{settings: {{rate: 0.01}}}}\n" for name in ("good", *FAULTS) if name != "no_block"]
    (root / "all.yaml").write_text("methods:\n" + "".join(blocks))
    return root


@pytest.fixture(scope="module")
def results(tree, command):
    """What the broken check of each faulty method says."""
    broken = json.dumps({name: check for name, (check, *_) in FAULTS.items()})
    done = command("-c", CODE, broken, cwd=tree, root=tree, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(results, name):
    mark, remark = results[name]
    assert mark == "WRONG" and not [word for word in FAULTS[name][1] if word not in remark], remark
    assert "Traceback" not in remark and "/tmp" not in remark


@pytest.mark.slow
def test_a_good_method_passes_and_a_fault_in_an_early_check_ends_the_report(tree, command):
    done = command(
        "-m", "structgan", "check", "good", "shape", "--configfile", "all.yaml", cwd=tree, root=tree, timeout=600
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines() if line.startswith("  ")]
    assert done.returncode == 1 and done.stderr == "" and not (tree / "results").exists()
    assert [check for _, check, *_ in lines[: len(testing.CHECKS)]] == list(testing.CHECKS)
    assert {check for mark, check, *_ in lines if mark == "-"} == {"processes", "the"}
    assert [check for mark, check, *_ in lines if mark == "WRONG"] == ["features"]


def test_bad_input_is_one_line(tree, command, refusal):
    assert "'smallest'" in refusal(command("-m", "structgan", "check", "smallest", cwd=tree, root=tree))
    (tree / "bad.yaml").write_text("training: {steps: -1}\n")
    line = refusal(command("-m", "structgan", "check", "random", "--configfile", "bad.yaml", cwd=tree, root=tree))
    assert "bad.yaml" in line and "training.steps" in line


def test_files_are_found_by_name_and_a_name_taken_twice_is_refused(tree, command, refusal):
    listed = command("-m", "structgan", "methods", cwd=tree, root=tree)
    rows = [re.split(" {2,}", line) for line in listed.stdout.splitlines()]
    assert [row[0] for row in rows] == sorted([*METHODS, "good", *FAULTS])
    assert ["good", "good", "baselines/good.py", "samples"] in rows
    assert ["vae", "VAE", "baselines/vae.py", "samples", "Kingma & Welling 2014, arXiv 1312.6114"] in rows
    assert sum("arXiv" in row[-1] for row in rows) == len(METHODS) - len(["random", "supervised"])
    (tree / "baselines" / "structural.py").write_text(GOOD)
    line = refusal(command("-m", "structgan", "methods", cwd=tree, root=tree))
    (tree / "baselines" / "structural.py").unlink()
    assert "baselines/structural.py" in line and "structgan/methods/structural.py" in line


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="'simclr'"):
        methods.find("simclrr")


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_without_exactly_one_method_is_refused(monkeypatch, count):
    monkeypatch.setattr(sources, "method_file", lambda name: sources.ROOT / "baselines" / "random.py")
    module = types.ModuleType("baselines.random")
    for at in range(count):
        kind = type(f"Kind{at}", (methods.Method,), {"__module__": "baselines.random"})
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "baselines.random", module)
    with pytest.raises(UserError, match=rf"baselines/random\.py.*found {count}"):
        methods.find("any")
