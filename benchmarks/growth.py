"""How the structural GAN's step grows with batch, width, resolution and memory bank, and the probes with the classes.

``python -m benchmarks.growth --json FILE``. Three points of each axis, timed in turn. The other sizes stay at ``BASE``,
half the paper's width. The probes run as in a job, on a tenth of CIFAR's images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import settings, step, timing
from benchmarks.probes import APART, RIVALS, draw
from structgan import precision
from structgan.evaluation import probe
from structgan.evaluation.features import Features

BASE = {"batch": 32, "width": 32, "image_size": 32, "bank": 10240}
POINTS = {"batch": (16, 32, 64), "width": (16, 32, 64), "image_size": (16, 32, 64), "bank": (1024, 10240, 51200)}
SAMPLES = (5000, 1000)
"""Training and test features of the probes."""


def stepping(device: str, name: str, batch: int, **sizes: int) -> Callable[[], object]:
    """A step of a method of these sizes."""
    return step.stepping(step.build(device, **sizes), [step.scans(batch, sizes["image_size"], device)], name)


def probing(name: str, classes: int) -> Callable[[], object]:
    """A probe of features with this number of classes."""
    data = Features(*draw(classes, *SAMPLES))
    return lambda: probe.probes(data, settings.read()["evaluation"])[name]()


def sides(axis: str, device: str, name: str) -> dict[str, Callable[[], object]]:
    """The sides of an axis, by its points: a step of a method of its own, or a probe."""
    if axis in POINTS:
        return {str(point): stepping(device, name, **{**BASE, axis: point}) for point in POINTS[axis]}
    return {str(classes): probing(axis.removeprefix("classes, "), classes) for classes in APART}


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--precision", choices=precision.NAMES, default="float32", help="of the step (default float32)")
    options = parser.parse_args()
    timing.begin(options)
    found: dict[str, Any] = {"precision": options.precision, "base": BASE, "samples": SAMPLES, "seconds": {}}
    rows = []
    for axis in (*POINTS, *(f"classes, {name}" for name in RIVALS)):
        times = timing.in_turn(sides(axis, options.device, options.precision), options.rounds, device=options.device)
        found["seconds"][axis] = {point: timing.figures(seconds) for point, seconds in times.items()}
        rows += [{"axis": axis, "point": point, **one} for point, one in found["seconds"][axis].items()]
    timing.table(rows)
    timing.conclude(options, found)


if __name__ == "__main__":
    main()
