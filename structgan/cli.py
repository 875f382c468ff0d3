"""The command line: thin verbs, one per rule of the DAG and named like them; heavy imports wait for their verb."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from structgan import __version__
from structgan.arguments import DATA, DEVICE, OUT, PATH, PLAN, PROTOCOL, RAW, RUN, STALE, resolve_device
from structgan.errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Reproducibility benchmark of structural adversarial objectives for representation learning."""


@cli.command()
@click.option("--configfile", "files", multiple=True, type=str, help="Laid on top of workflow/config/config.yaml.")
def configure(files: tuple[str, ...]) -> None:
    """Write the plan of a suite: plan.json, the protocols and each run's config.json."""
    from structgan import config, plan

    made = plan.write(config.load(files), [str(config.BASE), *files])
    click.echo(f"results/runs/{made['suite']}/plan.json: {len(made['cells'])} runs")


@cli.command()
@click.option("--settings", required=True, type=PATH, help="The data set's settings (data/prepared/NAME.json).")
@RAW
@OUT
def prepare(settings: Path, raw: Path, out: Path) -> None:
    """Prepare a data set once, as one memory-mappable file."""
    from structgan import datasets
    from structgan.files import read_json

    summary = datasets.prepare(read_json(settings), out, raw)
    click.echo(f"{out}: " + ", ".join(f"{key} {value}" for key, value in summary.items()))


@cli.command()
@DATA
@PROTOCOL
@OUT
@DEVICE
def extractor(data: Path, protocol: Path, out: Path, device: str) -> None:
    """Train the embedded feature extractor of the generation metrics on a data set's labels."""
    from structgan.metrics import extractor as extractors

    extractors.train(data, protocol, out, resolve_device(device))


@cli.command()
@RUN
@DATA
@DEVICE
@click.option(
    "--fresh", is_flag=True, envvar="STRUCTGAN_FRESH", help="Train a finished run again [or: STRUCTGAN_FRESH=1]."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Train for so long, then stop as if preempted."
)
def train(run: Path, data: Path, device: str, fresh: bool, minutes: float | None) -> None:
    """Train one run to its end, going on where it stopped.

    A finished run of the same identity is not trained but published again, in seconds, whatever triggered it; --fresh
    trains it from the first step. Through Snakemake: STRUCTGAN_FRESH=1 snakemake --forcerun train train_generative. An
    unfinished run goes on either way, so that retries get further.

    SIGTERM, SIGUSR1 and SIGINT finish the step, save and end with exit code 75; a second SIGINT ends at once. A second
    process on the same run waits up to a minute for the first to end.
    """
    device = resolve_device(device)
    from structgan import train as training

    training.run(run, data, device, fresh, minutes)


@cli.command()
@RUN
@DATA
@PROTOCOL
@DEVICE
def probe(run: Path, data: Path, protocol: Path, device: str) -> None:
    """Read a run's frozen features: linear probe, SVM, k-means, kNN, few labels, 2-D map."""
    from structgan.metrics import probe as probes

    probes.run(run, data, protocol, resolve_device(device))


@cli.command()
@RUN
@DATA
@PROTOCOL
@click.option("--extractor", type=PATH, default=None, help="Embedded extractor, where the protocol asks for it.")
@DEVICE
def fidelity(run: Path, data: Path, protocol: Path, extractor: Path | None, device: str) -> None:
    """Measure a run's generated images: FID, IS, KID, precision and recall; write a grid of samples."""
    from structgan.metrics import fidelity as fidelities

    fidelities.run(run, data, protocol, extractor, resolve_device(device))


@cli.command()
@RUN
@DATA
@PROTOCOL
@RAW
@DEVICE
def dense(run: Path, data: Path, protocol: Path, raw: Path, device: str) -> None:
    """Fit linear heads to a run's frozen maps: segmentation and detection."""
    from structgan.metrics import dense as maps

    maps.run(run, data, protocol, raw, resolve_device(device))


@cli.command()
@RUN
@DATA
@click.option("--target", "targets", multiple=True, required=True, type=PATH, help="Prepared data set to transfer to.")
@PROTOCOL
@DEVICE
def transfer(run: Path, data: Path, targets: tuple[Path, ...], protocol: Path, device: str) -> None:
    """Probe a run's frozen encoder on other data sets than its own."""
    from structgan.metrics import transfer as transfers

    transfers.run(run, data, targets, protocol, resolve_device(device))


@cli.command()
@PLAN
@OUT
@STALE
def table(plan: Path, out: Path, include_stale: bool) -> None:
    """Aggregate a suite's runs into tables: csv, md and tex."""
    from structgan.report import tables

    tables.write(plan, out, include_stale=include_stale)


