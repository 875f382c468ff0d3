"""Which of its settings a method reads, as ``structgan check`` tells: all of them."""

import pytest

from structgan import reads, sources, testing
from structgan.harness import Harness, fingerprint

QUICK = ("random", "simclr")
NAMES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.faults]) for name in sources.methods()]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_method_is_read(demo, digits, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    harness = Harness(name, demo, [], digits)
    for variant in ("base", *demo["methods"][name].get("variants", {})):
        testing.outputs(harness, harness.fit(variant, variant=variant).method)
    assert harness.check(testing.check_unread) == ("ok", "every setting is read")


CONTENT = {"a": 1, "block": {"b": [2], "c": {"d": 3}}, "optimizer": {"lr": 4, "momentum": 5, "schedule": "cosine"}}
READ = {
    "nothing": (lambda settings: len(settings), "a block optimizer"),
    "an item": (lambda settings: settings["block"]["c"]["d"], "a block.b optimizer"),
    "with a default": (lambda settings: (settings.get("a"), settings.get("z", 0)), "block optimizer"),
    "arguments": (lambda settings: dict(**settings["block"]["c"]), "a block.b optimizer"),
    "a copy": (lambda settings: [settings.copy(), {**settings["block"]}], "block.c.d optimizer.lr optimizer.schedule"),
    "values": (lambda settings: [*settings["block"].values(), *settings["optimizer"].items()], "a block.c.d"),
    "a fingerprint": (fingerprint, "a block optimizer"),
}


@pytest.mark.parametrize(("read", "left"), READ.values(), ids=READ)
def test_what_is_read_is_noted_at_every_level(read, left):
    settings = reads.Reads(CONTENT, set())
    assert settings == CONTENT
    read(settings)
    assert sorted(settings.unread()) == left.split()


def test_a_variant_may_read_what_the_base_does_not():
    block = {"settings": CONTENT, "variants": {"small": None, "typo": {"settings": {"block": {"e": 6}}}}}
    seen = {"a", "block", "block.b", "block.c", "block.c.d", "optimizer", "optimizer.lr", "optimizer.schedule"}
    assert reads.unread(block, seen) == ["block.e"]
