"""A suite of finished runs as the report reads it: a plan and small files of runs, written to a folder."""

from __future__ import annotations

import copy
import csv
import json
import math
from pathlib import Path
from typing import Any

from structgan.report import page, tables

METHODS = {
    "structural": {"title": "Structural GAN", "kind": "method", "uses_labels": False, "samples": True},
    "simclr": {"title": "SimCLR <b>&\"'", "kind": "baseline", "uses_labels": False, "samples": False},
    "plain_gan": {"title": "Plain GAN", "kind": "baseline", "uses_labels": False, "samples": True},
    "random": {"title": "Random encoder", "kind": "reference", "uses_labels": False, "samples": False},
    "supervised": {"title": "Supervised", "kind": "reference", "uses_labels": True, "samples": False},
}
EVALUATION = {kind: {"protocol": f"settings of {kind}", "sources": f"code of {kind}"} for kind in ("probe", "fidelity")}
SCORES = {  # linear top-1 per seed
    ("structural", "none", "full"): [0.50, 0.54],
    ("structural", "none", "no_cluster"): [0.40, 0.42],
    ("structural", "crop", "full"): [0.55, 0.57],
    ("simclr", "none", "base"): [0.10, 0.12],
    ("simclr", "crop", "base"): [0.545, 0.555],
    ("plain_gan", "none", "base"): [0.28, 0.30],
    ("random", "none", "base"): [0.26, 0.26],
    ("supervised", "none", "base"): [0.90, 0.92],
}


