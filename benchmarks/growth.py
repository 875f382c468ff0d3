"""How the structural GAN's step grows with batch, width, resolution and memory bank: three points each, one at a time.

``python -m benchmarks.growth --json FILE``. The other settings stay at the base: half the paper's width, so that a CPU
reaches the ends. Points of an axis are timed in turn.
"""

from __future__ import annotations

from typing import Any

from benchmarks import step, timing
from structgan import precision

BASE = {"batch": 32, "width": 32, "image_size": 32, "bank": 10240}
POINTS = {"batch": (16, 32, 64), "width": (16, 32, 64), "image_size": (16, 32, 64), "bank": (1024, 10240, 51200)}


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--precision", choices=precision.NAMES, default="float32", help="of the step (default float32)")
    options = parser.parse_args()
    timing.begin(options)
    figures: dict[str, Any] = {"precision": options.precision, "base": BASE, "seconds": {}}
    rows = []
    for axis, points in POINTS.items():
        sides = {}
        for point in points:
            for key, value in (BASE | {axis: point}).items():
                setattr(options, key, value)
            method = step.build(step.settings(options), options)
            images = step.scans(options.batch, options.image_size, options.device)
            sides[str(point)] = step.stepping(method, images, options.precision)
        times = timing.in_turn(sides, options.rounds, device=options.device)
        figures["seconds"][axis] = {name: time.figures() for name, time in times.items()}
        rows.append([axis, *(f"{name}: {time.median:.2f} s" for name, time in times.items())])
    print(f"\nOne step in {options.precision}; base {BASE}:")
    timing.table(["axis", "low", "middle", "high"], rows)
    timing.conclude(options, figures)


if __name__ == "__main__":
    main()
