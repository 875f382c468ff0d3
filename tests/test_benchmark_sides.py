"""The benchmarks' rivals run as their users run them, and a side that fails takes no other side's numbers with it."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import settings, simclr, step, timing


def test_the_rival_keeps_cudnn_and_gets_pytorchs_tf32():
    """``cudnn.flags`` has enabled=False as its default, with which the rival would lose its convolutions' library."""
    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    with simclr.with_tf32():
        assert torch.backends.cudnn.enabled is before[0] is True
        assert torch.backends.cudnn.allow_tf32 is True
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before


def broken():
    raise RuntimeError("out of memory\nand a long story")


def test_a_side_that_fails_is_recorded_and_the_others_go_on():
    failed, seen = {}, []
    sides = {"good": lambda: None, "bad": broken, "fine": lambda: None}
    times = timing.in_turn(sides, 3, failed=failed, after=lambda so_far: seen.append(sorted(so_far)))
    assert failed == {"bad": "RuntimeError: out of memory"} and seen == [["fine", "good"]] * 3
    assert {name: len(time.seconds) for name, time in times.items()} == {"good": 3, "fine": 3}
    with pytest.raises(RuntimeError, match="out of memory"):
        timing.in_turn(sides, 1)


def test_the_steps_sides_have_batches_of_their_own_and_the_file_is_whole_whenever_one_fails(tmp_path, monkeypatch):
    file = tmp_path / "step.json"
    options = ["step", "--batch", "4", "--reference-batch", "2", "--width", "16", "--image-size", "8", "--bank", "8"]
    monkeypatch.setattr("sys.argv", [*options, "--rounds", "1", "--device", "cpu", "--json", str(file)])
    monkeypatch.setattr(step.Terms, "measured", lambda *_: broken())
    step.main()
    figures = json.loads(file.read_text())
    assert {name: side["batch"] for name, side in figures["steps"].items()} == {
        "reference": 2, "float32": 4, "bfloat16": 4,
    }  # fmt: skip
    seconds = {name: side["seconds"] for name, side in figures["steps"].items()}
    assert figures["ratio_float32"] == pytest.approx(2 * seconds["reference"] / seconds["float32"])
    assert sorted(figures["failed"]) == ["terms of bfloat16", "terms of float32"]
    assert figures["grad_cosine_float32"] > 0.99


def test_a_width_that_cannot_be_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["step", "--width", "8", "--device", "cpu"])
    with pytest.raises(SystemExit) as refused:
        step.main()
    assert refused.value.code == 2 and "channels_per_group = 16" in capsys.readouterr().err.splitlines()[-1]


def test_the_settings_of_the_benchmarks_are_the_configurations():
    assert settings.read() == settings.resolve(), "out of date: python -m benchmarks.settings"
