"""The command line: one command per rule of the DAG, and others. Each command does its own heavy imports."""

import io
import sys
from pathlib import Path

import click

from structgan import __version__, arguments
from structgan.arguments import CONFIGFILES, DATA, DEVICE, OUT, PATH, PLAN, PLANS, PROTOCOL, RAW, RUN, YES
from structgan.errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Reproducibility benchmark of structural adversarial objectives for representation learning."""


@cli.command(cls=arguments.ConfigfileCommand)
@CONFIGFILES
def configure(files: tuple[str, ...]) -> None:
    """Check a configuration and write its plan; nothing is run."""
    from structgan import config, plan

    made = plan.Plan(config.load(files), [str(config.BASE), *files])
    made.write()
    click.echo(f"{made.path}: {len(made.runs)} runs")


@cli.command(cls=arguments.ConfigfileCommand)
@CONFIGFILES
@arguments.GFLOPS
def budget(files: tuple[str, ...], gflops: float | None) -> None:
    """Print each row's steps for equal compute, and a step's cost."""
    from structgan import budget as budgets

    click.echo(budgets.show(files, gflops))


@cli.command()
@click.option("--settings", required=True, type=PATH, help="The data set's settings (data/prepared/NAME-ID.json).")
@RAW
@OUT
def prepare(settings: Path, raw: Path, out: Path) -> None:
    """Prepare a data set once, as one memory-mappable file."""
    from structgan import datasets, provenance
    from structgan.files import read_json

    asked = read_json(settings)
    if "identity" in asked:
        provenance.read_identified(settings)
    summary = datasets.prepare(asked, out, raw)
    click.echo(f"{out}: " + ", ".join(f"{key} {value}" for key, value in summary.items()))


@cli.command()
@DATA
@PROTOCOL
@OUT
@DEVICE
def extractor(data: Path, protocol: Path, out: Path, device: str) -> None:
    """Train the embedded extractor of FID on a data set's labels."""
    from structgan.evaluation import extractor as extractors

    extractors.train(data, protocol, out, arguments.resolve_device(device))


@cli.command()
@RUN
@DATA
@DEVICE
@arguments.MINUTES
def train(run: Path, data: Path, device: str, minutes: float | None) -> None:
    """Train one run to its end, from where it stopped.

    A finished run is not trained again: its files are written from its last state, in seconds. To train it from the
    first step, delete its folder (structgan rm).

    On SIGTERM, SIGUSR1 and SIGINT it finishes the step, saves and exits with code 75; a second SIGINT ends it at once.
    A second process on the same run waits up to a minute for the first to end.
    """
    device = arguments.resolve_device(device)
    from structgan import train as training

    training.run(run, data, device, minutes)


@cli.command()
@RUN
@PROTOCOL
@click.option("--data", type=PATH, help="Prepared data set.  [default: where the run's config.json says]")
@RAW
@DEVICE
def evaluate(run: Path, protocol: Path, data: Path | None, raw: Path, device: str) -> None:
    """Measure a finished run: probes, FID and others, one protocol."""
    device = arguments.resolve_device(device)
    from structgan import evaluate as evaluation

    click.echo(evaluation.run(run, protocol, data, device, raw))


@cli.command()
@PLAN
@OUT
def table(plan: str, out: Path) -> None:
    """Write a suite's tables as csv, md and tex, and results.csv."""
    from structgan.report import tables

    with arguments.suite(plan) as suite:
        tables.write(suite, out)


@cli.command()
@PLAN
@OUT
def plot(plan: str, out: Path) -> None:
    """Draw a suite's figures: svg and png."""
    from structgan.report import figures

    with arguments.suite(plan) as suite:
        figures.write(suite, out)


