"""One process that turns minutes of a GPU into figures: ``python -m benchmarks.gpu.short_run --data FILE --out DIR``.

In order, each part with an end of its own: (1) ceilings of the machine, and three small steps of every method with a
save and a reload, while a child process prepares the images; (2) step times, memory and longest kernels; (3) slices of
equal training seconds, round robin over five runs, a probe after each; (4) the official probes, FID and samples.

Everything is on the disk as soon as it is known: a kill at any moment leaves what ``benchmarks.gpu.absorb`` reads. An
error is recorded and the next part begins. After an error that leaves the GPU unusable the process starts itself again,
behind the part that failed; its age, and with it the deadline, stays.
"""

from __future__ import annotations

import faulthandler
import io
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from structgan.errors import UserError
from structgan.files import read_json, replacing, write_json

T = TypeVar("T")
PATH = click.Path(path_type=Path)
SAID = "prepare.log"


def age() -> float:
    """Seconds since this process started, with all that came before this line; 0 where the system does not say."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        found = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
    return found if 0 <= found < 3600 else 0.0


@dataclass(frozen=True)
class Options:
    """What was asked for; the command line says what each is. Times are seconds since the process started."""

    data: Path
    device: str
    deadline: float
    check_until: float
    speed_until: float
    last: float
    slice: float
    rounds: int | None
    batch: int
    speed_batch: tuple[int, ...]
    reference_batch: int
    image_size: int
    small: bool
    check: tuple[str, ...]


class Output:
    """The folder that is brought home, and the clock.

    Args:
        folder: where to write; at most 8 files.
        scratch: for files that nobody needs afterwards.
        options: as they were asked for.
        resume: go on with what an earlier start of this process wrote.

    Attributes:
        env: for env.json; ``done``, ``failed`` and ``not_reached`` say how each part ended.
        steps: for steps.json.
    """

    def __init__(self, folder: Path, scratch: Path, options: Options, resume: bool) -> None:
        self.begin = time.monotonic() - age()
        self.folder, self.scratch, self.options = folder, scratch, options
        folder.mkdir(parents=True, exist_ok=True)
        known = [folder / name for name in ("curve.jsonl", "steps.json", "env.json", "profile.txt", "results.tar")]
        if not resume and (old := [path for path in known if path.exists()]):
            raise UserError(f"{old[0]}: exists already; name a new folder with --out")
        self.env: dict[str, Any] = {"done": [], "failed": {}, "not_reached": [], "starts": 0}
        self.steps: dict[str, Any] = {"ceilings": {}, "checks": {}, "sides": []}
        self.members: dict[str, bytes] = {}
        if resume:
            self.env = read_json(folder / "env.json")
            self.steps = read_json(folder / "steps.json") if (folder / "steps.json").exists() else self.steps
            self.members = members(folder / "results.tar")
        self.env |= {"starts": self.env["starts"] + 1, "not_reached": []}
        self.log = (folder / "log.txt").open("a", encoding="utf-8")
        faulthandler.enable(self.log)

    def now(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self.begin

    def left(self, until: float | None = None) -> float:
        """Seconds until a time, or until the deadline."""
        return (self.options.deadline if until is None else until) - self.now()

    def append(self, name: str, text: str) -> None:
        """Add to a file and bring it to the disk."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def say(self, text: str) -> None:
        """A line of the log, with the time."""
        line = f"{self.now():6.1f} s  {text}\n"
        sys.stderr.write(line)
        self.append("log.txt", line)

    def save(self) -> None:
        """Write env.json and steps.json."""
        write_json(self.folder / "env.json", clean(self.env))
        write_json(self.folder / "steps.json", clean(self.steps))

    def keep(self, name: str, content: bytes) -> None:
        """Add a file to results.tar, which is written anew: it is whole at every moment."""
        self.members[name] = content
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for member, data in self.members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        self.replace("results.tar", stream.getvalue())

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def attempt(self, what: str, work: Callable[..., T], *arguments: Any, again: bool = False) -> T | None:
        """Do a part; where it fails, its traceback is in the log, its last line in env.json, and the result is None.

        A part that an earlier start of this process has done or failed at is passed over; ``again`` repeats a done one.
        """
        if what in self.env["failed"] or (what in self.env["done"] and not again):
            return None
        begin = self.now()
        try:
            found = work(*arguments)
        except Exception as error:
            self.env["failed"][what] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
            self.say(f"{what} failed\n{traceback.format_exc()}")
            found = None
        else:
            self.env["done"] += [what] * (what not in self.env["done"])
            self.say(f"{what}: {self.now() - begin:.1f} s")
        self.save()
        self.recover(what)
        return found

    def recover(self, what: str) -> None:
        """Free what a part left on the GPU; start again where that no longer answers, as after a failed assertion."""
        if self.options.device == "cpu":
            return
        import torch

        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            self.env["failed"].setdefault(what, "the GPU no longer answers")
            if self.env["starts"] > 5 or self.left() < 30:
                raise
            self.say(f"{what}: the GPU no longer answers; starting again behind it")
            self.save()
            arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
            os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu.short_run", *arguments, "--resume"])


