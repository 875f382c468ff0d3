"""The verbs for a method of one's own: ``new baseline`` writes its files, ``check`` says what is wrong with it."""

from __future__ import annotations

import sys

import click

from structgan import config, sources


@click.group()
def new() -> None:
    """Write the files of something new."""


@new.command()
@click.argument("name")
def baseline(name: str) -> None:
    """Write baselines/NAME.py, a working method to be made yours, and workflow/config/NAME.yaml."""
    from structgan.contract import new as writer

    click.echo(writer.baseline(name))


@new.command()
@click.argument("name")
def evaluation(name: str) -> None:
    """Write structgan/evaluation/NAME.py, an evaluation that works, and workflow/config/NAME.yaml."""
    from structgan.contract import new as writer

    click.echo(writer.evaluation(name))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--configfile",
    "files",
    multiple=True,
    help="Laid on top of workflow/config/config.yaml, and each on those before it. [default: demo.yaml, field.yaml"
    " and, where there is one, NAME.yaml of workflow/config]",
)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 8), help="Compare with a run on so many, too."
)
def check(names: tuple[str, ...], files: tuple[str, ...], processes: int) -> None:
    """Check that methods keep the contract; say in plain words what is wrong. Exit code 1 where something is.

    On tiny digits, in a temporary folder, on the CPU: imports, settings, features, learning, samples, labels, random
    numbers, interruption, and every augmentation regime and variant.
    """
    paths = {name: config.short(str(sources.method_file(name))) for name in names}
    from structgan.contract import checks

    wrong = 0
    for name, path in paths.items():
        own = (config.BASE.parent / f"{file}.yaml" for file in ("demo", "field", name))
        chosen = list(files) or [str(file) for file in own if file.exists()]
        click.echo(f"{name}: {path}, with {' + '.join(config.short(file) for file in chosen)}")
        found = []
        for verdict in checks.verdicts(name, chosen, processes):
            click.echo(f"  {verdict}")
            found.append(verdict.kept)
        broken = found.count(False)
        click.echo(f"{name}: {f'{broken} wrong' if broken else 'keeps the contract'}")
        wrong += broken
    sys.exit(1 if wrong else 0)
