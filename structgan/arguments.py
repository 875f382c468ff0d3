"""Options that several commands share, and how --plan and --device are resolved."""

import contextlib
import itertools
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from structgan.errors import UserError

if TYPE_CHECKING:
    from structgan.report.results import Suite


class AnyPath(click.Path):
    """A path, there or not; an empty one, which would be the working folder, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of a word."""
        if not str(value):
            self.fail("the path is empty (. is the working folder)", param, ctx)
        return super().convert(value, param, ctx)


class Amount(click.FloatRange):
    """A number above 0 and at most ``most``; click's own range lets NaN pass."""

    def __init__(self, most: float) -> None:
        super().__init__(min=0, max=most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of a word."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


PATH = AnyPath(path_type=Path)


class ConfigfileCommand(click.Command):
    """A command that reads ``--configfile A B`` as Snakemake does: several files after an option that is given once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option for each file, as click has it."""
        from structgan import config

        config.check_options(args)
        start = args.index("--configfile") + 1 if "--configfile" in args else len(args)
        files = list(itertools.takewhile(lambda word: not word.startswith("-"), args[start:]))
        more = [word for file in files[1:] for word in ("--configfile", file)]
        return super().parse_args(ctx, [*args[: start + 1], *more, *args[start + len(files) :]] if files else args)


def plan_files(given: Sequence[str]) -> list[Path]:
    """The plans that ``--plan`` names, by file or by suite; without any, the newest of every suite."""
    from structgan import plan

    return [plan.find(each) for each in given] or plan.suites()


@contextlib.contextmanager
def suite(plan: str) -> "Iterator[Suite]":
    """The results of the suite that ``--plan`` names; the command ends as ``finish`` says."""
    from structgan.report import results

    found = results.read(plan)
    yield found
    finish(found)


def finish(suite: "Suite") -> None:
    """End a command that showed a suite: exit code 1, and a line for what it lacks, if something is not there."""
    if absent := [run["run"] for run in suite.runs if suite.missing(run)]:
        count = f"{len(absent)} of {len(suite.runs)} runs are not finished"
        click.echo(f"{suite.file}: {count} (what is missing is not counted), first {absent[0]}", err=True)
        for reason in dict.fromkeys(suite.damaged.values()):
            click.echo(f"damaged, not counted: {reason}", err=True)
        sys.exit(1)


def fail(error: Exception) -> NoReturn:
    """End the command with an error that the user can fix: one line, and exit code 2."""
    line = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    process = int(os.environ.get("RANK", "0"))
    name = f"structgan process {process}" if process else "structgan"  # under torchrun, most repeat the first
    click.echo(f"{name}: {line}", err=True)
    sys.exit(2)


def resolve_device(device: str) -> str:
    """``auto`` as ``cuda`` or ``cpu``, whichever this machine has; ``cuda`` is refused without a GPU."""
    from structgan.environment import best_device
    from structgan.precision import full_products

    best = best_device()
    if device == "cuda" and best != "cuda":
        raise UserError("--device cuda: no GPU is visible to PyTorch (allowed here: cpu, auto)")
    full_products()  # in evaluations as in training
    return best if device == "auto" else device


CONFIGFILES = click.option(
    "--configfile",
    "files",
    multiple=True,
    metavar="FILE...",
    help="Laid on top of workflow/config/config.yaml, in order.",
)
RUN = click.option("--run", required=True, type=PATH, help="Folder of the run; it holds config.json.")
DATA = click.option("--data", required=True, type=PATH, help="Prepared data set (data/prepared/NAME-ID.safetensors).")
PROTOCOL = click.option(
    "--protocol", required=True, type=PATH, help="The job's protocol (results/protocols/NAME-ID.json)."
)
PLAN = click.option(
    "--plan", required=True, help="A plan (results/plans/SUITE/ID.json), or a suite's name: its newest."
)
PLANS = click.option("--plan", "plans", multiple=True, help="A plan or a suite's name; by default every suite.")
RAW = click.option(
    "--raw", default="data/raw", show_default=True, type=PATH, help="Folder of the files as they were published."
)
OUT = click.option("--out", required=True, type=PATH, help="Where to write.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute."
)
GFLOPS = click.option(
    "--gflops",
    type=Amount(1e15),
    help="Operations of a whole training, in 1e9.  [default: as many as the data set's main row]",
)
MINUTES = click.option(
    "--minutes",
    type=Amount(1e6),
    help="Train for this many minutes, then stop as if preempted.",
)
PROCESSES = click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 8),
    help="Also compare a run on this many processes with a run on one.",
)
YES = click.option("--yes", is_flag=True, help="Delete without asking.")
