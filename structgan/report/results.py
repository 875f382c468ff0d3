"""The results of a suite: one tidy frame of every number that its plan asks for, and what reports read beside it.

Example:
    >>> frame = load("demo")
    >>> frame[frame.metric == "linear"].groupby(["method", "augmentation"]).value.mean()
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from structgan import evaluation, plan, provenance, sources
from structgan.files import read_json
from structgan.report import metrics
from structgan.report.metrics import Metric, number
from structgan.report.statistics import Statistic, summarize

SECTIONS = {"dataset": "datasets", "method": "methods", "augmentation": "augmentations", "variant": "variants"}
COLUMNS = [*SECTIONS, "seed", "evaluation", "metric", "value", "unit", "state", "protocol", "run"]

Run = Mapping[str, Any]


class Group(NamedTuple):
    """One configuration under all its seeds: a row of a table."""

    dataset: str
    method: str
    augmentation: str
    variant: str


def load(suite: str | Path) -> pd.DataFrame:
    """Every number of a suite.

    Args:
        suite: a plan's file, or a suite's name, which means its newest plan in results/plans/<suite>/.

    Returns:
        A frame with the same columns for every suite:

        - dataset, method, augmentation, variant, seed: what was trained.
        - evaluation, metric: what was measured, as the evaluation's ``COLUMNS`` name it. The evaluation "training" is
          the training itself: its seconds, images per second, memory and parameters.
        - value: the number as it is stored, NaN while it is missing. unit: "fraction" for accuracies, "s", "MiB" or "".
        - state: "finished", "missing" or "damaged".
        - protocol: the first digits of the identity of the evaluation's protocol; for "training", of the machine.
        - run: the first digits of the run's identity, which its folder is named after.

        A finished evaluation has no row for a number that it cannot give, such as the FID of a method without images.

    Raises:
        UserError: there is no such plan, or the numbers of a data set have two protocols.
    """
    return read(suite).frame


def read(suite: "str | Path | Suite") -> "Suite":
    """A suite's plan and results; arguments and errors as in ``load``."""
    if isinstance(suite, Suite):
        return suite
    return Suite(plan.find(suite))


def group_of(entry: Mapping[str, Any]) -> Group:
    """The configuration of a run of a plan."""
    return Group(*(entry[kind] for kind in SECTIONS))