@cli.command()
@PLAN
@OUT
@STALE
def plot(plan: Path, out: Path, include_stale: bool) -> None:
    """Draw a suite's figures: svg and png."""
    from structgan.report import figures

    figures.write(plan, out, include_stale)


@cli.command()
@PLAN
@click.option("--tables", required=True, type=PATH, help="Folder of the suite's tables.")
@click.option("--figures", required=True, type=PATH, help="Folder of the suite's figures.")
@OUT
@STALE
def report(plan: Path, tables: Path, figures: Path, out: Path, include_stale: bool) -> None:
    """Write the suite's self-contained HTML page."""
    from structgan.report import page

    page.write(plan, tables, figures, out, include_stale)


@cli.command()
@PLAN
@click.option("--tables", required=True, type=PATH, help="Folder of the suite's tables.")
def show(plan: Path, tables: Path) -> None:
    """Print a suite's tables in the terminal."""
    from structgan.report.tables import print_summary

    print_summary(plan, tables)


@cli.command()
@click.option("--plan", "plans", multiple=True, type=PATH, help="A suite's plan.json; by default every suite found.")
@click.option("--all", "every", is_flag=True, help="Show each row of the grid, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a suite and line, for machines.")
def status(plans: tuple[Path, ...], every: bool, as_json: bool) -> None:
    """Show how the runs of each suite stand, what runs and for how long, and what it costs."""
    import json

    from structgan.overview import status as overview

    for plan in plans or overview.suites():
        found = overview.gather(plan)
        click.echo(json.dumps(found.as_json()) if as_json else "\n".join([*overview.lines(found, every), ""]))


@cli.command()
@click.option("--yes", is_flag=True, help="Delete without asking.")
def gc(yes: bool) -> None:
    """Delete runs that no plan names, or whose results are of another identity than planned; asks first."""
    from structgan.overview import collect

    found, used = collect.find()
    for line in collect.lines(found, used):
        click.echo(line)
    if found and not yes:
        if not sys.stdin.isatty():
            raise UserError("gc: no terminal to ask on; nothing was deleted, --yes deletes without asking")
        click.confirm(f"Delete {len(found)} runs?", abort=True)
    if found:
        click.echo(f"{collect.delete(found)} runs deleted")


@cli.command()
@click.option("--plan", "plans", multiple=True, type=PATH, help="A suite's plan.json; by default every suite found.")
def verify(plans: tuple[Path, ...]) -> None:
    """Recompute the checksums of data, runs and tables; set file times so that what is sound is not made again."""
    from structgan.identity import verify as verifying
    from structgan.overview import status

    wrong = [line for plan in plans or status.suites() for line in verifying.suite(plan)]
    for line in wrong:
        click.echo(line)
    sys.exit(1 if wrong else 0)


@cli.command()
def methods() -> None:
    """List the methods that were found, without importing them."""
    from structgan import sources

    for name, path in sources.methods().items():
        marks = [key.replace("_", " ") for key, value in sources.traits(name).items() if value]
        click.echo(f"{name:16} {path.relative_to(sources.ROOT)}  {', '.join(marks)}".rstrip())


@cli.group()
def new() -> None:
    """Write the files of something new."""


@new.command()
@click.argument("name")
def baseline(name: str) -> None:
    """Write baselines/NAME.py, a small working method, and workflow/config/NAME.yaml, its settings."""
    from structgan import new as writer

    click.echo(writer.baseline(name))


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--configfile",
    "files",
    multiple=True,
    help="Laid on top of workflow/config/config.yaml, and each on those before it. [default: demo.yaml, field.yaml"
    " and, if it exists, NAME.yaml of workflow/config]",
)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 8), help="Also compare runs on so many."
)
def check(names: tuple[str, ...], files: tuple[str, ...], processes: int) -> None:
    """Check that methods keep the contract, and say what is wrong; exit code 1 if anything is.

    On tiny digits, in a temporary folder, on the CPU: settings, features, samples, learning, labels, random numbers,
    resuming, and every augmentation and variant.
    """
    from structgan import sources

    for name in names:
        sources.method_file(name)  # an unknown name ends the command before anything is trained
    from structgan import testing

    sys.exit(1 if sum(testing.report(name, list(files), processes) for name in names) else 0)


def main() -> None:
    """Run the command line; what a user can mend is one line and exit code 2.

    Where torchrun started several processes, the lines of all but the first say so: mostly they repeat its line.
    """
    try:
        cli()
    except UserError as error:
        process = int(os.environ.get("RANK", "0"))
        click.echo(f"structgan{f' process {process}' if process else ''}: {error}", err=True)
        sys.exit(2)
