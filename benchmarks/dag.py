"""What the suite's Snakefile adds to planning: dry runs of large grids, beside a bare Snakefile of the same shape.

``python -m benchmarks.dag --json FILE``. Both sides are whole ``snakemake --dry-run`` commands in scratch folders. The
bare Snakefile has the same rules, wildcards, inputs, outputs and logs, and no configuration, parameters, resources or
imports.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import timing
from structgan import provenance
from structgan.sources import ROOT

PARTS = ("Snakefile", "profiles", "structgan", "baselines", "workflow", "pyproject.toml")
JOBS_OF_A_SEED = 5
"""Of the grid below: a GAN's training, probe and fidelity, another method's training and probe."""
GRID = """suite: grid
grid:
  - {{datasets: [digits_gradient], methods: [structural], augmentations: [none], variants: [full], seeds: {seeds}}}
  - {{datasets: [digits_gradient], methods: [simclr], augmentations: [none], seeds: {seeds}}}
"""
BARE = Path(__file__).with_name("bare.smk")


def plan_with(folder: Path, seeds: int) -> tuple[str, ...]:
    """Copy what the suite plans with, and a grid of this many seeds; the options of a dry run."""
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    (folder / "grid.yaml").write_text(GRID.format(seeds=list(range(seeds))))
    return ("--configfile", "workflow/config/demo.yaml", "grid.yaml")


def extractor(folder: Path) -> str:
    """Path of the planned grid's embedded extractor."""
    found = (folder.glob(name) for name in ("data/prepared/*.json", "results/protocols/extractor-*"))
    settings, protocol = (json.loads(path.read_text()) for (path,) in found)
    return str(provenance.extractor_path("digits_gradient", settings["identity"], protocol))


def dry_run(folder: Path, *options: str) -> dict[str, int]:
    """One dry run to its end; the jobs that it plans by rule."""
    values = os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}
    command = [sys.executable, "-m", "snakemake", "--dry-run", *options]
    done = subprocess.run(command, cwd=folder, env=values, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    stats = (done.stdout + done.stderr).partition("Job stats:\n")[2].partition("\n\n")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}


def compare(jobs: int, rounds: int) -> dict[str, Any]:
    """Dry runs of both sides on a new grid of about this many jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        mine, plain = Path(scratch) / "ours", Path(scratch) / "bare"
        options = plan_with(mine, jobs // JOBS_OF_A_SEED)
        counts = dry_run(mine, *options)
        for name in ("data", "results"):  # what planning writes is the bare side's input
            shutil.copytree(mine / name, plain / name)
        shutil.copy2(BARE, plain / "Snakefile")
        bare = ("--rerun-triggers", "mtime", "input", "--config", f"extractor={extractor(mine)}")
        if dry_run(plain, *bare) != counts:
            raise RuntimeError("the two sides do not plan the same jobs")
        sides = {"ours": partial(dry_run, mine, *options), "bare": partial(dry_run, plain, *bare)}
        times = timing.in_turn(sides, rounds, warmup=0)
    found = {name: timing.figures(seconds) for name, seconds in times.items()}
    return {"jobs": counts["total"], **found, "ratio": timing.ratio(times["ours"], times["bare"])}


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=[5000, 20000], help="jobs of each grid")
    options = parser.parse_args()
    timing.begin(options)
    grids = [compare(jobs, options.rounds) for jobs in options.jobs]
    timing.table([{**grid, **{side: grid[side]["seconds"] for side in ("ours", "bare")}} for grid in grids])
    timing.save(options, {"grids": grids})


if __name__ == "__main__":
    main()
