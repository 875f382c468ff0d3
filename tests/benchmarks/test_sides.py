"""The benchmarks' sides are what they say, and their settings are the configuration's."""

import json

import pytest

from benchmarks import settings, step


@pytest.mark.slow
def test_the_step_is_timed_beside_the_reference_and_term_by_term(tmp_path, monkeypatch):
    file, few = tmp_path / "step.json", ("--batch", "2", "--width", "16", "--rounds", "1", "--precision", "float32")
    monkeypatch.setattr("sys.argv", ["step", *few, "--device", "cpu", "--json", str(file)])
    step.main()
    found = json.loads(file.read_text())
    seconds = {name: side["seconds"] for name, side in found["steps"].items()}
    assert found["ratio_float32"] == pytest.approx(seconds["reference"] / seconds["float32"])
    assert found["grad_cosine_float32"] > 0.99 and found["steps"]["float32"]["flops"] > 0
    terms = {"discriminator", "smoothness", "gaussian", "cluster", "hinge", "generator"}
    assert set(found["terms"]["float32"]) == terms and found["terms"]["float32"]["smoothness"]["kept_mb"] > 0


def test_the_settings_of_the_benchmarks_are_the_configurations():
    assert settings.read() == settings.resolve(), "out of date: python -m benchmarks.settings"
