"""The options that several verbs of the command line share, and what --device stands for."""

from __future__ import annotations

from pathlib import Path

import click

from structgan.errors import UserError

PATH = click.Path(path_type=Path)
RUN = click.option("--run", required=True, type=PATH, help="Folder of the run; it holds config.json.")
DATA = click.option("--data", required=True, type=PATH, help="Prepared data set (data/prepared/NAME.safetensors).")
PROTOCOL = click.option(
    "--protocol", required=True, type=PATH, help="The job's protocol (results/runs/SUITE/protocol/JOB.json)."
)
PLAN = click.option("--plan", required=True, type=PATH, help="The suite's plan.json.")
STALE = click.option("--include-stale", is_flag=True, help="Show numbers of another identity, marked.")
RAW = click.option(
    "--raw", default="data/raw", show_default=True, type=PATH, help="Folder of the files as they were published."
)
OUT = click.option("--out", required=True, type=PATH, help="Where to write.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute."
)


def resolve_device(device: str) -> str:
    """``auto`` as what this machine has; ``cuda`` is refused where there is none."""
    from structgan.environment import best_device
    from structgan.precision import full_products

    best = best_device()
    if device == "cuda" and best != "cuda":
        raise UserError("--device cuda: no GPU is visible to PyTorch (allowed here: cpu, auto)")
    full_products()  # in evaluations as in training
    return best if device == "auto" else device
