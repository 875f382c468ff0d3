"""One evaluation of one finished run: loads what it was trained on, measures it frozen, writes a sealed file.

What an evaluation measures is ``run(job) -> Measured`` of its module in ``structgan/evaluation``. The rest is done
here, once for all evaluations.
"""

import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structgan import evaluation, provenance
from structgan.errors import UserError, unknown
from structgan.evaluation.features import module_hash
from structgan.files import read_json

if TYPE_CHECKING:
    from structgan.datasets import Dataset
    from structgan.method import Method


@dataclass(frozen=True)
class Measured:
    """What an evaluation returns.

    Attributes:
        metrics: the numbers; ``COLUMNS`` names their keys.
        protocol: how they were taken. Tables refuse to mix two protocols in a column.
        more: further keys of the file, such as ``reason``: why there is no number.
    """

    metrics: Mapping[str, Any]
    protocol: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What an evaluation is given.

    Attributes:
        run: the run's folder.
        config: its config.json.
        trained: its env.json.
        planned: the protocol: evaluation, settings, sources and identity.
        dataset: what the run was trained on, on the CPU.
        method: the trained networks, frozen, on ``device``.
        device: ``cpu`` or ``cuda``.
        raw: folder of files as they were published.
    """

    run: Path
    config: Mapping[str, Any]
    trained: Mapping[str, Any]
    planned: Mapping[str, Any]
    dataset: "Dataset"
    method: "Method"
    device: str
    raw: Path

    @property
    def settings(self) -> Mapping[str, Any]:
        """The blocks of the configuration's ``evaluation`` that the module's ``SETTINGS`` names."""
        settings: Mapping[str, Any] = self.planned["settings"]
        return settings

    def path(self, name: str) -> Path:
        """Where to write a file of ``FILES``: ``map.json`` is written to map-<id>.json."""
        stem, suffix = name.rsplit(".", 1)
        return self.run / f"{stem}-{self.planned['identity'][: provenance.ID]}.{suffix}"

    @property
    def extractor(self) -> Path:
        """The feature extractor that was trained on the data set, as the block "extractor" of the settings says."""
        planned = provenance.protocol("extractor", {"extractor": self.settings["extractor"]})
        path = provenance.extractor_path(self.config["dataset"], self.config["data"], planned)
        return provenance.tree_of(self.run) / path

    @property
    def targets(self) -> dict[str, Path]:
        """The prepared data sets to transfer to, by name.

        Raises:
            UserError: the protocol names none for the run's data set.
        """
        settings, dataset = self.settings["transfer"], self.config["dataset"]
        if not (names := settings["targets"].get(dataset)):
            raise UserError(f"evaluation.transfer.targets: names no target for '{dataset}'")
        tree = provenance.tree_of(self.run)
        return {name: tree / provenance.data_path(name, settings["data"][name]["identity"]) for name in names}

    def history(self) -> list[dict[str, Any]]:
        """The records of the run's training."""
        file = provenance.read_companion(self.run, self.trained, "history.json")
        records: list[dict[str, Any]] = read_json(file)["records"]
        return records


def run(run: Path, protocol: Path, data: Path | None = None, device: str = "cpu", raw: Path = Path("data/raw")) -> Path:
    """Evaluate a finished run; returns the file <run>/<evaluation>-<id>.json.

    Args:
        run: its folder.
        protocol: results/protocols/<evaluation>-<id>.json.
        data: the prepared data set (default: where the run's config.json says).
        device: ``cpu`` or ``cuda``.
        raw: folder of files as they were published, for evaluations on further images.

    Raises:
        UserError: the run is not finished, a file is missing or damaged, the protocol was planned for other sources,
            the networks changed while they were measured, or the evaluation itself refuses.
    """
    from structgan import datasets, method

    begin = time.monotonic()
    planned = provenance.read_protocol(protocol)
    name, known = planned["evaluation"], evaluation.found()
    if name not in known:
        raise unknown("evaluation", name, known, str(protocol))
    config, trained = provenance.read_config(run), provenance.read_training(run)
    networks = method.published_files(run, config["method"])
    for path in networks:
        provenance.read_companion(run, trained, path.name)
    data = data or provenance.tree_of(run) / provenance.data_path(config["dataset"], config["data"])
    dataset = datasets.load(data, verify=True)
    loaded = method.load_run(run, dataset.content_hash, device, companions=True)
    if known[name].needs == "sample" and not hasattr(loaded, "sample"):
        raise UserError(f"{run}: '{config['method']}' has no sample(), which the evaluation '{name}' needs")
    job = Job(run, config, trained, planned, dataset, loaded, device, raw)
    before = module_hash(loaded)
    measured: Measured = importlib.import_module(f"structgan.evaluation.{name}").run(job)
    if module_hash(loaded) != before:  # the usual cause is a batch norm in training mode
        changed = "weights or buffers changed during the evaluation; networks must be frozen"
        raise UserError(f"{run}: {config['method']}: {changed}")
    made = [job.path(file) for file in known[name].files]
    if missing := [path.name for path in made if not path.exists()]:
        raise UserError(f"structgan/evaluation/{name}.py: FILES names {missing[0]}, which run() did not write")
    record = {
        "identity": config["identity"],
        "evaluation": provenance.mark(planned),
        "encoder": {
            "sha256": module_hash(loaded.encoder),
            "parameters": sum(weight.numel() for weight in loaded.encoder.parameters()),
        },
        "dataset": describe(dataset),
        "metrics": measured.metrics,
        "protocol": measured.protocol,
        **measured.more,
        "seconds": round(time.monotonic() - begin, 3),
    }
    out = job.path(f"{name}.json")
    provenance.write_sealed(out, record, made, inputs=networks)
    return out


def describe(dataset: "Dataset") -> dict[str, Any]:
    """What a result says of the data set that it was measured on."""
    return {
        "name": dataset.name,
        "content_hash": dataset.content_hash,
        "classes": len(dataset.classes),
        "training_images": len(dataset.training_images),
        "note": dataset.note,
    }
