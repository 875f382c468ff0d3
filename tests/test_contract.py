"""``structgan check`` on small real methods, each with one fault: it is named, in plain words, and nothing else is."""

from __future__ import annotations

import pytest

from structgan.contract import processes
from structgan.contract.subject import Subject

GOOD = '''
"""A small method: features follow those of the batch before, and a generator follows the features."""
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
        self.optimiser = torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=0.01)

    def step(self, views, labels):
        (images,) = views
        features = self.encoder(images)
        fake = self.encoder(self.generator(self.noise(len(images), 4)))
        loss = (features - self.queue).square().mean() + (fake - features.detach()).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.queue = features.detach()
        return {"loss": loss.detach()}

    def sample(self, n, generator):
        return self.draw(n, 4, generator)
'''
BUFFER = 'self.register_buffer("queue", torch.zeros(16, 8))'
STEP = "    def step(self, views, labels):\n"
NOISE = "self.noise(len(images), 4)"
DRAWN = "return self.draw(n, 4, generator)"
ENCODE = "    def encode(self, images):\n        return {}\n\n" + STEP
OPTIMISED = "self.optimiser = torch.optim.Adam([*self.encoder.parameters(), *self.generator.parameters()], lr=0.01)"
FAULTS = {
    "forgotten": (
        BUFFER,
        "self.queue = torch.zeros(16, 8)",
        "interruption",
        ["`queue` is a plain tensor", "not a buffer"],
    ),
    "fleeting": (
        "8))\n        self.o",
        "8), persistent=False)\n        self.o",
        "interruption",
        ["`queue`", "persistent=False"],
    ),
    "counting": (
        STEP,
        STEP + "        self.count = getattr(self, 'count', 0) + 1\n        self.queue = self.queue / self.count\n",
        "interruption",
        ["`count` is a plain number", "self.step_index"],
    ),
    "generators": (
        NOISE,
        "torch.randn(len(images), 4, generator=self.own)",
        "interruption",
        ["`own` is a random generator of its own", "self.rng"],
    ),
    "hidden": (OPTIMISED, OPTIMISED.replace("= ", "= [", 1) + "]", "interruption", ["`optimiser` holds an optimiser"]),
    "common": (BUFFER, "", "interruption", ["`Small.queue`", "of the class", "buffer"]),
    "world": (NOISE, "torch.randn(len(images), 4)", "randomness", ["global random generator of PyTorch", "self.noise"]),
    "inplace": (STEP, ENCODE.format("self.encoder(images.mul_(0.5))"), "features", ["changes the images", "copy"]),
    "moving": (
        STEP,
        ENCODE.format("self.encoder(images) + self.queue.add_(1).mean()"),
        "features",
        ["changes `queue`"],
    ),
    "shaped": (STEP, ENCODE.format("self.encoder(images)[:, None]"), "features", ["(7, 1, 8)", "(N, D)"]),
    "centred": (
        STEP,
        ENCODE.format("self.encoder(images - images.mean(0))"),
        "features",
        ["depends on the others of its batch"],
    ),
    "headed": (
        STEP,
        ENCODE.format("self.encoder(images) + self.queue.mean()"),
        "published",
        ["more than self.encoder", "published"],
    ),
    "lost": ("loss = (", "loss = (images.mean() * 0 - 1).log() + (", "learning", ["'loss' = nan in step 1"]),
    "whole": ("loss.detach()}", "loss}", "learning", ["'loss' with its graph", "loss.detach()"]),
    "many": ('{"loss": loss', '{"loss": features', "learning", ["shape (16, 8)", "mean"]),
    "idle": (
        "*self.encoder.parameters(), ",
        "",
        "learning",
        ["nothing of self.encoder"],
    ),
    "taught": ("loss = (", "loss = labels.float().mean() + (", "learning", ["needs the labels", "uses_labels = True"]),
    "boastful": (STEP, "    uses_labels = True\n\n" + STEP, "labels", ["the same whatever the labels"]),
    "bright": (DRAWN, DRAWN.replace("self", "2 + self"), "samples", ["[-1, 1]"]),
    "careless": (DRAWN, DRAWN.replace("generator", "torch.default_generator"), "samples", ["from that one alone"]),
    "unfrozen": (
        BUFFER,
        BUFFER + "\n        self.target = nn.Linear(8, 8)",
        "modes",
        ["`target`", "no optimiser", "frozen_copy"],
    ),
    "picky": (
        "(images,) = views",
        "images, other = views\n        assert not torch.equal(images, other), 'one view twice'",
        "regimes",
        ["regime 'none'", "not_applicable", "one view twice", "baselines/picky.py:"],
    ),
    "blockless": ("", "", "settings", ["no block methods.blockless", "all.yaml"]),
    "astray": ("import torch\n", "import torch\nimport nowhere_to_be_found\n", "found", ["nowhere_to_be_found"]),
}
MORE = {
    "generators": (BUFFER, BUFFER + "\n        self.own = torch.Generator().manual_seed(1)"),
    "hidden": ("self.optimiser.", "self.optimiser[0]."),
    "picky": (STEP, "    views = 2\n\n" + STEP),
    "common": ("    def __init__", "    queue = torch.zeros(16, 8)\n\n    def __init__"),
}
"""Faults that take two edits, the second here."""


