"""Whether speed costs quality: the demo's structural GAN trained by the reference's step and by the suite's two.

``python -m benchmarks.quality --json FILE``. Sides: ``benchmarks/reference_step.py`` in float32, the suite's step in
float32 and in bfloat16. With one seed all three begin with the same weights, batches and latents; a GAN magnifies
rounding, so that they part within tens of steps, and what can be compared is how well the encoders read: each is probed
as the demo's jobs probe it, on the test scans. Two sides agree where their means lie within one pooled standard
deviation.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.reference_step import ReferenceStep
from structgan import config, datasets, sources, train
from structgan.evaluation import features, linear
from structgan.files import write_json
from structgan.grid import Grid
from structgan.methods.structural import Structural

SIDES = {"reference": "float32", "float32": "float32", "bfloat16": "bfloat16"}
"""Name of a side to the precision of its training."""


class Demo:
    """The demo's structural GAN without augmentation, to be trained and probed in a folder.

    Args:
        scratch: an empty folder.
        steps: updates, or None for the demo's.
        device: cpu or cuda.
    """

    def __init__(self, scratch: Path, steps: int | None, device: str) -> None:
        self.scratch, self.device = scratch, device
        self.config = config.load([sources.ROOT / "workflow" / "config" / "demo.yaml"])
        if steps is not None:
            self.config["training"]["steps"] = steps
        self.data = scratch / "digits.safetensors"
        datasets.prepare({"name": "digits", **self.config["datasets"]["digits"]}, self.data, scratch)

    def run(self, side: str, seed: int) -> train.Run:
        """A run that has not begun."""
        self.config["training"]["precision"] = SIDES[side]
        run = Grid(self.config).run("digits", "structural", "none", "full", seed)
        folder = self.scratch / f"{side}-{seed}"
        folder.mkdir()
        write_json(folder / "config.json", run.content)
        found = train.Run(folder, self.data, self.device)
        found.method.train()
        return found

    def trained(self, side: str, seed: int) -> tuple[Structural, float]:
        """The method after all steps of one side, and the seconds that they took."""
        run = self.run(side, seed)
        method, steps = run.method, run.training["steps"]
        assert isinstance(method, Structural)
        begin = time.perf_counter()
        if side == "reference":
            book = ReferenceStep(method)
            for _ in range(steps):
                (images,), _ = next(run.batches)
                book.step(images)
            book.give_average(method)
        else:
            while run.step < steps:
                run.update()
        timing.wait(self.device)
        return method.eval(), time.perf_counter() - begin

    def linear(self, method: Structural) -> float:
        """Top-1 of the demo's linear probe on the test scans, in points."""
        data = features.read(method.encode, datasets.load(self.data, self.device))
        scores, _ = linear.logistic_regression(data, self.config["evaluation"]["linear"])
        return 100 * float(scores["top1"])


def pooled(a: Sequence[float], b: Sequence[float]) -> float:
    """Pooled standard deviation of two samples."""
    squares = sum((len(one) - 1) * statistics.variance(one) for one in (a, b))
    return float((squares / (len(a) + len(b) - 2)) ** 0.5)


def compared(found: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Each side beside the reference step: difference of the means in points, pooled deviation, whether they agree."""
    book = found["reference"]
    result = {}
    for side, values in found.items():
        if side != "reference":
            difference, deviation = statistics.mean(values) - statistics.mean(book), pooled(values, book)
            result[side] = {"points": difference, "pooled_std": deviation, "agrees": abs(difference) <= deviation}
    return result


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="at least two (default 0 1 2)")
    parser.add_argument("--steps", type=int, help="updates (default: the demo's)")
    options = parser.parse_args()
    if len(set(options.seeds)) < 2:
        parser.error("--seeds: at least two different ones, for a standard deviation")
    timing.begin(options)
    accuracies: dict[str, list[float]] = {side: [] for side in SIDES}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as scratch:
        demo = Demo(Path(scratch), options.steps, options.device)
        for seed in options.seeds:
            for side in SIDES:
                method, took = demo.trained(side, seed)
                accuracies[side].append(demo.linear(method))
                seconds[side].append(took)
                print(f"  seed {seed}, {side}: {accuracies[side][-1]:.2f} after {took:.0f} s", flush=True)
    against = compared(accuracies)
    rows = [
        [
            side,
            f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}",
            f"{statistics.median(seconds[side]):.0f}",
        ]
        + ([f"{against[side]['points']:+.1f}", str(against[side]["agrees"])] if side in against else ["-", "-"])
        for side, values in accuracies.items()
    ]
    timing.table(["side", "linear probe", "s", "points from the reference step", "within one deviation"], rows)
    figures = {"seeds": options.seeds, "steps": demo.config["training"]["steps"], "linear": accuracies}
    timing.conclude(options, {**figures, "seconds": seconds, "compared": against})


if __name__ == "__main__":
    main()
