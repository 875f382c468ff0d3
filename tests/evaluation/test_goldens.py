"""The numbers of every evaluation on small fixed data are those of goldens/evaluation.json."""

from pathlib import Path

import pytest
from blobs import blobs
from evaluated_tree import CLASSES, SETTINGS, Tree, pictures

from structgan import files
from structgan.datasets import Parts
from structgan.evaluation import probe
from structgan.evaluation.feature_map import feature_map
from structgan.evaluation.features import Features

GOLDENS = files.read_json(Path(__file__).parents[1] / "goldens" / "evaluation.json")
LOOSE = {
    "iterations": {"rel": 0.2, "abs": 2},
    "relative_gradient": {"rel": 0, "abs": 1e-4},
    "kid_std": {"rel": 1e-5},
}
"""How a solver stopped depends on the last bits of the features, where it stopped does not. KID's spread is small."""


def probed_blobs() -> dict:
    """All probes and the map of overlapping classes, where no score is 1."""
    (x, y), (test, test_y) = blobs(600, 5, 16, 0.5), blobs(200, 5, 16, 0.5, seed=1)
    settings = {**SETTINGS, "seed": 3}
    found = probe.evaluate(Features(x, y, test, test_y), settings, {"h": test, "e": test[:, :8]}).metrics
    points = feature_map(test, test_y, ("a",), {"kind": "pca", "points": 6})["points"]
    return {**found, "map": [abs(value) for point in points for value in point]}


def compare(found, golden, key: str = "") -> None:
    """Every number at a relative tolerance of 1e-6, except for ``LOOSE``."""
    if isinstance(golden, dict):
        assert found.keys() == golden.keys(), key
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
def test_numbers_are_the_goldens(halves: Tree, tmp_path: Path, case: str) -> None:
    evaluation, method = case.split("/")
    if method == "blobs":
        found = probed_blobs()
    else:
        tree = halves.copy(tmp_path / "tree")
        if evaluation == "transfer":
            tree.add_data("others", Parts(CLASSES, pictures(160, 8), pictures(80, 9)))
        found = tree.evaluate(method, evaluation)["metrics"]
    compare(found, GOLDENS[case])
