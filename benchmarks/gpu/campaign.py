"""The real CIFAR-10 campaign for short GPU allocations: ``python -m benchmarks.gpu.campaign list``, then README.md.

``pack`` and ``absorb`` run where the repository is, ``train`` where the GPU is: in a packed folder or the repository.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.gpu import entries
from structgan import sources
from structgan.errors import UserError
from structgan.files import read_json, write_json

PATH = click.Path(path_type=Path)
OVERLAYS = click.option(
    "--configfile", "overlays", multiple=True, help="Laid on top of workflow/config/cifar10-campaign.yaml."
)
OTHER = click.option(
    "--from-other", "other", is_flag=True, help="Go on from a state of other settings or sources; it is recorded."
)
CODE = ("structgan", "baselines", "benchmarks")
LIMIT, STATE_LIMIT = 60 * 2**20, 40 * 2**20
"""Bytes of a packed folder, and of one state to go on from."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Train the entries of cifar10-campaign.yaml on a GPU that is at hand for minutes at a time."""


@cli.command("list")
@OVERLAYS
def show(overlays: tuple[str, ...]) -> None:
    """List the entries in order of worth, and how far each is."""
    for name, entry in entries.load(overlays).items():
        about = entries.standing(entry)
        words = "not begun"
        if about:
            done = about["steps"] == entry.cell["steps"]
            words = f"{about['steps']:,} of {entry.cell['steps']:,} steps, {about['gpu_minutes']:.1f} GPU-minutes"
            words += (
                "; finished"
                if done
                else "; goes on"
                if entry.warm.exists()
                else "; its state is not here: it would begin again"
            )
            words += "".join(f"; no {kind}" for kind in about["left_out"])
        click.echo(f"{name:28} {words}")


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="ENTRY...")
@click.option("--to", required=True, type=PATH, help="Folder to make; it must not exist yet.")
@click.option("--data", type=PATH, help="The raw data, where it is not at the place that the configuration names.")
@click.option("--wheels", type=PATH, help="Folder of pure-Python wheels to take along (lightly, torch-fidelity).")
@OTHER
@OVERLAYS
def pack(
    names: tuple[str, ...], to: Path, data: Path | None, wheels: Path | None, other: bool, overlays: tuple[str, ...]
) -> None:
    """Make a folder that holds all that the machine with the GPU needs to train these entries."""
    from structgan import environment

    if to.exists():
        raise UserError(f"{to}: exists already; name a folder that does not")
    known = entries.write(overlays)
    chosen = [entries.pick(known, name) for name in names]
    copies: dict[Path, Path] = {}
    for entry in chosen:
        settings = entry.data.with_suffix(".json")
        raw = Path(read_json(settings).get("path", ""))
        if raw == Path():
            raise UserError(
                f"{entry.cell['dataset']}: has no 'path'; only a data set of builder 'folder' can be packed"
            )
        if not (data or raw).exists():
            raise UserError(f"{data or raw}: no such file; put the raw data there, or name it with --data")
        planned = [entry.run / "config.json", entries.RUNS / entry.suite / "plan.json", settings]
        planned += [entry.protocol(kind) for kind in ("probe", "fidelity", "extractor")]
        copies |= {path: path for path in planned} | {raw: data or raw}
        copies |= {path: path for path in (entry.warm, entry.extractor) if path.exists()}
        if entry.warm.exists():
            from benchmarks.gpu import warm

            if (size := entry.warm.stat().st_size) > STATE_LIMIT:
                raise UserError(
                    f"{entry.warm}: {size / 2**20:.1f} MiB, over {STATE_LIMIT // 2**20}: too large to be carried"
                )
            warm.check(entry.warm, read_json(entry.run / "config.json"), warm.read(entry.warm), other)
    if wheels:
        found = sorted(wheels.glob("*.whl"))
        if not found:
            raise UserError(f"{wheels}: no wheels (*.whl) in it")
        copies |= {Path("wheels") / path.name: path for path in found}
    with tempfile.TemporaryDirectory(prefix="pack", dir=to.absolute().parent) as scratch:
        root = Path(scratch) / to.name
        for name in CODE:
            skip = shutil.ignore_patterns("__pycache__", "results", "*.safetensors")
            shutil.copytree(sources.ROOT / name, root / name, ignore=skip)
        for target, source in copies.items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, root / target)
        about = {"suite": chosen[0].suite, "entries": list(names), "from_other": other, **environment.git()}
        write_json(root / "pack.json", about)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        if size > LIMIT:
            raise UserError(f"{to}: would be {size / 2**20:.1f} MiB, over {LIMIT // 2**20}; pack fewer entries")
        root.rename(to)
    click.echo(f"{to}: {size / 2**20:.1f} MiB; there: python3 -m benchmarks.gpu.campaign train {names[0]} --out FOLDER")


