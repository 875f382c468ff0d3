"""A suite with every file that its jobs would leave, sealed as they seal them; its numbers mean nothing."""

import json
import os
import time
from pathlib import Path

import torch

from structgan import evaluation, files, plan, provenance, sources

DEMO = sources.ROOT / "workflow/config/demo.yaml"
MAIN = "encoder.safetensors"


def complete(root: Path, made: dict) -> None:
    """Fill the folders that a plan names, but for its report; the prepared data's content hash is ``aa``."""
    extractor = made["evaluations"]["fidelity"]["settings"]["extractor"]
    planned = provenance.protocol("extractor", {"extractor": extractor})
    for entry in made["runs"]:
        data = root / entry["data"]
        settings = files.read_json(data.with_suffix(".json"))
        tensor(data, {"content_hash": "aa", "identity": settings["identity"]})
        tensor(root / provenance.extractor_path(entry["dataset"], settings["identity"], planned), {})
        train(root / entry["run"], entry)
        evaluate(root / entry["run"], entry, made)


def demo(config: dict, root: Path) -> dict:
    """The demo planned and complete in the working directory, which is ``root``; its plan."""
    made = plan.Plan(config, [str(DEMO)]).write()
    complete(root, made)
    return made


def tensor(path: Path, metadata: dict) -> None:
    files.save_tensors(path, {"x": torch.zeros(1)}, metadata)


def train(run: Path, entry: dict, seconds: float = 60.0) -> None:
    """What training leaves in a run's folder."""
    names = [MAIN, *["generator.safetensors"] * sources.capabilities(entry["method"])["samples"]]
    for name in names:
        tensor(run / name, {"identity": entry["identity"]})
    files.write_json(run / "history.json", {"records": []})
    env = {"identity": entry["identity"], "dataset": {"name": entry["dataset"], "content_hash": "aa"}}
    env |= {"seconds": seconds, "steps": entry["steps"], "device": "cpu"}
    if "upstream" in entry:
        env["upstream"] = {**entry["upstream"], "files": {}}
    provenance.write_sealed(run / "env.json", env, [run / "history.json", *(run / name for name in names)])


def evaluate(run: Path, entry: dict, made: dict) -> None:
    """What the evaluations leave in a run's folder."""
    for name, file in entry["evaluations"].items():
        record = {"identity": entry["identity"], "evaluation": provenance.mark(made["evaluations"][name])}
        beside = [run / f"{Path(each).stem}-{file.split('-')[1].split('.')[0]}{Path(each).suffix}"
                  for each in evaluation.found()[name].files]  # fmt: skip
        for path in beside:
            path.write_text("{}")
        record |= {"dataset": {"name": entry["dataset"], "content_hash": "aa"}, "metrics": {}, "protocol": {}}
        provenance.write_sealed(run / file, record, beside, [run / MAIN])


def progress(run: Path, entry: dict, **changes: object) -> None:
    """A progress.json as a training process writes it, of this very process."""
    now = time.time()
    told = {
        "identity": entry["identity"], "state": "running", "step": entry["steps"] // 2, "steps": entry["steps"],
        "steps_per_second": 2.0, "seconds": 1800.0, "started": now - 1800, "updated": now, "host": os.uname().nodename,
        "pid": os.getpid(), "job": None, "device": "cuda", "gpus": 2, "reason": None,
    }  # fmt: skip
    run.mkdir(parents=True, exist_ok=True)
    (run / "progress.json").write_text(json.dumps({**told, **changes}))
