"""A suite with every file that its jobs would leave, each as its identity, protocol and sources ask for."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import torch

from structgan import files, plan, sources

DEMO = sources.ROOT / "workflow/config/demo.yaml"

TABLES = "representation release few_labels generation generation_more augmentation ablation"
BESIDE = "statistics comparisons verdicts cost"
REPORT = {
    "tables": (*TABLES.split(), *BESIDE.split()),
    "figures": ("augmentation", "ablation", "training", "samples", "features"),
}


def complete(root: Path, plan: dict) -> None:
    """Fill the folders of a plan; the prepared data's content hash is ``aa``."""
    for name in plan["datasets"]:
        settings = files.read_json(root / f"data/prepared/{name}.json")
        data = {"content_hash": "aa", "identity": sources.fingerprint(settings)}
        tensor(root / f"data/prepared/{name}.safetensors", data)
        extractor = root / "results/runs" / plan["suite"] / name / "extractor.safetensors"
        tensor(extractor, {"content_hash": "aa", **plan["evaluation"]["extractor"]})
    for cell in plan["cells"]:
        train(root / cell["run"], cell, plan)
        evaluate(root / cell["run"], cell, plan)
    for folder, kinds in (("tables", ("csv", "md", "tex")), ("figures", ("svg", "png"))):
        for name, kind in itertools.product(REPORT[folder], kinds):
            files.write_text(root / "results" / folder / plan["suite"] / f"{name}.{kind}", "x")
    for name in (
        "tables/{}/metrics.json",
        "tables/{}/training.csv",
        "tables/{}/made_from.json",
        "figures/{}/made_from.json",
    ):
        files.write_text(root / "results" / name.format(plan["suite"]), "x")
    files.write_text(root / "results/report" / f"{plan['suite']}.html", "x")


def demo(config: dict, root: Path) -> dict:
    """The demo planned and complete in the working directory, which is ``root``; its plan."""
    found = plan.write(config, [str(DEMO)])
    complete(root, found)
    return found


def tensor(path: Path, metadata: dict) -> None:
    files.save_tensors(path, {"x": torch.zeros(1)}, metadata)


def train(run: Path, cell: dict, plan: dict, identity: str = "", seconds: float = 60.0) -> None:
    """What training leaves in a run's folder."""
    identity = identity or cell["identity"]
    tensor(run / "encoder.safetensors", {"identity": identity})
    if plan["methods"][cell["method"]]["samples"]:
        tensor(run / "generator.safetensors", {"identity": identity})
    files.write_json(run / "history.json", {"records": []})
    env = {"identity": identity, "dataset": {"content_hash": "aa"}, "seconds": seconds, "steps": cell["steps"]}
    if "upstream" in cell:
        env["upstream"] = {**cell["upstream"], "files": {}}
    files.write_json(run / "env.json", {**env, "device": "cpu"})


def evaluate(run: Path, cell: dict, plan: dict) -> None:
    """What the evaluations leave in a run's folder."""
    kinds = ("probe", "fidelity") if plan["methods"][cell["method"]]["samples"] else ("probe",)
    for kind in kinds:
        mark = {"identity": cell["identity"], "evaluation": plan["evaluation"][kind]}
        files.write_json(run / f"{kind}.json", mark)
    files.write_text(run / "map.json", "{}")
    files.write_text(run / "samples.png", "x")


def progress(run: Path, cell: dict, **changes: object) -> None:
    """A progress.json as a training process writes it, of this very process."""
    now = time.time()
    told = {
        "identity": cell["identity"], "state": "running", "step": cell["steps"] // 2, "steps": cell["steps"],
        "steps_per_second": 2.0, "seconds": 1800.0, "started": now - 1800, "updated": now, "host": os.uname().nodename,
        "pid": os.getpid(), "job": None, "device": "cuda", "gpus": 2, "reason": None,
    }  # fmt: skip
    run.mkdir(parents=True, exist_ok=True)
    (run / "progress.json").write_text(json.dumps({**told, **changes}))
