"""The numbers of every evaluation on small fixed data are those of goldens/evaluation.json."""

from __future__ import annotations

from pathlib import Path

import frozen_runs
import pytest
from blobs import blobs
from halves import CLASSES, pictures

from structgan import files
from structgan.datasets import Parts, store
from structgan.evaluation import dense, fidelity, probe, transfer

GOLDENS = files.read_json(Path(__file__).parent / "goldens" / "evaluation.json")
LOOSE = {"iterations": {"rel": 0.2, "abs": 2}, "relative_gradient": {"rel": 0, "abs": 1e-4}}
"""How a solver stopped depends on the last bits of the features; where it stopped does not."""


def probed_blobs() -> dict:
    """All probes and the map of overlapping classes, where no score is 1."""
    (x, y), (test, test_y) = blobs(600, 5, 16, 0.5), blobs(200, 5, 16, 0.5, seed=1)
    settings = {**frozen_runs.EVALUATION, "knn": {"k": 5, "temperature": 0.07}}
    found = probe.evaluate(x, y, test, test_y, settings, 3, {"h": test, "e": test[:, :8]})["metrics"]
    points = probe.feature_map(test, test_y, ("a",), {**settings["map"], "kind": "pca", "points": 6})["points"]
    return {**found, "map": [abs(value) for point in points for value in point]}


def measure(place: Path, folder: Path, evaluation: str, name: str) -> dict:
    """The metrics of one job on a run of the fixture."""
    if name == "blobs":
        return probed_blobs()
    run, data = frozen_runs.copied(place, folder / "run", name), place / "data.safetensors"
    if evaluation == "probe":
        probe.run(run, data, place / "probe-protocol.json", "cpu")
        return files.read_json(run / "probe.json")["metrics"]
    if evaluation == "fidelity":
        fidelity.run(run, data, place / "fidelity-protocol.json", place / "extractor.safetensors", "cpu")
        return files.read_json(run / "fidelity.json")["metrics"]
    if evaluation == "dense":
        planned = frozen_runs.planned(folder / "dense.json", "dense", **frozen_runs.DENSE)
        dense.run(run, data, planned, folder, "cpu")
        return files.read_json(run / "dense.json")["metrics"]
    target = folder / "others.safetensors"
    store.save(target, Parts(CLASSES, pictures(160, 8), pictures(80, 9)), {"name": "others"})
    planned = frozen_runs.planned(
        folder / "transfer.json", "transfer", targets={"halves": ["others"]}, resize=False, data={}
    )
    transfer.run(run, data, [target], planned, "cpu")
    return files.read_json(run / "transfer.json")["metrics"]


def compare(found, golden, key: str = "") -> None:
    """Every number at a relative tolerance of 1e-6, what ``LOOSE`` names apart."""
    if isinstance(golden, dict):
        assert list(found) == list(golden), key
        for name in golden:
            compare(found[name], golden[name], f"{key}.{name}")
    elif isinstance(golden, list):
        assert len(found) == len(golden), key
        for number, (one, two) in enumerate(zip(found, golden, strict=True)):
            compare(one, two, f"{key}.{number}")
    else:
        tolerance = LOOSE.get(key.rsplit(".", 1)[-1], {"rel": 1e-6, "abs": 1e-9})
        assert found == pytest.approx(golden, **tolerance), key


@pytest.mark.parametrize("case", GOLDENS)
def test_numbers_are_the_goldens(place: Path, tmp_path: Path, case: str) -> None:
    compare(measure(place, tmp_path, *case.split("/")), GOLDENS[case])
