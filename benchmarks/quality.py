"""Whether speed costs quality: the demo's structural GAN trained by the reference's step and by the suite's two.

``python -m benchmarks.quality --json FILE``. Sides: ``benchmarks/reference_step.py`` in float32, the suite's step in
float32 and in bfloat16. With one seed all three begin with the same weights, batches and latents. A GAN magnifies
rounding, so they part within tens of steps; what can be compared is the demo's linear probe of their encoders.
"""

import tempfile
from pathlib import Path

import pandas as pd

from benchmarks import timing
from benchmarks.reference_step import ReferenceStep
from structgan import config, datasets, sources, train
from structgan.evaluation import features, linear
from structgan.files import write_json
from structgan.grid import Grid
from structgan.method import Method

SIDES = {"reference": "float32", "float32": "float32", "bfloat16": "bfloat16"}
"""Name of a side to the precision of its training."""


class Demo:
    """The demo's structural GAN without augmentation, trained and probed in an empty folder."""

    def __init__(self, scratch: Path, device: str) -> None:
        self.scratch, self.device = scratch, device
        self.config = config.load([sources.ROOT / "workflow" / "config" / "demo.yaml"])
        self.data = scratch / "digits.safetensors"
        datasets.prepare({"name": "digits", **self.config["datasets"]["digits"]}, self.data, scratch)

    def train(self, side: str, seed: int) -> tuple[Method, float]:
        """The method after all steps of one side, and the seconds that they took."""
        settings = config.merge(self.config, {"training": {"precision": SIDES[side]}})
        folder = self.scratch / f"{side}-{seed}"
        write_json(folder / "config.json", Grid(settings).run("digits", "structural", "none", "full", seed).content)
        run = train.Run(folder, self.data, self.device)
        run.method.train()
        reference = ReferenceStep(run.method)

        def work() -> None:
            for _ in range(self.config["training"]["steps"]):
                if side == "reference":
                    reference.step(next(run.batches)[0][0])
                else:
                    run.update()

        seconds = timing.timed(work, self.device)
        if side == "reference":
            reference.give_average(run.method)
        return run.method.eval(), seconds

    def probe(self, method: Method) -> float:
        """Top-1 of the demo's linear probe on the test scans, in points."""
        data = features.read(method.encode, datasets.load(self.data, self.device))
        return 100 * float(linear.logistic_regression(data, self.config["evaluation"]["linear"])[0]["top1"])


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean of each side, its difference from the reference's, and whether that is within a pooled deviation."""
    sides = runs.groupby("side", sort=False)
    mean, variance = sides["linear"].mean(), sides["linear"].var()
    table = pd.DataFrame({"linear": mean, "std": variance**0.5, "seconds": sides["seconds"].median()})
    table["points"] = mean - mean["reference"]
    table["pooled_std"] = ((variance + variance["reference"]) / 2) ** 0.5  # as many seeds on each side
    table["agrees"] = table["points"].abs() <= table["pooled_std"]
    return table.reset_index()


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    options = parser.parse_args()
    timing.begin(options)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        demo = Demo(Path(scratch), options.device)
        for seed in range(options.rounds):
            for side in SIDES:
                method, seconds = demo.train(side, seed)
                rows.append({"seed": seed, "side": side, "linear": demo.probe(method), "seconds": seconds})
                print(rows[-1], flush=True)
    compared = compare(pd.DataFrame(rows)).to_dict("records")
    timing.table(compared)
    timing.save(options, {"runs": rows, "compared": compared})


if __name__ == "__main__":
    main()