def faulty(name):
    source = GOOD.lstrip()
    for old, new in (FAULTS[name][:2], *([MORE[name]] if name in MORE else [])):
        assert old in source, name
        source = source.replace(old, new) if old else source
    return source if name != "common" else source.replace("self.queue = ", "Small.queue = ")


@pytest.fixture(scope="module")
def said(tmp_path_factory, copy_tree, command):
    """What one ``structgan check`` says of the good method and of all faulty ones, by name."""
    root = copy_tree(tmp_path_factory.mktemp("tree"))
    sources = {"good": GOOD.lstrip(), **{name: faulty(name) for name in FAULTS}}
    for name, source in sources.items():
        (root / "baselines" / f"{name}.py").write_text(source)
    (root / "all.yaml").write_text(
        "methods:\n" + "".join(f"  {name}: {{}}\n" for name in sources if name != "blockless")
    )
    done = command("-m", "structgan", "check", *sources, "--configfile", "all.yaml", cwd=root, root=root, timeout=300)
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert not (root / "results").exists() and not (root / "data").exists()
    blocks, name = {}, ""
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            blocks[name].append(line.split(maxsplit=2))
        else:
            name = line.split(":")[0]
            blocks.setdefault(name, [])
    return blocks


def test_a_method_that_keeps_the_contract_is_told_so(said):
    assert {mark for mark, *_ in said["good"]} == {"ok", "-"}
    assert [check for mark, check, _ in said["good"] if mark == "-"] == ["variants"]
    remarks = {check: remark for _, check, remark in said["good"]}
    assert "samples" in remarks["found"] and "bit-identical" in remarks["interruption"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(said, name):
    *_, check, words = FAULTS[name]
    wrong = {found: remark for mark, found, remark in said[name] if mark == "WRONG"}
    assert set(wrong) == {check}, wrong
    assert [word for word in words if word not in wrong[check]] == [], wrong
    assert "Traceback" not in wrong[check] and "/tmp" not in wrong[check]


def test_bad_input_is_one_line(tmp_path, copy_tree, command, refusal):
    root = copy_tree(tmp_path)
    line = refusal(command("-m", "structgan", "check", "smallest", cwd=root, root=root))
    assert "unknown method 'smallest'" in line
    (root / "bad.yaml").write_text("training: {steps: -1}\n")
    line = refusal(command("-m", "structgan", "check", "random", "--configfile", "bad.yaml", cwd=root, root=root))
    assert "bad.yaml" in line and "training.steps = -1" in line


def test_runs_on_two_processes_are_compared_with_one(demo, digits, tmp_path, monkeypatch):
    """The real command line, alone and under torchrun."""
    monkeypatch.chdir(tmp_path)
    subject = Subject("simclr", demo, [], digits)
    assert processes.agreement(2)(subject) == "the losses of 3 steps on 2 are those on one"
