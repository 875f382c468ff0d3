"""The benchmarks' sides are what they say, and their settings are the configuration's."""

import json

import pytest
import torch

from benchmarks import settings, step


@pytest.fixture
def measure(tmp_path, monkeypatch):
    def measured():
        file, few = tmp_path / "step.json", ("--batch", "2", "--width", "16", "--rounds", "1", "--precision", "float32")
        monkeypatch.setattr("sys.argv", ["step", *few, "--device", "cpu", "--json", str(file)])
        step.main()
        return json.loads(file.read_text())

    return measured


@pytest.mark.slow
def test_the_step_is_timed_beside_the_reference_and_term_by_term(measure):
    found = measure()
    seconds = {name: side["seconds"] for name, side in found["steps"].items()}
    assert found["ratio_float32"] == pytest.approx(seconds["reference"] / seconds["float32"])
    assert found["rival_ratio_float32"] == pytest.approx(seconds["rival float32"] / seconds["float32"])
    assert found["grad_cosine_float32"] > 0.99 and found["steps"]["float32"]["flops"] > 0
    terms = {"discriminator", "smoothness", "gaussian", "cluster", "hinge", "generator"}
    assert set(found["terms"]["float32"]) == terms and found["terms"]["float32"]["smoothness"]["kept_mb"] > 0
    assert found["failed"] == {}


def test_a_side_that_fails_is_recorded_and_the_others_are_timed(measure, monkeypatch):
    def step_on(self, images):
        raise torch.OutOfMemoryError("70 GiB\nare needed")

    monkeypatch.setattr(step.ReferenceStep, "step", step_on)
    monkeypatch.setattr(step, "terms", lambda *_: {"hinge": {"ms": 1.0}})
    found = measure()
    assert set(found["steps"]) == {"float32"} and found["terms"]["float32"]["hinge"] == {"ms": 1.0}
    assert found["failed"]["reference"] == "OutOfMemoryError: 70 GiB"
    assert {"rival float32", "first step in float32"} <= set(found["failed"])
    assert found["steps"]["float32"]["flops"] > 0 and not {"ratio_float32", "rival_ratio_float32"} & set(found)


def test_the_settings_of_the_benchmarks_are_the_configurations():
    assert settings.read() == settings.resolve(), "out of date: python -m benchmarks.settings"
