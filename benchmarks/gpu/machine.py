"""What happens on the machine with the GPU: data, warm restart, minutes of training, evaluation, files to take home.

Everything is done by the suite's own verbs, each in a process of its own, so that a training here is one like any
other: it is stopped as by a preemption and goes on from its state file. What is evaluated is a snapshot, a folder as if
the run were finished at the step that it has reached; the run's own folder holds outputs only where it is finished.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu import pieces, warm
from benchmarks.gpu.entries import SMALL, WARM, Entry
from structgan import environment, sources, train
from structgan.errors import UserError
from structgan.files import read_json, write_json
from structgan.identity import standing
from structgan.training import checkpoint
from structgan.training.preempt import EXIT_CODE

NEEDS = {"probe": "sklearn", "fidelity": "torch_fidelity"}
"""What each evaluation imports that a machine made for training may not have."""


def use_wheels(folder: Path) -> None:
    """Put pure-Python wheels, which Python imports from as they are, on the path of this process and its children."""
    wheels = [str(path.resolve()) for path in sorted(folder.glob("*.whl"))]
    sys.path.extend(wheels)
    here = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([part for part in (str(sources.ROOT), here, *wheels) if part])


def verb(log: Path, *arguments: object, allowed: tuple[int, ...] = (0,)) -> int:
    """Run one verb of the suite's command line, its output in a log, and return its exit code.

    Raises:
        UserError: another exit code than the allowed ones; the last line of the log is its reason.
    """
    print(f"structgan {arguments[0]} …", file=sys.stderr, flush=True)
    with log.open("ab") as file:
        code = subprocess.run(
            [sys.executable, "-m", "structgan", *map(str, arguments)], stdout=file, stderr=file
        ).returncode
    if code not in allowed:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no word")
        raise UserError(
            f"{log}: structgan {arguments[0]} ended with exit code {code}: {last.removeprefix('structgan: ')}"
        )
    return code


def prepare(entry: Entry, log: Path) -> None:
    """Prepare the data set where it is missing or was prepared otherwise than planned."""
    settings = entry.data.with_suffix(".json")
    if standing.header(entry.data).get("identity") != sources.fingerprint(read_json(settings)):
        verb(log, "prepare", "--settings", settings, "--out", entry.data)


def resume(entry: Entry, other: bool) -> int:
    """Bring the run to where its training goes on from: its own state file, or the warm one where that is further.

    ``other`` allows a warm state that was trained under other settings or sources.

    Returns:
        the step.

    Raises:
        UserError: the warm state is damaged, or does not fit.
    """
    job = train.Run(entry.run, entry.data, "cpu")
    state = job.states.find()
    step = state["loop"]["step"] if state else 0
    if entry.warm.exists() and (found := warm.read(entry.warm)).step > step:
        warm.restart(job, found, other)
        return found.step
    return int(step)


def snapshot(entry: Entry, to: Path) -> dict[str, Any] | None:
    """Publish the run as it stands in another folder, and return its state; None for a run of no steps.

    Raises:
        UserError: there is no state, although the run has steps to do.
    """
    job = train.Run(entry.run, entry.data, "cpu")
    state = job.states.find()
    if state is None and job.training["steps"]:
        raise UserError(f"{entry.run}: no step was done yet, so that there is nothing to show; give it more minutes")
    if state is not None:
        loop = checkpoint.apply(state, job.method)
        job.step, job.seconds = loop["step"], loop["seconds"]
        job.history.restore(loop["history"], "cpu")
        job.environment.resume(loop["submissions"], job.step, job.seconds)
    job.folder = to
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / "config.json", job.config)
    job.publish()
    if state is not None:
        warm.write(to / WARM, state, job.method, job.config)
    write_json(to / "campaign.json", summary(entry, job))
    return state


def summary(entry: Entry, job: train.Run) -> dict[str, Any]:
    """What the campaign's table says of a run besides its metrics, for campaign.json."""
    env = read_json(job.folder / "env.json")
    own = {key: value for key, value in standing.optional(Path("pack.json")).items() if key in ("commit", "dirty")}
    restarts = [entry["warm_restart"] for entry in env["submissions"] if "warm_restart" in entry]
    gpu_seconds = sum(
        entry["seconds"] * entry["processes"] for entry in env["submissions"] if entry["device"].startswith("cuda")
    )
    return {
        "entry": entry.name,
        "suite": entry.suite,
        "identity": job.config["identity"],
        "steps": job.step,
        "planned_steps": job.training["steps"],
        "images": env["images"],
        "epochs": env["images"] / len(job.dataset.training_images),
        "gpu_minutes": gpu_seconds / 60,
        "images_per_second": env["images_per_second"],
        "precision": job.training.get("precision") or env["precision"]["dtype"],
        "device": env["hardware"]["gpu"] or "cpu",
        "restarts": restarts,
        **(own or environment.git()),
        "left_out": {},
    }