@cli.command()
@click.argument("name", metavar="ENTRY")
@click.option("--minutes", default=7.0, show_default=True, type=click.FloatRange(0), help="Of training; 0: evaluate.")
@click.option("--out", required=True, type=PATH, help="Gets what is to be taken home.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@OTHER
@OVERLAYS
def train(name: str, minutes: float, out: Path, device: str, other: bool, overlays: tuple[str, ...]) -> None:
    """Train an entry for some minutes from where it stands, evaluate it, and write what is to be taken home."""
    from benchmarks.gpu import machine
    from structgan.arguments import resolve_device

    machine.use_wheels(Path("wheels"))
    if Path("pack.json").exists():
        packed = read_json("pack.json")
        known, other = entries.packed(packed["suite"]), other or packed["from_other"]
        known = {name: entry for name, entry in known.items() if name in packed["entries"]}
    else:
        known = entries.write(overlays)
    about = machine.go(entries.pick(known, name), minutes, out, resolve_device(device), other)
    rate = about["images_per_second"]
    words = f"{about['steps']:,} of {about['planned_steps']:,} steps, {about['epochs']:.2f} epochs"
    click.echo(f"{name}: {words}" + (f", {rate:,.0f} images/s" if rate else "") + f", {about['precision']}; {out}")


@cli.command()
@click.argument("folder", type=PATH)
@OVERLAYS
def absorb(folder: Path, overlays: tuple[str, ...]) -> None:
    """Verify what a training wrote and put it where the next one, and the suite, look for it."""
    from benchmarks.gpu import pieces
    from structgan.identity import seal

    known = entries.write(overlays)
    with tempfile.TemporaryDirectory(prefix="absorb") as scratch:
        taken = Path(scratch)
        about = pieces.read(folder, "results", taken)
        entry = entries.pick(known, about["entry"])
        if (folder / "state.json").exists():
            pieces.read(folder, "state", taken)
        for name in entries.SMALL:
            (entry.results / name).unlink(missing_ok=True)
            if (taken / name).exists():
                entry.results.mkdir(parents=True, exist_ok=True)
                shutil.copy(taken / name, entry.results)
        entry.run.mkdir(parents=True, exist_ok=True)
        if (taken / entries.WARM).exists():
            shutil.copy(taken / entries.WARM, entry.run)
        if (taken / entry.extractor.name).exists() and not entry.extractor.exists():
            shutil.copy(taken / entry.extractor.name, entry.extractor)
        finished = about["steps"] == about["planned_steps"] and about["identity"] == entry.cell["identity"]
        for name in seal.RESULTS if finished else ():
            if (taken / name).exists():
                shutil.copy(taken / name, entry.run)
    click.echo(f"{entry.results}: step {about['steps']:,}" + (f"; finished, also in {entry.run}" if finished else ""))


@cli.command()
@OVERLAYS
def table(overlays: tuple[str, ...]) -> None:
    """Write table.md and table.csv of what was absorbed: epochs, images, GPU-minutes, precision, scores."""
    from benchmarks.gpu import table as tables

    path = tables.write(entries.load(overlays).values())
    click.echo(path.read_text(encoding="utf-8") + str(path))


def main() -> None:
    """Run the command line; what a user can mend is one line and exit code 2."""
    try:
        cli()
    except UserError as error:
        click.echo(f"campaign: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
