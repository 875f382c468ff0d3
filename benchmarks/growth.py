"""How the structural GAN's step grows with batch, width, resolution and memory bank, and the probes with the classes.

``python -m benchmarks.growth --json FILE``. Three points of each axis, timed in turn, one axis at a time. The other
settings stay at the base: half the paper's width, so that a CPU reaches the ends. The step itself does not know the
classes; the probes are measured as a job runs them, on a tenth of CIFAR's images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks import settings, step, timing
from benchmarks.synthetic_features import APART, DIMENSIONS, draw
from structgan import precision
from structgan.evaluation import probe
from structgan.evaluation.features import Features

BASE = {"batch": 32, "width": 32, "image_size": 32, "bank": 10240}
POINTS = {"batch": (16, 32, 64), "width": (16, 32, 64), "image_size": (16, 32, 64), "bank": (1024, 10240, 51200)}
SAMPLES = (5000, 1000)
"""Training and test features of the probes."""
PROBES = ("linear", "svm", "kmeans", "knn")


def steps(axis: str, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """A step for each point of an axis, on a method of its own."""
    sides = {}
    for point in POINTS[axis]:
        for key, value in (BASE | {axis: point}).items():
            setattr(options, key, value)
        method = step.build(step.settings(options), options)
        images = step.scans(options.batch, options.image_size, options.device)
        sides[str(point)] = step.stepping(method, [images], options.precision)
    return sides


def probes(name: str) -> dict[str, Callable[[], object]]:
    """A probe for each number of classes, standardization and scores with it."""
    asked = settings.read()["evaluation"]

    def side(classes: int) -> Callable[[], object]:
        (train, labels), (test, test_labels) = draw(classes, SAMPLES)
        return lambda: probe.probes(Features(train, labels, test, test_labels), asked)[name]()

    return {str(classes): side(classes) for classes in sorted(APART)}


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--precision", choices=precision.NAMES, default="float32", help="of the step (default float32)")
    options = parser.parse_args()
    timing.begin(options)
    figures: dict[str, Any] = {"precision": options.precision, "base": BASE, "samples": SAMPLES, "seconds": {}}
    rows = []
    for axis in (*POINTS, *(f"classes, {name}" for name in PROBES)):
        sides = steps(axis, options) if axis in POINTS else probes(axis.removeprefix("classes, "))
        times = timing.in_turn(sides, options.rounds, device=options.device if axis in POINTS else "cpu")
        figures["seconds"][axis] = {name: time.figures() for name, time in times.items()}
        rows.append([axis, *(f"{name}: {time.median:.2f} s" for name, time in times.items())])
    print(f"\nOne step in {options.precision}, base {BASE}; one probe on {SAMPLES[0]} features of {DIMENSIONS}:")
    timing.table(["axis", "low", "middle", "high"], rows)
    timing.conclude(options, figures)


if __name__ == "__main__":
    main()