class Suite:
    """A plan and the results of its runs, which are read through the seals of their files.

    Attributes:
        groups: the runs of each configuration, in the plan's order of data sets, methods, augmentations and variants.
        not_applicable: the reason of each configuration that the plan leaves out.
        ordered: the configurations of both.
        records: what an evaluation wrote, by the run's path and the evaluation's name; "training" is env.json.
        damaged: why a record and its numbers are left out, likewise.
        metrics: the metrics of each evaluation; protocols: its protocol on each data set.
        axes: of an ablation, each with title, file, monitors and points; most suites have none.
        contrast: the method that the augmentation table compares with, SimCLR as in the paper.
        main_method: the method that the others are tested against, by default the first of kind method.
        main_variants: the variant that represents each method: ``full``, or the first that the plan runs.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.plan, self.root = file, plan.read(file), Path(*file.parts[:-4])
        self._places = {kind: {key: at for at, key in enumerate(self.plan[name])} for kind, name in SECTIONS.items()}
        self.runs: list[Run] = sorted(self.plan["runs"], key=lambda run: (*self.place(group_of(run)), run["seed"]))
        self.groups: dict[Group, list[Run]] = {}
        for run in self.runs:
            self.groups.setdefault(group_of(run), []).append(run)
        self.not_applicable = {group_of(one): str(one["reason"]) for one in self.plan.get("not_applicable", [])}
        self.ordered = sorted({*self.groups, *self.not_applicable}, key=self.place)
        self.axes: list[dict[str, Any]] = list(self.plan.get("axes", {}).values())
        self.contrast = str(self.plan.get("contrast", "simclr"))
        own = (key for key, entry in self.plan["methods"].items() if entry.get("kind") == "method")
        self.main_method = str(self.plan.get("main") or next(own, ""))
        self.main_variants: dict[str, str] = {}
        for group in sorted(self.ordered, key=lambda group: (group.variant != "full", self.rank("variant", group[3]))):
            self.main_variants.setdefault(group.method, group.variant)
        self._monitors = dict.fromkeys(name for axis in self.axes for name in axis.get("monitors", ()))
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.damaged: dict[tuple[str, str], str] = {}
        for run in self.runs:
            self._read(run)
        logged = itertools.chain(*map(metrics.monitored, self._monitors))
        self.metrics: dict[str, list[Metric]] = {"training": [*metrics.TRAINING, metrics.MEMORY, *logged]}
        titled = {**self.plan["datasets"], **self.plan.get("targets", {})}
        words = {key: str(entry.get("title") or key) for key, entry in titled.items()}
        for name, entry in evaluation.found().items():
            records = [record for (_, kind), record in self.records.items() if kind == name]
            self.metrics[name] = list(metrics.filled(entry, records, words))
        self.protocols = metrics.protocols(self.runs, self.records)
        frame = self._frame()
        self._values: dict[tuple[str, ...], dict[int, float]] = {}
        columns = [*SECTIONS, "evaluation", "metric", "seed", "value"]
        for *key, seed, value in frame[columns].itertuples(index=False):
            self._values.setdefault(tuple(key), {})[seed] = value
        derived = ~frame["metric"].isin([one.name for one in metrics.TRAINING]) & (frame["evaluation"] == "training")
        self.frame = frame[~derived].reset_index(drop=True)

    def _read(self, run: Run) -> None:
        records, damaged = provenance.read_results(self.root / run["run"], run)
        if trained := records.get("training"):
            found = {one.path: trained.get(one.path) for one in metrics.TRAINING}
            found["memory"] = found["peak_gpu_memory_mb"] or found["peak_host_memory_mb"]
            for name, values in self.history(run).items() if self._monitors else ():
                found |= {f"{name}_{part}": float(values.agg(part)) for part in metrics.PARTS}
            trained["metrics"] = found
        self.records |= {(run["run"], name): record for name, record in records.items()}
        self.damaged |= {(run["run"], name): reason for name, reason in damaged.items()}

    def _frame(self) -> pd.DataFrame:
        rows = []
        for run in self.runs:
            for name in ("training", *run["evaluations"]):
                record, file = self.records.get((run["run"], name), {}), run["evaluations"].get(name, "")
                mark = file.removesuffix(".json")[-provenance.ID :]
                if name == "training" and record:
                    mark = sources.fingerprint(metrics.machine(record))[: provenance.ID]
                identity = run["identity"][: provenance.ID]
                state = "damaged" if (run["run"], name) in self.damaged else "finished" if record else "missing"
                for metric in self.metrics.get(name, []):
                    value = number(evaluation.value(record, metric.path))
                    names = *group_of(run), int(run["seed"]), name, metric.name
                    rows.append((*names, value, metric.stored, state, mark, identity))
        frame = pd.DataFrame(rows, columns=COLUMNS).astype({"value": float})
        # What is missing or damaged has a row for each metric that its evaluation gives on this data set, as far as is
        # known.
        starred = {metric.name for known in self.metrics.values() for metric in known if metric.star}
        finished = (frame["state"] == "finished").groupby([frame["dataset"], frame["evaluation"]]).transform("any")
        given = frame.groupby(["dataset", "evaluation", "metric"])["value"].transform("count") > 0
        given |= ~finished.astype(bool) & ~frame["metric"].isin(starred)
        return frame[frame["value"].notna() | ((frame["state"] != "finished") & given)]

    def values(self, group: Group, metric: Metric) -> dict[int, float]:
        """A configuration's numbers by seed; NaN where a run is missing that gives this number."""
        return self._values.get((*group, metric.evaluation, metric.name), {})

    def statistic(self, group: Group, metric: Metric | str) -> Statistic | None:
        """Mean and deviation of a configuration's numbers; None while there is none."""
        metric = self.metric(metric) if isinstance(metric, str) else metric
        return summarize(self.values(group, metric).values())

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

    def spoilt(self, group: Group, name: str) -> bool:
        """Whether a result of a configuration is damaged."""
        return any((run["run"], name) in self.damaged for run in self.groups.get(group, []))

    def missing(self, run: Run) -> list[str]:
        """What is asked of a run and not finished: the training or evaluations."""
        return [name for name in ("training", *run["evaluations"]) if (run["run"], name) not in self.records]

    def companion(self, group: Group, name: str, file: str) -> Path | None:
        """A file beside an evaluation, of the first finished run that has it: ``map.json`` is map-<id>.json."""
        for run in self.groups.get(group, []):
            if record := self.records.get((run["run"], name)):
                mark = record["evaluation"]["identity"][: provenance.ID]
                written = f"-{mark}.".join(file.split("."))
                path = Path(self.root, run["run"], written)
                if written in record["checksums"]["files"] and path.exists():
                    return path
        return None

    def history(self, run: Run) -> pd.DataFrame:
        """The losses that a finished run logged, a column per loss, by step."""
        logged = read_json(self.root / run["run"] / "history.json")["records"]
        return pd.DataFrame([one["losses"] for one in logged], index=[one["step"] for one in logged])

    def histories(self, group: Group) -> list[pd.DataFrame]:
        """The history of each finished run of a configuration."""
        runs = self.groups.get(group, [])
        return [self.history(run) for run in runs if (run["run"], "training") in self.records]

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

    def is_main(self, group: Group) -> bool:
        """Whether a configuration is of its method's main variant."""
        return group.variant == self.main_variants.get(group.method)

    def regimes(self) -> list[str]:
        """The augmentations that are planned, in the order of the grid."""
        return [key for key in self.plan["augmentations"] if any(group.augmentation == key for group in self.groups)]

    def chance(self, dataset: str) -> float | None:
        """The accuracy of guessing, 1 / classes; None where the number of classes is not known."""
        records = (record for group in self.groups if group.dataset == dataset for record in self.of(group, "probe"))
        return next((1.0 / count for record in records if (count := record["dataset"].get("classes"))), None)
