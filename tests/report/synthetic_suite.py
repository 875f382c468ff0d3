"""A suite of finished runs as the report reads it: a plan, sealed files of runs, written to a folder."""

import copy
import csv
import functools
import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from structgan import provenance, sources
from structgan.report import figures, page, results, tables, writers

METHODS = {
    "structural": {"title": "Structural GAN", "kind": "method", "uses_labels": False, "samples": True},
    "simclr": {"title": "SimCLR <b>&\"'", "kind": "baseline", "uses_labels": False, "samples": False},
    "plain_gan": {"title": "Plain GAN", "kind": "baseline", "uses_labels": False, "samples": True},
    "random": {"title": "Random encoder", "kind": "reference", "uses_labels": False, "samples": False},
    "supervised": {"title": "Supervised", "kind": "reference", "uses_labels": True, "samples": False},
}
SCORES = {  # linear top-1 per seed
    "structural/none/full": [0.50, 0.54],
    "structural/none/no_cluster": [0.40, 0.42],
    "structural/crop/full": [0.55, 0.57],
    "simclr/none/base": [0.10, 0.12],
    "simclr/crop/base": [0.545, 0.555],
    "plain_gan/none/base": [0.28, 0.30],
    "random/none/base": [0.26, 0.26],
    "supervised/none/base": [0.90, 0.92],
}
DATA = {"name": "digits_gradient", "content_hash": "aa", "classes": 10, "training_images": 600, "note": ""}
SUBMISSION = {"host": "node7", "job": "41", "started": 1.7e9, "steps": 39, "seconds": 12.0}
ENV = {
    "dataset": {"name": "digits_gradient", "content_hash": "aa"}, "steps": 39, "images": 312,
    "seconds": 12.0, "images_per_second": 80.0, "parameters": 1000,
    "device": "cpu", "peak_host_memory_mb": 812.5, "peak_gpu_memory_mb": None,
    "precision": {"dtype": "float32", "tf32_matmul": False}, "versions": {"torch": "2.12.1"},
    "submissions": [SUBMISSION], "gflops_per_step": 2.0, "gflops": 78.0, "curve_seconds": [3.0, 6.0, 12.0],
}  # fmt: skip
FIDELITY = {
    "extractor": "embedded", "extractor_sha256": "bb", "n_generated": 200, "n_reference": 600, "reference": "train",
    "resizer": "none", "seed": 0,
}  # fmt: skip
ENCODER = {"encoder": {"sha256": "ee" * 32, "parameters": 900}, "feature_dim": 64}
SETTINGS = {
    "training": {"steps": 1000, "batch_size": 6, "note": "</pre><script>"}, "dataset": {"image_size": 16},
    "method": {"encoder": {"width": 64, "blocks": [2, 2]}}, "augmentation": {},
}  # fmt: skip


@functools.cache
def protocol(name: str) -> dict[str, Any]:
    return provenance.protocol(name, {"seed": 0})


def probe(top1: float) -> dict[str, Any]:
    metrics = {
        "linear": {"top1": top1, "converged": True}, "svm": {"top1": top1 - 0.01, "converged": True},
        "kmeans": {"accuracy": top1 / 2, "nmi": 0.2}, "knn": {"top1": top1 - 0.05},
        "linear_1pct": {"top1": top1 / 4, "labels": 60}, "linear_10pct": {"top1": top1 / 3, "labels": 600},
    }  # fmt: skip
    asked = {"linear": {"split": "train→test", "C": 1.0, "n_train": 600}, "seed": 0}
    return {"metrics": metrics, "protocol": asked, **ENCODER, "dataset": DATA}