class Tree:
    """A suite in a temporary folder: ``results/runs/demo`` under ``root``."""

    def __init__(self, root: Path, scores: dict[tuple[str, str, str], list[float]] = SCORES) -> None:
        self.root, self.plan_file = root, root / "results/runs/demo/plan.json"
        self.tables, self.figures, self.html = root / "tables", root / "figures", root / "demo.html"
        variants = {"full": "full", "base": "base", "no_cluster": "without L_cluster"}
        self.plan: dict[str, Any] = {
            "suite": "demo", "title": "Demo <script>alert(1)</script>", "note": "a & b", "configfiles": ["a.yaml"],
            "protocol": {"few_labels": {"fractions": [0.01, 0.1]}},
            "evaluation": copy.deepcopy(EVALUATION),
            "datasets": {"digits": {"title": "Digits 16×16"}}, "methods": copy.deepcopy(METHODS),
            "augmentations": {"none": {"title": "none"}, "crop": {"title": "crop"}},
            "variants": {key: {"title": title} for key, title in variants.items()}, "cells": [],
            "not_applicable": [
                {"dataset": "digits", "method": "random", "augmentation": "crop", "variant": "base",
                 "reason": "sees none"},
            ],
            "references": [
                {"dataset": "cifar10", "method": "SimCLR", "metric": "linear", "value": 0.9074, "protocol": "online",
                 "source": "solo-learn README"},
                {"dataset": "cifar10", "method": "SNGAN", "metric": "fid", "value": 16.77, "protocol": "50k",
                 "source": "mimicry"},
            ],
        }  # fmt: skip
        for (method, augmentation, variant), values in scores.items():
            for seed, value in enumerate(values):
                run = f"results/runs/demo/digits/{method}/{augmentation}/{variant}/seed={seed}"
                cell = {
                    "dataset": "digits",
                    "method": method,
                    "augmentation": augmentation,
                    "variant": variant,
                    "seed": seed,
                }
                self.plan["cells"].append({**cell, "run": run, "identity": f"id-{run}"})
                self.write_run(run, method, value, seed)
        self.save()

    def save(self) -> None:
        self.plan_file.parent.mkdir(parents=True, exist_ok=True)
        self.plan_file.write_text(json.dumps(self.plan))

    def write_run(self, run: str, method: str, top1: float, seed: int) -> None:
        from PIL import Image

        folder = self.root / run
        folder.mkdir(parents=True)
        data = {"name": "digits", "content_hash": "aa", "classes": 10, "training_images": 600, "note": ""}
        metrics = {
            "linear": {"top1": top1, "converged": True}, "svm": {"top1": top1 - 0.01, "converged": True},
            "kmeans": {"accuracy": top1 / 2, "nmi": 0.2, "inertia": 1.0}, "knn": {"top1": top1 - 0.05},
            "linear_1pct": {"top1": top1 / 4, "labels": 60}, "linear_10pct": {"top1": top1 / 3, "labels": 600},
        }  # fmt: skip
        points = [[math.cos(i) + seed, math.sin(3 * i)] for i in range(40)]
        probe = {
            "identity": f"id-{run}", "evaluation": EVALUATION["probe"],
            "encoder": {"sha256": "ee" * 32, "features": "backbone", "dim": 64},
            "dataset": data,
            "metrics": metrics, "protocol": {"linear": {"split": "train→test", "C": 1.0, "n_train": 600}, "seed": 0},
        }  # fmt: skip
        places = {"kind": "tsne", "split": "test", "points": points, "labels": [i % 10 for i in range(40)],
                  "classes": [str(i) for i in range(10)]}  # fmt: skip
        records_ = [
            {"step": s, "images": 8 * s, "losses": {"d_gaussian": 1 / s, "g_gaussian": -1 / s}} for s in range(1, 40)
        ]
        git = {"commit": "c0ffee" * 6, "dirty": seed == 1}
        submission = {"host": "node7", "job": "41", "started": 1.7e9, "steps": 39, "seconds": 12.0}
        env = {
            "identity": f"id-{run}", "steps": 39, "images": 312, "pace": [[s, 0.1 * s] for s in range(1, 40)],
            "seconds": 12.0, "images_per_second": 80.0, "device": "cpu", "git": git, "peak_host_memory_mb": 812.5,
            "peak_gpu_memory_mb": None, "cpu_energy_j": None, "precision": {"dtype": "float32", "tf32_matmul": False},
            "versions": {"torch": "2.12.1"}, "submissions": [submission],
        }  # fmt: skip
        self.put(folder / "probe.json", probe)
        self.put(folder / "map.json", places)
        self.put(folder / "history.json", {"records": records_ if method != "random" else []})
        self.put(folder / "env.json", env)
        self.put(folder / "config.json", {"settings": {"training": {"steps": 39, "note": "</pre><script>"}}})
        if METHODS[method]["samples"]:
            fid = 20.0 + seed + (5.0 if method == "plain_gan" else 0.0)
            protocol = {"extractor": "embedded", "extractor_sha256": "bb", "n_generated": 200, "n_reference": 600,
                        "reference": "train", "resizer": "none", "seed": 0}  # fmt: skip
            scores = {"fid": fid, "is": 5.0, "is_std": 0.1, "kid": 0.01, "precision": 0.5, "recall": 0.25}
            fidelity = {
                "identity": f"id-{run}",
                "evaluation": EVALUATION["fidelity"],
                "metrics": scores,
                "protocol": protocol,
                "dataset": data,
            }
            self.put(folder / "fidelity.json", fidelity)
            Image.new("RGB", (32, 32), (40 * seed, 90, 200)).save(folder / "samples.png")

    @staticmethod
    def put(path: Path, value: Any) -> None:
        path.write_text(json.dumps(value))

    def edit(self, run: str, file: str, change: Any) -> None:
        path = self.root / "results/runs/demo/digits" / run / file
        value = json.loads(path.read_text())
        change(value)
        self.put(path, value)

    def rows(self, name: str) -> dict[tuple[str, str, str], dict[str, str]]:
        tables.write(self.plan_file, self.tables)
        with (self.tables / f"{name}.csv").open() as file:
            return {(r["method"], r.get("augmentation", ""), r["variant"]): r for r in csv.DictReader(file)}

    def page(self) -> str:
        tables.write(self.plan_file, self.tables)
        page.write(self.plan_file, self.tables, self.figures, self.html)
        return self.html.read_text()
