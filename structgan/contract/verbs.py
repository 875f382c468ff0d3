"""The verbs for a method of one's own: ``new baseline`` writes its files, ``check`` says what is wrong with it."""

from __future__ import annotations

import sys

import click

from structgan import config
from structgan.errors import UserError


@click.group()
def new() -> None:
    """Write the files of something new."""


@new.command()
@click.argument("name")
def baseline(name: str) -> None:
    """Write baselines/NAME.py, a working method to be made yours, and workflow/config/NAME.yaml."""
    from structgan.contract import new as writer

    click.echo(writer.baseline(name))


@click.command()
@click.argument("name")
@click.option(
    "--configfile",
    "files",
    multiple=True,
    help="Laid on top of workflow/config/config.yaml, and each on those before it. [default: workflow/config/demo.yaml,"
    " and workflow/config/NAME.yaml where there is one]",
)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 8), help="Compare with a run on so many, too."
)
def check(name: str, files: tuple[str, ...], processes: int) -> None:
    """Check that a method keeps the contract; say in plain words what is wrong. Exit code 1 where something is.

    On tiny digits, in a temporary folder, on the CPU: imports, settings, learning, features, samples, labels, random
    numbers, interruption, and every augmentation regime and variant.
    """
    from structgan.contract import checks

    own = config.BASE.parent / f"{name}.yaml"
    chosen = list(files) or [str(file) for file in (config.BASE.parent / "demo.yaml", own) if file.exists()]
    wrong = 0
    try:
        for verdict in checks.verdicts(name, chosen, processes):
            click.echo(verdict)
            wrong += verdict.kept is False
    except OSError as error:
        raise UserError(f"check {name}: {error.strerror or error}") from error
    shown = " + ".join(config.short(file) for file in chosen)
    click.echo(f"{name}: {f'{wrong} wrong' if wrong else 'keeps the contract'}, with {shown}")
    sys.exit(1 if wrong else 0)