def evaluate(entry: Entry, shown: Path, device: str) -> dict[str, str]:
    """Probe the snapshot and, where it generates, measure its samples; what is left out is said, and why.

    Returns:
        reason by kind of evaluation, empty where all was done.
    """
    log, left_out = shown / "evaluation.log", {}
    generates = sources.traits(entry.cell["method"])["samples"]
    common = ("--data", entry.data, "--device", device)
    for kind in ("probe", "fidelity") if generates else ("probe",):
        if importlib.util.find_spec(NEEDS[kind]) is None:
            left_out[kind] = (
                f"{NEEDS[kind]} is not installed; pack it with --wheels, or: train {entry.name} --minutes 0"
            )
            continue
        options: tuple[object, ...] = ("--run", shown, "--protocol", entry.protocol(kind), *common)
        try:
            if kind == "fidelity":
                if not entry.extractor.exists():
                    protocol = entry.protocol("extractor")
                    verb(log, "extractor", "--protocol", protocol, "--out", entry.extractor, *common)
                options += ("--extractor", entry.extractor)
            verb(log, kind, *options)
        except UserError as error:
            left_out[kind] = str(error)
    for kind, reason in left_out.items():
        print(f"{kind} left out: {reason}", file=sys.stderr)
    return left_out


def go(entry: Entry, minutes: float, out: Path, device: str, other: bool = False) -> dict[str, Any]:
    """Train an entry for some minutes and write what is to be taken home into ``out``.

    The state is written before the evaluation begins, and where training failed: whatever happens, what was trained is
    not lost.

    Args:
        entry: planned in the working folder.
        minutes: of training; 0 evaluates the run as it stands.
        out: gets the bundles "state" (to go on from) and "results" (small files).
        device: cpu or cuda.
        other: go on from a warm state that was trained under other settings or sources.

    Returns:
        the content of campaign.json.

    Raises:
        UserError: training failed, or what was packed is damaged or does not fit.
    """
    entry.run.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    log, shown = entry.run / "train.log", entry.run / "snapshot"
    prepare(entry, log)
    step, planned = resume(entry, other), entry.cell["steps"]
    print(f"{entry.name}: at step {step} of {planned}", file=sys.stderr, flush=True)
    failure: UserError | None = None
    if minutes and step < planned:
        options = ("--run", entry.run, "--data", entry.data, "--device", device, "--minutes", minutes)
        try:
            verb(log, "train", *options, allowed=(0, EXIT_CODE))
        except UserError as error:
            if not (entry.run / checkpoint.NEWEST).exists():
                raise
            failure = error
    for name in SMALL:
        (shown / name).unlink(missing_ok=True)
    state = snapshot(entry, shown)
    about = read_json(shown / "campaign.json")
    if state is not None:
        pieces.write(out, "state", [shown / WARM], about)
    take_home(entry, shown, out, about)
    if failure:
        raise failure
    about = {**about, "left_out": evaluate(entry, shown, device)}
    write_json(shown / "campaign.json", about)
    take_home(entry, shown, out, about)
    return about


def take_home(entry: Entry, shown: Path, out: Path, about: dict[str, Any]) -> None:
    """Write the bundle of small files, and of the extractor where there is one."""
    small = [shown / name for name in SMALL if (shown / name).exists()]
    extra = [entry.extractor] if entry.extractor.exists() else []
    pieces.write(out, "results", [*small, *extra], about)
