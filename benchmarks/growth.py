"""How the structural GAN's step grows with batch, width, resolution and memory bank, and the probes with the classes.

``python -m benchmarks.growth --json FILE``. Three points of each axis, timed in turn. The other sizes stay at ``BASE``,
half the paper's width. The probes run as in a job, on a tenth of CIFAR's images.
"""

from collections.abc import Callable

from benchmarks import settings, step, timing
from benchmarks.probes import APART, RIVALS, draw
from structgan import precision
from structgan.evaluation import probe
from structgan.evaluation.features import Features

BASE = {"batch": 32, "width": 32, "image_size": 32, "bank": 10240}
POINTS = {"batch": (16, 32, 64), "width": (16, 32, 64), "image_size": (16, 32, 64), "bank": (1024, 10240, 51200)}
SAMPLES = (5000, 1000)
"""Training and test features of the probes."""


def step_side(axis: str, point: int, device: str, name: str) -> Callable[[], object]:
    """A step of a method of its own."""
    sizes = BASE | {axis: point}
    images = step.scans(sizes.pop("batch"), sizes["image_size"], device)
    return step.stepping(step.build(device, **sizes), [images], name)


def probe_side(name: str, classes: int) -> Callable[[], object]:
    """A probe of features with this number of classes."""
    data = Features(*draw(classes, *SAMPLES))
    return lambda: probe.probes(data, settings.read()["evaluation"])[name]()


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--precision", choices=precision.NAMES, default="float32", help="of the step (default float32)")
    options = parser.parse_args()
    timing.begin(options)
    rows = []
    for axis in (*POINTS, *RIVALS):
        if axis in POINTS:
            sides = {str(n): step_side(axis, n, options.device, options.precision) for n in POINTS[axis]}
        else:
            sides = {str(n): probe_side(axis, n) for n in APART}
        times = timing.in_turn(sides, options.rounds, device=options.device)
        rows += [{"axis": axis, "point": point, **timing.figures(seconds)} for point, seconds in times.items()]
    timing.table(rows)
    timing.save(options, {"precision": options.precision, "base": BASE, "samples": SAMPLES, "sides": rows})


if __name__ == "__main__":
    main()