def clean(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def members(path: Path) -> dict[str, bytes]:
    """The files in a tar by name; none where there is no tar."""
    if not path.exists():
        return {}
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def prepare(out: Output) -> tuple[Path, subprocess.Popen[bytes]]:
    """Start the child process that decodes the images, on a core of its own; the file, and the process."""
    options, target = out.options, out.scratch / "cifar10_jpeg.safetensors"
    block = {"name": "cifar10_jpeg", "note": "CIFAR-10 (JPEG)", "builder": "folder", "image_size": options.image_size}
    write_json(out.scratch / "data.json", {**block, "path": str(options.data.resolve())})
    arguments = ("prepare", "--settings", out.scratch / "data.json", "--out", target, "--raw", out.scratch)
    command = [sys.executable, "-m", "structgan", *map(str, arguments)]
    with (out.scratch / SAID).open("wb") as said:  # a pipe that nobody reads yet could fill up and stop the child
        return target, subprocess.Popen(command, stdout=said, stderr=said)


def wait_for(target: Path, child: subprocess.Popen[bytes], out: Output) -> Path:
    """The prepared file, once it is there.

    Raises:
        UserError: the child failed, with its reason, or the time is over.
    """
    try:
        child.wait(timeout=max(1.0, out.left() - out.options.last))
    except subprocess.TimeoutExpired as error:
        child.kill()
        raise UserError("the images were not prepared in time") from error
    if child.returncode:
        said = (out.scratch / SAID).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(said[-1] if said else f"the child ended with exit code {child.returncode}")
    return target


def go(out: Output) -> None:
    """All parts in their order."""
    target, child = prepare(out)  # before torch is imported, which takes seconds
    from structgan.arguments import resolve_device

    try:
        out.options = options = replace(out.options, device=resolve_device(out.options.device))
    except UserError:
        child.kill()
        raise
    from benchmarks.gpu import curves, measure
    from structgan import environment, precision, sources

    if options.device == "cpu":
        environment.keep_memory()
    precision.full_products()
    digests = {name: sources.run_digest(name) for name in dict(curves.ENTRIES)}
    out.env |= {"options": {**asdict(options), "data": options.data.name}, "seed": 0, "sources": digests}
    out.env |= environment.describe(options.device, curves.PRECISION) | {"commit": os.environ.get("COMMIT")}
    out.env["ready_after_s"] = round(out.now(), 1)
    out.save()
    plan = measure.Plan(options)
    measure.ceilings(out)
    measure.check_methods(out, plan)
    measure.speed(out, plan)
    data = out.attempt("images", wait_for, target, child, out, again=True)
    if data is not None:
        entries = out.attempt("curves", curves.race, out, plan, data, again=True)
        out.attempt("final measures", curves.finish, out, plan, data, entries or [])
    out.env["seconds"] = round(out.now(), 1)
    out.save()
    out.say(f"done; failed: {len(out.env['failed'])}, not reached: {len(out.env['not_reached'])}")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.option("--data", required=True, type=PATH, help="Archive or folder of train/<class>/ and test/<class>/.")
@click.option("--out", envvar="OUT", required=True, type=PATH, help="Folder for what is brought home [or $OUT].")
@click.option(
    "--wheels", type=PATH, help="Folder of pure-Python wheels that this machine lacks (lightly, torch-fidelity)."
)
@click.option("--device", default="cuda", type=click.Choice(["cuda", "cpu"]), help="cpu is for rehearsals.")
@click.option("--deadline", default=570.0, type=click.FloatRange(5), help="Seconds from the start of the process.")
@click.option("--check-until", default=45.0, help="No method's check begins later, in seconds from the start.")
@click.option("--speed-until", default=100.0, help="No step time is measured later.")
@click.option("--last", default=70.0, help="Seconds before the deadline that belong to probes and FID.")
@click.option("--slice", default=15.0, type=click.FloatRange(0.05), help="Seconds of training between two probes.")
@click.option(
    "--rounds", type=click.IntRange(1), help="Slices of each run at most [default: as many as there is time for]."
)
@click.option("--batch", default=512, type=click.IntRange(2), help="Images a step of the five runs.")
@click.option("--speed-batch", default=(512, 64), multiple=True, type=click.IntRange(2), help="Of step times.")
@click.option("--reference-batch", default=128, type=click.IntRange(2), help="The reference's, which keeps far more.")
@click.option("--image-size", default=32, type=click.IntRange(8), help="Pixels of the images in the archive.")
@click.option("--small", is_flag=True, help="Tiny networks and evaluations: a rehearsal on a CPU.")
@click.option("--check", multiple=True, help="Methods to check [default: all].")
@click.option("--resume", is_flag=True, hidden=True)
def cli(out: Path, wheels: Path | None, resume: bool, **asked: Any) -> None:
    """Ceilings, step times, curves of equal compute and final probes of this machine's GPU, until the deadline."""
    if not asked["data"].exists():
        raise UserError(f"{asked['data']}: no such file; --data names an archive of train/<class>/ and test/<class>/")
    found = sorted(wheels.glob("*.whl")) if wheels else []
    if wheels and not found:
        raise UserError(f"{wheels}: no wheels (*.whl) in it")
    sys.path.extend(str(path.resolve()) for path in found)  # Python imports from them as they are
    with tempfile.TemporaryDirectory(prefix="short_run") as scratch:
        go(Output(out, Path(scratch), Options(**asked), resume))


def main() -> None:
    """Run the command line; an error that the user can fix is one line and exit code 2."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"short_run: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