@cli.command()
@PLAN
@click.option("--tables", required=True, type=PATH, help="Folder of the suite's tables.")
@click.option("--figures", required=True, type=PATH, help="Folder of the suite's figures.")
@OUT
def report(plan: str, tables: Path, figures: Path, out: Path) -> None:
    """Write the suite's self-contained HTML page."""
    from structgan.report import page

    with arguments.suite(plan) as suite:
        page.write(suite, tables, figures, out)


@cli.command()
@click.argument("plan", metavar="SUITE")
@click.option("--against", type=click.Choice(["reference"]), help="Also show the numbers in results/reference.")
def show(plan: str, against: str | None) -> None:
    """Print a suite's probes and generation metrics."""
    from structgan.report import tables

    with arguments.suite(plan) as suite:
        tables.show(suite, against is not None)


@cli.command()
@PLANS
@click.option("--all", "every", is_flag=True, help="Show each row of the grid, however many there are.")
@click.option("--why", is_flag=True, help="Also show why runs are planned: what differs from the nearest finished one.")
def status(plans: tuple[str, ...], every: bool, why: bool) -> None:
    """Show each suite's progress and cost, and what runs now."""
    from structgan import status as overview

    for file in arguments.plan_files(plans):
        click.echo(overview.screen(file, every, why))


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def watch(command: tuple[str, ...]) -> None:
    """Show each training as it runs; starts COMMAND if given."""
    from structgan import watch as watching

    sys.exit(watching.watch(command))


@cli.command()
@YES
def gc(yes: bool) -> None:
    """Delete runs outside all newest plans and tables, after asking."""
    from structgan import cleanup

    cleanup.confirm_and_delete(*cleanup.unplanned(), yes)


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@YES
def rm(runs: tuple[Path, ...], yes: bool) -> None:
    """Delete the folders of runs, after asking, to train them again."""
    from structgan import cleanup

    cleanup.confirm_and_delete(*cleanup.named(runs), yes)


@cli.command()
@PLANS
@click.option("--delete", is_flag=True, help="Delete what is damaged; the next snakemake makes it again.")
def verify(plans: tuple[str, ...], delete: bool) -> None:
    """Recompute all files' checksums; exit code 1 if one is wrong."""
    from structgan import verify as verifying

    wrong = [line for file in arguments.plan_files(plans) for line in verifying.suite(file, delete)]
    click.echo("\n".join(wrong), nl=bool(wrong))
    sys.exit(1 if wrong else 0)


@cli.command()
def methods() -> None:
    """List the methods, with their files and papers."""
    from structgan import listing

    click.echo("\n".join(listing.methods()))


@cli.command()
@click.argument("kind", type=click.Choice(["baseline", "evaluation", "dataset"]))
@click.argument("name")
@click.argument("path", required=False, type=PATH)
def new(kind: str, name: str, path: Path | None) -> None:
    """Write a small baseline, evaluation or data set that works.

    And workflow/config/NAME.yaml; for a data set that alone. PATH is a folder, a tar or a zip of class folders.
    """
    from structgan import new as writer

    click.echo(writer.new(kind, name, path))


@cli.command(cls=arguments.ConfigfileCommand)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@CONFIGFILES
@arguments.PROCESSES
def check(names: tuple[str, ...], files: tuple[str, ...], processes: int) -> None:
    """Check that methods keep the contract; exit code 1 if not.

    On tiny digits, in a temporary folder, on the CPU: settings, features, samples, learning, labels, random numbers,
    resuming, every augmentation and variant, and settings that are never read. By default the settings are those of
    demo.yaml, field.yaml and, if it exists, NAME.yaml of workflow/config.
    """
    from structgan import sources

    for name in names:
        sources.method_file(name)  # an unknown name ends the command before anything is trained
    from structgan import harness, testing

    sys.exit(1 if sum(harness.run_checks(testing.CHECKS, name, list(files), processes) for name in names) else 0)


def main() -> None:
    """Run the command line; an error that the user can fix, such as a file's rights, is one line and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character
    try:
        cli()
    except (UserError, OSError) as error:
        arguments.fail(error)
