"""A suite as its plan names it, and the results of its runs, read through the seals of the files."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from structgan import evaluation, plan, provenance, sources
from structgan.errors import UserError
from structgan.files import read_json
from structgan.report import metrics, protocols
from structgan.report.metrics import Metric, number

SECTIONS = {"dataset": "datasets", "method": "methods", "augmentation": "augmentations", "variant": "variants"}
COLUMNS = (*SECTIONS, "seed", "evaluation", "metric", "value", "unit", "state", "protocol", "run")

Run = Mapping[str, Any]


class Group(NamedTuple):
    """One configuration under all its seeds: a row of a table."""

    dataset: str
    method: str
    augmentation: str
    variant: str


def group_of(entry: Mapping[str, Any]) -> Group:
    """The configuration of a run, or of another entry that holds its four names."""
    return Group(*(str(entry.get(kind, "")) for kind in SECTIONS))


class Suite:
    """A plan and the results of its runs.

    Attributes:
        file: the plan's file; plan: its content; root: the folder that the plan's paths start from.
        runs: the plan's runs, in the plan's order of data sets, methods, augmentations and variants, then by seed.
        groups: the runs of each configuration, in order; ordered: its keys and those that are not applicable.
        not_applicable: the reason of each configuration that the plan leaves out.
        records: what an evaluation wrote, by the run's path and the evaluation's name; "training" is env.json.
        metrics: the metrics of each evaluation; protocols: its protocol on each data set.
        frame: what ``results.load`` returns.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.plan = file, plan.read(file)
        self.root = file.parents[3] if len(file.parents) > 3 else Path()
        self._places = {kind: {key: at for at, key in enumerate(self.plan[name])} for kind, name in SECTIONS.items()}
        self.runs: list[Run] = sorted(self.plan["runs"], key=lambda run: (*self.place(group_of(run)), run["seed"]))
        self.groups: dict[Group, list[Run]] = {}
        for run in self.runs:
            self.groups.setdefault(group_of(run), []).append(run)
        self.not_applicable = {group_of(one): str(one.get("reason", "")) for one in self.plan.get("not_applicable", [])}
        self.ordered = sorted({*self.groups, *self.not_applicable}, key=self.place)
        self.records = {(run["run"], name): record for run in self.runs for name, record in self._read(run)}
        titled = {**self.plan["datasets"], **self.plan.get("targets", {})}
        words = {key: str(entry.get("title") or key) for key, entry in titled.items()}
        self.metrics: dict[str, list[Metric]] = {"training": list(metrics.TRAINING)}
        for name, entry in evaluation.found().items():
            records = [record for (_, kind), record in self.records.items() if kind == name]
            self.metrics[name] = list(metrics.filled(entry, records, words))
        self.protocols = protocols.by_dataset(self)
        self.frame = pd.DataFrame(list(self._rows()), columns=list(COLUMNS)).astype({"value": float})
        self._values: dict[tuple[Any, ...], dict[int, float]] = {}
        columns = (self.frame[name] for name in (*SECTIONS, "evaluation", "metric", "seed", "value"))
        for *key, seed, value in zip(*columns, strict=True):
            self._values.setdefault(tuple(key), {})[seed] = value

    def _read(self, run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
        folder, trained = self.root / run["run"], None
        if (folder / "env.json").exists():
            trained = provenance.read_training(folder)
            if trained["identity"] != run["identity"]:
                raise provenance.Damaged(f"{folder}/config.json: of another run than the plan names")
            yield "training", {**trained, "metrics": {one.path: trained.get(one.path) for one in metrics.TRAINING}}
        for name, file in run["evaluations"].items():
            if (folder / file).exists():
                record = provenance.read_evaluation(folder, file, trained)
                if record["evaluation"] != provenance.mark(self.plan["evaluations"][name]):
                    raise provenance.Damaged(f"{folder / file}: measured under another protocol than the plan names")
                yield name, record

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """A row per number; of a missing result, a row per metric that its evaluation gives on this data set."""
        datasets = {run["run"]: run["dataset"] for run in self.runs}
        finished = {(datasets[run], name) for run, name in self.records}
        given = {
            (run["dataset"], metric)
            for run in self.runs
            for metric in itertools.chain(*self.metrics.values())
            if not math.isnan(number(self._stored(run, metric)))
            or ((run["dataset"], metric.evaluation) not in finished and not metric.star)
        }
        for run in self.runs:
            for name in ("training", *run["evaluations"]):
                record, mark = self.records.get((run["run"], name)), Path(run["evaluations"].get(name, "")).stem
                mark = sources.fingerprint(protocols.machine(record)) if record and name == "training" else mark[-8:]
                for metric in self.metrics.get(name, []):
                    value = number(self._stored(run, metric))
                    if not math.isnan(value) or (record is None and (run["dataset"], metric) in given):
                        names = (*group_of(run), int(run["seed"]), name, metric.name)
                        state, ids = "finished" if record else "missing", (mark, run["identity"])
                        yield (*names, value, metric.stored, state, *(one[: provenance.ID] for one in ids))

    def _stored(self, run: Run, metric: Metric) -> Any:
        return evaluation.value(self.records.get((run["run"], metric.evaluation), {}), metric.path)

    def values(self, group: Group, metric: Metric) -> dict[int, float]:
        """A configuration's numbers by seed; NaN where a run is missing that gives this number."""
        return self._values.get((*group, metric.evaluation, metric.name), {})

    def metric(self, name: str) -> Metric:
        """The metric of this name."""
        return next(metric for known in self.metrics.values() for metric in known if metric.name == name)

    def of(self, group: Group, name: str) -> list[dict[str, Any]]:
        """The records of an evaluation, of a configuration's finished runs."""
        keys = ((run["run"], name) for run in self.groups.get(group, []))
        return [self.records[key] for key in keys if key in self.records]

    def asked(self, group: Group, name: str) -> bool:
        """Whether an evaluation is asked of a configuration."""
        return any(name in run["evaluations"] for run in self.groups.get(group, []))

    def missing(self, run: Run) -> list[str]:
        """The evaluations that are asked of a run and not finished."""
        return [name for name in run["evaluations"] if (run["run"], name) not in self.records]

    def companions(self, group: Group, name: str, file: str) -> list[Path]:
        """A file that was written with an evaluation, of each finished run: ``map.json`` of a probe is map-<id>.json.

        Raises:
            Damaged: its bytes are not those that the record names.
        """
        found, wanted = [], Path(file)
        for run in self.groups.get(group, []):
            if record := self.records.get((run["run"], name)):
                mark = "" if name == "training" else f"-{record['evaluation']['identity'][: provenance.ID]}"
                written = f"{wanted.stem}{mark}{wanted.suffix}"
                if written in record["checksums"]["files"]:
                    found.append(provenance.read_companion(self.root / run["run"], record, written))
        return found

    def histories(self, group: Group) -> list[pd.DataFrame]:
        """The losses that each finished run logged, a column per loss, by step."""
        paths = self.companions(group, "training", "history.json")
        records = [read_json(path).get("records", []) for path in paths]
        return [pd.DataFrame([one["losses"] for one in run], index=[one["step"] for one in run]) for run in records]

    def title(self, kind: str, key: str) -> str:
        """The words for a key; ``kind`` is dataset, method, augmentation or variant."""
        return str(self.plan[SECTIONS[kind]].get(key, {}).get("title") or key)

    def words(self, group: Group) -> dict[str, str]:
        """The words for a configuration; a method that uses labels says so."""
        found = {kind: self.title(kind, key) for kind, key in group._asdict().items()}
        found["method"] += " (uses labels)" if self.method(group.method).get("uses_labels") else ""
        return found

    def method(self, key: str) -> Mapping[str, Any]:
        """The plan's entry of a method: title, kind, samples, uses_labels, uses_generator."""
        entry: Mapping[str, Any] = self.plan["methods"].get(key, {})
        return entry

    def rank(self, kind: str, key: str) -> int:
        """The place of a key in the plan's order; unknown keys come last."""
        return self._places[kind].get(key, len(self._places[kind]))

    def place(self, group: Group) -> list[int]:
        """The place of a configuration in the plan's order."""
        return [self.rank(kind, key) for kind, key in group._asdict().items()]

    @property
    def axes(self) -> list[dict[str, Any]]:
        """The axes of an ablation, each with title, file, monitors and points; most suites have none."""
        return list(self.plan.get("axes", {}).values())

    @property
    def contrast(self) -> str:
        """The method that the augmentation table compares with: the plan's ``contrast``, or SimCLR as in the paper."""
        return str(self.plan.get("contrast", "simclr"))

    @functools.cached_property
    def main_method(self) -> str:
        """The method that the others are tested against: the plan's ``main``, or its first of kind method."""
        own = (key for key, entry in self.plan["methods"].items() if entry.get("kind") == "method")
        return str(self.plan.get("main") or next(own, ""))

    @functools.cached_property
    def main_variants(self) -> dict[str, str]:
        """The variant that represents each method: ``full``, or the first that the plan runs."""
        found: dict[str, str] = {}
        for group in sorted(self.ordered, key=lambda group: self.rank("variant", group.variant)):
            found[group.method] = "full" if group.variant == "full" else found.get(group.method, group.variant)
        return found

    def is_main(self, group: Group) -> bool:
        """Whether a configuration is of its method's main variant."""
        return group.variant == self.main_variants.get(group.method)

    def regimes(self) -> list[str]:
        """The augmentations that are planned, weakest first."""
        return [key for key in self.plan["augmentations"] if any(group.augmentation == key for group in self.groups)]

    def chance(self, dataset: str) -> float | None:
        """The accuracy of guessing, 1 / classes; None where the number of classes is not known."""
        records = (record for group in self.groups if group.dataset == dataset for record in self.of(group, "probe"))
        return next((1.0 / count for record in records if (count := record["dataset"].get("classes"))), None)

    def clear(self, folder: Path) -> None:
        """Delete what was made before, also from another plan, so that nothing of it is taken for this plan's."""
        for path in folder.glob("made_from*.json"):
            names: list[str] = []
            with contextlib.suppress(UserError, LookupError, TypeError):
                names = list(read_json(path)["checksums"]["files"])
            path.unlink()
            for name in names:
                (folder / Path(name).name).unlink(missing_ok=True)

    def seal(self, folder: Path, made: list[Path]) -> Path:
        """Write a folder's made_from-<id>.json, with the plan's id: checksums of the files that were made from it."""
        path = folder / f"made_from-{self.file.stem}.json"
        provenance.write_sealed(path, {"suite": self.plan["suite"], "plan": self.file.name}, made)
        return path