class Tree:
    """A suite under ``root``. ``tree[run]`` is the content of a run's files, which tests change before ``write``."""

    def __init__(self, root: Path, scores: dict[str, list[float]] = SCORES) -> None:
        self.root, self.runs, self.made = root, dict[str, dict[str, Any]](), dict[str, Any]()
        self.tables, self.figures, self.html = root / "tables", root / "figures", root / "demo.html"
        titles = {"full": "full", "base": "base", "no_cluster": "without L_cluster"}
        left_out = {"dataset": "digits_gradient", "method": "random", "augmentation": "crop", "variant": "base"}
        self.plan: dict[str, Any] = {
            "suite": "demo", "title": "Demo <script>alert(1)</script>", "note": "a & b", "configfiles": ["a.yaml"],
            "evaluations": {"probe": protocol("probe"), "fidelity": protocol("fidelity")},
            "datasets": {"digits_gradient": {"title": "Digits 16×16"}}, "methods": copy.deepcopy(METHODS),
            "augmentations": {"none": {"title": "none"}, "crop": {"title": "crop"}},
            "variants": {key: {"title": title} for key, title in titles.items()},
            "not_applicable": [{**left_out, "reason": "sees none"}], "paper": [], "main": None,
            "references": [
                {"dataset": "cifar10", "method": "SimCLR", "metric": "linear", "value": 0.9074, "protocol": "online",
                 "source": "solo-learn README"},
                {"dataset": "cifar10", "method": "SNGAN", "metric": "fid", "value": 16.77, "protocol": "50k",
                 "source": "mimicry"},
            ],
        }  # fmt: skip
        for row, values in scores.items():
            for seed, top1 in enumerate(values):
                self.add(f"{row}/{seed}", top1)

    def add(self, name: str, top1: float, dataset: str = "digits_gradient") -> dict[str, Any]:
        method, augmentation, variant, seed = name.split("/")
        points = [[math.cos(i) + int(seed), math.sin(3 * i)] for i in range(40)]
        classes = {"labels": [i % 10 for i in range(40)], "classes": [str(i) for i in range(10)]}
        records = [{"step": s, "losses": {"d_gaussian": 1 / s, "g_gaussian": -1 / s}} for s in range(1, 40)]
        curve = [{"step": s, "images": 8 * s, "top1": top1 * s / (s + 5)} for s in (10, 20, 39)]
        trained = method != "random"
        env = ENV | {"git": {"commit": "c0ffee" * 6, "dirty": seed == "1"}}
        env |= {} if trained else {"gflops_per_step": 0.0, "gflops": 0.0, "curve_seconds": []}
        found = {
            "names": {"dataset": dataset, "method": method, "augmentation": augmentation, "variant": variant},
            "seed": int(seed), "settings": SETTINGS, "upstream": None,
            "env": env, "probe": probe(top1),
            "map": {"kind": "tsne", "points": points, **classes},
            "history": {"records": records, "curve": curve} if trained else {"records": [], "curve": []},
        }  # fmt: skip
        if METHODS[method]["samples"]:
            scores = {"is": 5.0, "is_std": 0.1, "kid": 0.01, "precision": 0.5, "recall": 0.25}
            scores["fid"] = 20.0 + int(seed) + (5.0 if method == "plain_gan" else 0.0)
            found["fidelity"] = {"metrics": scores, "protocol": FIDELITY, "dataset": DATA}
        key = name if dataset == "digits_gradient" else f"{dataset}/{name}"
        self.runs[key] = copy.deepcopy(found)
        return self.runs[key]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.runs[name]

    def of(self, row: str) -> list[dict[str, Any]]:
        return [run for name, run in self.runs.items() if name.rpartition("/")[0] == row]

    def write(self) -> Path:
        """Write everything anew, sealed; what a test set to None is missing. Returns the plan's file."""
        shutil.rmtree(self.root / "results", ignore_errors=True)
        planned = [self._write_run(run) for run in self.runs.values()]
        plan = {**self.plan, "runs": planned}
        self.plan_file = self.root / f"results/plans/demo/{sources.fingerprint(plan)[:8]}.json"
        self.plan_file.parent.mkdir(parents=True)
        self.plan_file.write_text(json.dumps(plan))
        return self.plan_file

    def config(self, run: dict[str, Any]) -> dict[str, Any]:
        content = {**run["names"], "seed": run["seed"], "settings": run["settings"]}
        if run["upstream"]:
            above = self.config(self.runs[run["upstream"]])
            content["upstream"] = {"run": provenance.run_path(above), "identity": above["identity"]}
        return {**content, "identity": sources.fingerprint(content)}

    def folder(self, name: str) -> Path:
        return self.root / provenance.run_path(self.config(self.runs[name]))

    def _write_run(self, run: dict[str, Any]) -> dict[str, Any]:
        config = self.config(run)
        path = provenance.run_path(config)
        folder, identity = self.root / path, config["identity"]
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "history.json").write_text(json.dumps(run["history"]))
        (folder / "encoder.safetensors").write_text("weights")
        made = [folder / "history.json", folder / "encoder.safetensors"]
        if run["env"] is not None:
            provenance.write_sealed(folder / "env.json", {"identity": identity, **run["env"]}, made)
        asked = {name: f"{name}-{found['identity'][:8]}.json" for name, found in self.plan["evaluations"].items()}
        asked = {name: file for name, file in asked.items() if name in run}
        for name, file in asked.items():
            if run[name] is not None:
                mark = provenance.mark(self.plan["evaluations"][name])
                record = {"identity": identity, "evaluation": mark, **run[name]}
                beside = self._beside(folder, file, run)
                provenance.write_sealed(folder / file, record, beside, [folder / "encoder.safetensors"])
        planned = {**run["names"], "seed": run["seed"], "run": path, "identity": identity, "steps": 39}
        above = {"upstream": config["upstream"]} if "upstream" in config else {}
        return {**planned, "data": "data/prepared/digits_gradient-0.safetensors", **above, "evaluations": asked}

    def _beside(self, folder: Path, file: str, run: dict[str, Any]) -> list[Path]:
        path = folder / file.replace("probe", "map").replace("fidelity", "samples").replace(".json", ".png")
        if file.startswith("probe"):
            path = path.with_suffix(".json")
            path.write_text(json.dumps(run["map"]))
        elif file.startswith("fidelity"):
            Image.new("RGB", (32, 32), (40 * run["seed"], 90, 200)).save(path)
        return [path] if path.exists() else []

    def read(self) -> results.Suite:
        return results.read(self.write())

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a table's csv file; ``text`` then gives its other forms without building it again."""
        self.made = tables.build(self.read())
        return list(csv.DictReader(io.StringIO(writers.to_csv(self.made[name]))))

    def rows(self, name: str) -> dict[str, dict[str, str]]:
        keys = ("method", "augmentation", "variant")
        return {"/".join(row[key] for key in keys if row.get(key)): row for row in self.table(name)}

    def text(self, file: str) -> str:
        """A table as Markdown (``name.md``) or LaTeX (``name.tex``)."""
        self.made = self.made or tables.build(self.read())
        name, _, form = file.partition(".")
        return {"md": writers.to_markdown, "tex": writers.to_tex}[form](self.made[name])

    def page(self, drawn: bool = False) -> str:
        tables.write(self.write(), self.tables)
        if drawn:
            figures.write(self.plan_file, self.figures)
        page.write(self.plan_file, self.tables, self.figures, self.html)
        return self.html.read_text()
