"""What this suite's Snakefile adds to planning: dry runs of large grids, beside a bare Snakefile of the same shape.

``python -m benchmarks.dag --json FILE``. Both sides are whole ``snakemake --dry-run`` commands in scratch folders, in
turn. The bare Snakefile has the same rules, wildcards, inputs, outputs and logs, and nothing else: no configuration,
parameters, resources or imports. Then a grid of finished runs is given one more seed, and what is planned is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
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
  - {{datasets: [digits], methods: [structural], augmentations: [none], variants: [full], seeds: {seeds}}}
  - {{datasets: [digits], methods: [simclr], augmentations: [none], seeds: {seeds}}}
"""
SIDES = ("ours", "bare")
BARE = Path(__file__).with_name("bare.smk")


def suite(folder: Path) -> Path:
    """A copy of what this suite plans with."""
    for part in PARTS:
        source, copy = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    return folder


def widen(tree: Path, seeds: int) -> None:
    """Lay a grid with this many seeds on top of the demo's configuration."""
    (tree / "grid.yaml").write_text(GRID.format(seeds=list(range(seeds))))


def dry_run(tree: Path, *options: str) -> dict[str, int]:
    """One dry run to its end, as a user would type it; the jobs that it plans by rule."""
    values = os.environ | {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tree / ".cache")}
    command = [sys.executable, "-m", "snakemake", "--dry-run", *options]
    done = subprocess.run(command, cwd=tree, env=values, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    lines = (done.stdout + done.stderr).splitlines()
    counts: dict[str, int] = {}
    for line in lines[lines.index("Job stats:") + 3 :] if "Job stats:" in lines else []:
        if len(line.split()) != 2:
            break
        counts[line.split()[0]] = int(line.split()[1])
    return counts


def ours(tree: Path) -> dict[str, int]:
    """A dry run of this suite; times and sets of inputs alone plan work, as profiles/default says."""
    return dry_run(tree, "--configfile", "workflow/config/demo.yaml", "grid.yaml")


def bare(tree: Path) -> dict[str, int]:
    """A dry run of the bare Snakefile, with the triggers of the other side."""
    extractor = provenance.extractor_path("digits", *extractor_of(tree))
    return dry_run(tree, "--rerun-triggers", "mtime", "input", "--config", f"extractor={extractor}")


def extractor_of(tree: Path) -> tuple[str, dict[str, Any]]:
    """The identity of the grid's data set, and the protocol of its extractor."""
    (settings,), (protocol,) = (tree.glob(name) for name in ("data/prepared/*.json", "results/protocols/extractor-*"))
    return json.loads(settings.read_text())["identity"], json.loads(protocol.read_text())


def compare(jobs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Dry runs of both sides on grids of about ``jobs`` jobs, of which nothing is done yet."""
    seeds = jobs // JOBS_OF_A_SEED
    with tempfile.TemporaryDirectory() as scratch:
        mine, plain = suite(Path(scratch) / "ours"), Path(scratch) / "bare"
        widen(mine, seeds)
        begin = time.perf_counter()
        counts = ours(mine)
        first = time.perf_counter() - begin
        for name in ("data", "results"):  # what planning writes is the bare side's input
            shutil.copytree(mine / name, plain / name)
        shutil.copy2(BARE, plain / "Snakefile")
        if bare(plain) != counts:
            raise RuntimeError("the two sides do not plan the same jobs")
        sides = {"ours": partial(ours, mine), "bare": partial(bare, plain)}
        times = timing.in_turn(sides, options.rounds, warmup=0)
    return {
        "jobs": counts["total"],
        "first_seconds": first,
        **{name: found.figures() for name, found in times.items()},
        "ratio": timing.ratio(times["ours"], times["bare"]),
    }


def finish(tree: Path) -> int:
    """Write what the jobs of the suite's plan would leave, as far as planning looks at it; how many runs there are."""
    (plan,) = (tree / "results/plans/grid").glob("*.json")
    runs = json.loads(plan.read_text())["runs"]
    files = [*{entry["data"] for entry in runs}, provenance.extractor_path("digits", *extractor_of(tree))]
    for entry in runs:
        names = ("encoder.safetensors", "history.json", "env.json", *entry["evaluations"].values())
        files += [f"{entry['run']}/{name}" for name in names]
    for file in files:
        (tree / file).touch()
    return len(runs)


def add_a_seed(runs: int) -> dict[str, Any]:
    """A finished grid of ``runs`` runs, and the same with one more seed: what is planned of training and evaluation."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = suite(Path(scratch) / "ours")
        widen(tree, runs // 2)
        ours(tree)
        finished = finish(tree)
        again = dry_run(tree, "--configfile", "workflow/config/demo.yaml", "grid.yaml", "--", "runs")
        widen(tree, runs // 2 + 1)
        begin = time.perf_counter()
        planned = dry_run(tree, "--configfile", "workflow/config/demo.yaml", "grid.yaml", "--", "runs")
        return {
            "finished": finished,
            "planned": again,
            "planned_with_one_more": planned,
            "seconds": time.perf_counter() - begin,
        }


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=[5000, 20000], help="jobs of each grid")
    parser.add_argument("--finished", type=int, default=2000, help="runs of the finished grid")
    options = parser.parse_args()
    timing.begin(options)
    found = {str(jobs): compare(jobs, options) for jobs in options.jobs}
    rows = [
        [
            f"{case['jobs']} jobs",
            *(f"{case[side]['seconds']:.1f} s" for side in ("ours", "bare")),
            f"{case['ratio']:.2f}",
        ]
        for case in found.values()
    ]
    timing.table(["dry run of", "this suite", "bare", "ratio"], rows)
    seed = add_a_seed(options.finished)
    print(
        f"{seed['finished']} finished runs plan {seed['planned']}; with one more seed {seed['planned_with_one_more']}"
    )
    ratios = {f"ratio_{jobs}": case["ratio"] for jobs, case in found.items()}
    timing.conclude(options, {**ratios, "grids": found, "a_seed_more": seed})


if __name__ == "__main__":
    main()
