"""Minutes of a GPU, turned into figures: ``python -m benchmarks.gpu.short_run --data FILE --out DIR``.

In order: (1) the machine's ceilings, and three small steps of every method with a save and a reload, while a child
process prepares the images; (2) step times, memory and longest kernels; (3) slices of equal training time, round robin
over five runs, with a probe after each; (4) the official probes, FID and samples.

Each result is on the disk as soon as it is known, so that a kill at any moment leaves files that
``benchmarks.gpu.absorb`` can read. A part that fails is recorded, and the next one begins.
"""

import math
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.output import CURVES_END, REHEARSAL, Options, Output
from structgan.arguments import resolve_device
from structgan.errors import UserError
from structgan.files import write_json

PATH = click.Path(path_type=Path)


def prepare(out: Output) -> tuple[Path, subprocess.Popen[bytes]]:
    """Start the child process that decodes the images; the file that it will write, and the process."""
    settings, target = out.scratch / "data.json", out.scratch / "images.safetensors"
    block = {"name": "cifar10_jpeg", "note": "CIFAR-10 (JPEG)", "builder": "folder"}
    size = {"image_size": out.options.image_size, "resize": out.options.small}
    write_json(settings, {**block, **size, "path": str(out.options.data.resolve())})
    command = [sys.executable, "-m", "structgan", "prepare", "--settings", str(settings), "--out", str(target)]
    with (out.scratch / "prepare.log").open("wb") as log:
        return target, subprocess.Popen([*command, "--raw", str(out.scratch)], stdout=log, stderr=log)


def wait_for(target: Path, child: subprocess.Popen[bytes], out: Output) -> Path:
    """The prepared file, once it is there.

    Raises:
        UserError: the child failed, for the reason that is quoted.
        TimeoutExpired: there is no time left for curves.
    """
    try:
        child.wait(timeout=max(1.0, out.left(CURVES_END)))
    finally:
        child.kill()
    if child.returncode:
        said = (out.scratch / "prepare.log").read_text(encoding="utf-8", errors="replace").strip()
        raise UserError(said.rpartition("\n")[2] or f"the child ended with exit code {child.returncode}")
    return target


def go(out: Output) -> None:
    """All parts in their order."""
    options = out.options
    target, child = prepare(out)
    from benchmarks.gpu import curves, measure
    from structgan import environment, sources

    if options.device == "cpu":
        environment.keep_memory()
    out.found |= {"options": {**asdict(options), "data": options.data.name}, "commit": os.environ.get("COMMIT")}
    out.found["sources"] = {name: sources.run_digest(name) for name, _ in curves.ENTRIES}
    out.found["environment"] = environment.describe(options.device, options.precision)
    out.save()
    plan = measure.Plan(options)
    measure.ceilings(out)
    measure.check_methods(out, plan)
    measure.speed(out, plan)
    data = out.attempt("images", math.inf, wait_for, target, child, out)
    if data is not None:
        entries = out.attempt("curves", CURVES_END, curves.race, out, plan, data)
        out.attempt("final measures", 1.0, curves.finish, out, plan, data, entries or [])
    out.save()
    out.say(f"done; failed: {len(out.found['failed'])}, not reached: {len(out.found['not_reached'])}")


@click.command(
    "short_run",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
)
@click.option("--data", required=True, type=PATH, help="Archive or folder of train/<class>/ and test/<class>/.")
@click.option("--out", envvar="OUT", required=True, type=PATH, help="A new folder for the results [or $OUT].")
@click.option("--wheels", type=PATH, help="Folder of pure-Python wheels that this machine lacks.")
@click.option("--device", default="cuda", type=click.Choice(["cuda", "cpu"]), help="cpu is for rehearsals.")
@click.option("--deadline", default=570.0, type=click.FloatRange(5), help="Seconds from the start.")
@click.option("--small", is_flag=True, help="Tiny networks, two short rounds: a rehearsal on a CPU.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the rival's step, which takes minutes.")
@click.option("--check", multiple=True, help="Methods to check [default: all].")
def cli(out: Path, wheels: Path | None, **asked: Any) -> None:
    """Ceilings, step times, curves of equal compute and final probes of this machine's GPU, until the deadline."""
    if not asked["data"].exists():
        raise UserError(f"{asked['data']}: no such file; --data names an archive of train/<class>/ and test/<class>/")
    found = sorted(wheels.glob("*.whl")) if wheels else []
    if wheels and not found:
        raise UserError(f"{wheels}: no wheels (*.whl) in it")
    sys.path.extend(str(path.resolve()) for path in found)  # Python imports from them as they are
    resolve_device(asked["device"])
    with tempfile.TemporaryDirectory(prefix="short_run") as scratch:
        go(Output(out, Path(scratch), Options(**asked, **(REHEARSAL if asked["small"] else {}))))


def main(command: click.Command = cli) -> None:
    """Run the command line; an error that the user can fix is one line and exit code 2."""
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"{command.name}: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
