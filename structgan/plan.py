"""The plan of a suite: its runs, their evaluations, and their titles. Imports no torch.

A plan, a protocol, the settings of a data set and a run's config.json are pure functions of their paths, which end in
the identity of the content. So any planner may write one that is missing, two planners write the same bytes, and an
existing one is never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan import config as configuration
from structgan import evaluation, provenance, sources
from structgan.errors import UserError, unknown
from structgan.evaluation import limits
from structgan.files import write_json
from structgan.grid import Grid, RunConfig

PUBLISHED = ("references", "paper")
"""Keys of the configuration that name a file of published numbers, or null."""


class Plan:
    """A suite's plan.

    Args:
        config: a checked configuration.
        files: the files it came from; an error names the one that holds the key.

    Attributes:
        runs: every run, each after the runs that it depends on.
        content: of results/plans/<suite>/<id>.json.
        path: of that file.

    Raises:
        UserError: the configuration asks for something that cannot be.
    """

    def __init__(self, config: Mapping[str, Any], files: Sequence[str] = ()) -> None:
        self.config, self.grid = config, Grid(config, files)
        self.runs, not_applicable = self.grid.runs()
        if not self.runs:
            raise UserError(f"{self.grid.where('grid')}: names no run that makes sense")
        used = {name: list(dict.fromkeys(getattr(run, name) for run in self.runs)) for name in provenance.NAMES}
        self.protocols = self._protocols(used["dataset"])
        self.datasets = {name: self.grid.dataset(name) for name in (*used["dataset"], *self._targets())}
        self.embedded = provenance.protocol("extractor", {"extractor": config["evaluation"]["extractor"]})
        sizes = {name: self._sizes(name) for name in used["dataset"]}
        for run in self.runs:
            self._check(run, sizes[run.dataset])
        for dataset, name in dict.fromkeys(
            (run.dataset, name) for run in self.runs for name in self.protocols if self._asked(name, run)
        ):
            try:
                limits.check(self.protocols[name]["settings"], sizes[dataset])
            except UserError as error:
                raise UserError(f"{self.grid.where('evaluation')}, data set '{dataset}': {error}") from error
        axes = self._axes()
        main = config.get("main")
        if main is not None and main not in config["methods"]:
            raise unknown("method", main, config["methods"], self.grid.where("main"))
        self.content: dict[str, Any] = {
            "suite": config["suite"],
            "title": config["title"],
            "note": config["note"],
            "configfiles": [configuration.short(file) for file in files],
            "report": report_digest(),
            "evaluations": self.protocols,
            "datasets": {name: self._words("datasets", name) for name in used["dataset"]},
            "methods": {
                name: {
                    "title": config["methods"][name].get("title", name),
                    "kind": config["methods"][name].get("kind", "baseline"),
                    **sources.capabilities(name),
                }
                for name in used["method"]
            },
            "augmentations": {name: self._words("augmentations", name) for name in config["augmentations"]
                              if name in used["augmentation"]},
            "variants": {name: {"title": self._variant_title(name)} for name in used["variant"]},
            "runs": [self._entry(run) for run in self.runs],
            "not_applicable": not_applicable,
            **{key: self._published(key, used["dataset"]) for key in PUBLISHED},
            "main": main,
            **({"axes": axes} if axes else {}),
        }  # fmt: skip
        if "transfer" in self.protocols:
            self.content["transfer"] = self.protocols["transfer"]["settings"]["transfer"]["targets"]
            self.content["targets"] = {name: self._words("datasets", name) for name in self._targets()}
        self.path = f"{provenance.PLANS}/{config['suite']}/{sources.fingerprint(self.content)[: provenance.ID]}.json"

    def write(self) -> dict[str, Any]:
        """Write what is missing of the plan, its protocols, data sets' settings and runs; return the plan."""
        files: dict[str, Any] = {
            provenance.protocol_path(each): each for each in (*self.protocols.values(), self.embedded)
        }
        files |= {f"{run.path}/config.json": run.content for run in self.runs}
        for name, settings in self.datasets.items():
            files[provenance.data_path(name, settings["identity"]).replace(".safetensors", ".json")] = settings
        for path, content in files.items():
            if not Path(path).exists():
                write_json(path, content)
        write_json(self.path, self.content)  # each time: the newest plan of a suite is the one that was made last
        return self.content

    def _entry(self, run: RunConfig) -> dict[str, Any]:
        """The plan's entry of a run."""
        asked = {
            name: f"{name}-{protocol['identity'][: provenance.ID]}.json"
            for name, protocol in self.protocols.items()
            if self._asked(name, run)
        }
        return {
            **run.names,
            "run": run.path,
            "identity": run.identity,
            "steps": run.settings["training"]["steps"],
            "data": provenance.data_path(run.dataset, run.data),
            **{key: run.content[key] for key in ("upstream",) if run.upstream},
            "evaluations": asked,
        }

    def _asked(self, name: str, run: RunConfig) -> bool:
        """Whether a run gets an evaluation of the suite."""
        declared, settings = evaluation.found()[name], self.protocols[name]["settings"]
        able = declared.needs != "sample" or sources.capabilities(run.method)["samples"]
        return able and ("targets" not in declared.also or run.dataset in settings[name]["targets"])

    def inputs(self, entry: Mapping[str, Any], name: str) -> list[str]:
        """Files beside the run and its data set that an evaluation of it reads and that are made by other jobs."""
        also, settings = evaluation.found()[name].also, self.protocols[name]["settings"]
        files = []
        if "extractor" in also and "extractor" in settings:
            data = self.datasets[entry["dataset"]]["identity"]
            files.append(provenance.extractor_path(entry["dataset"], data, self.embedded))
        if "targets" in also:
            targets = settings[name]["targets"][entry["dataset"]]
            files += [provenance.data_path(target, self.datasets[target]["identity"]) for target in targets]
        return files

    def _protocols(self, datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The protocol of each evaluation that the configuration asks for."""
        asked = self.config["evaluation"]
        found = {}
        for name, declared in evaluation.found().items():
            settings = {key: asked.get(key) for key in declared.settings}
            if any(value is None for value in settings.values()):
                continue
            if "extractor" in declared.also and settings[name]["extractor"] == "embedded":
                settings["extractor"] = asked["extractor"]
            if "targets" in declared.also:
                settings[name] = self._transfer(settings[name], datasets)
                if not settings[name]["targets"]:
                    continue
            found[name] = provenance.protocol(name, settings)
        return found

    def _transfer(self, asked: Mapping[str, Any], datasets: Sequence[str]) -> dict[str, Any]:
        """The block "transfer" for the data sets of a suite, with the settings of its targets.

        Raises:
            UserError: an unknown target, or one of another image size that is not to be resized.
        """
        targets = {name: asked["targets"][name] for name in datasets if asked["targets"].get(name)}
        data = {}
        for name, listed in targets.items():
            size, place = self.config["datasets"][name]["image_size"], ("evaluation", "transfer", "targets", name)
            for target in listed:
                if target not in self.config["datasets"] or target == name:
                    known = [key for key in self.config["datasets"] if key != name]
                    raise unknown("data set", target, known, self.grid.where(*place))
                data[target] = self.grid.dataset(target)
                if data[target]["image_size"] != size and not asked["resize"]:
                    raise UserError(
                        f"{self.grid.where(*place)}: '{target}' has {data[target]['image_size']} pixels, '{name}' has"
                        f" {size} (evaluation.transfer.resize: true makes it fit)"
                    )
        return {**asked, "targets": targets, "data": data}

    def _targets(self) -> list[str]:
        transfer = self.protocols.get("transfer")
        return list(transfer["settings"]["transfer"]["data"]) if transfer else []

    def _words(self, section: str, name: str) -> dict[str, str]:
        """Title and note of a data set or an augmentation."""
        block = self.config[section][name] or {}
        return {"title": block.get("title", name), "note": block.get("note", "")}

    def _variant_title(self, name: str) -> str:
        """The title that some method's block gives a variant, or its name."""
        titles = (change[name]["title"] for change in self.grid.variants.values() if "title" in change.get(name, {}))
        return str(next(titles, name))

    def _axes(self) -> dict[str, dict[str, Any]]:
        """The axes that the grid names, with the points of each method.

        Raises:
            UserError: a data set or an augmentation changes the setting of an axis.
        """
        found: dict[str, dict[str, Any]] = {}
        for block in self.config["grid"]:
            for method in block["methods"]:
                for name in block.get("variants", ()):
                    if axis := self.grid.axes.get(method, {}).get(name):
                        self.grid.check_axis(axis, method, self.runs)
                        entry = {"title": axis.title, "file": axis.file, "monitors": list(axis.monitors), "points": {}}
                        points = [
                            {
                                "value": point.value,
                                "variant": point.variant,
                                "label": point.label,
                                "default": point.default,
                            }
                            for point in axis.points
                        ]
                        found.setdefault(name, entry)["points"][method] = points
        return found

    def _published(self, key: str, datasets: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of a file of published numbers that belong beside the data sets of the suite.

        Raises:
            UserError: the file cannot be read or breaks its schema, or a row corresponds to a name that does not exist.
        """
        if not self.config.get(key):
            return []
        file = str(sources.ROOT / self.config[key])
        content = configuration.read(file)
        configuration.validate(content, configuration.SCHEMAS / "published.schema.yaml", (), [file])
        for number, row in enumerate(content["rows"]):
            if ours := row.get("ours"):
                where = f"{configuration.short(file)}: rows.{number}.ours"
                variants = self.grid.variants.get(ours["method"], {})
                for kind, known in (("method", self.grid.methods), ("augmentation", self.config["augmentations"]),
                                    ("variant", variants)):  # fmt: skip
                    if ours[kind] not in known:
                        raise unknown(kind, ours[kind], known, where)
        shown = {self.config["datasets"][name].get("reference", name) for name in datasets}
        return [row for row in content["rows"] if row["dataset"] in shown]

    def _sizes(self, dataset: str) -> dict[str, int]:
        """Images of each part of a data set, as far as its settings or its prepared file tell."""
        settings = self.datasets[dataset]
        prepared = provenance.prepared_sizes(Path(provenance.data_path(dataset, settings["identity"])))
        asked = {part: settings.get(f"{part}_size") for part in ("train", "test")}
        return prepared or {part: size for part, size in asked.items() if isinstance(size, int)}

    def _check(self, run: RunConfig, sizes: Mapping[str, int]) -> None:
        """Refuse a run whose settings do not fit each other or its data, as far as is known."""
        settings, method = run.settings, run.settings["method"]
        batch, size = settings["training"]["batch_size"], settings["dataset"]["image_size"]
        labelled = sources.capabilities(run.method)["uses_labels"]
        images = sizes.get("train" if labelled else "unlabelled", sizes.get("train"))
        if images is not None and batch > images:
            place = self.grid.where("training", "batch_size")
            raise UserError(f"{place} = {batch}: more than the {images} training images of '{run.dataset}'")
        group = method.get("per_process") or batch
        if batch % group and batch > group:
            place = self.grid.where("methods", run.method, "settings", "per_process")
            raise UserError(f"{place} = {group}: must divide training.batch_size = {batch}")
        cluster = method.get("cluster")
        if isinstance(cluster, Mapping) and cluster.get("weight"):
            skip = int(bool(cluster.get("skip_best_for_generated")))
            candidates = min(group, batch) + cluster["bank"]
            if cluster["k"] + max(1, skip) > candidates:
                place = self.grid.where("methods", run.method, "settings", "cluster", "k")
                raise UserError(
                    f"{place} = {cluster['k']}: must be less than the {candidates} candidates of a process and the bank"
                )
        kernel = settings["augmentation"].get("blur", {}).get("kernel", 3)
        if kernel % 2 == 0 or kernel > 2 * size - 1:
            place = self.grid.where("augmentations", run.augmentation, "blur", "kernel")
            raise UserError(f"{place} = {kernel}: must be odd and at most {2 * size - 1} for images of {size} pixels")


def report_digest() -> str:
    """SHA-256 of what makes tables, figures and pages, code and prose: when it changes, they are made again."""
    total = hashlib.sha256()
    for path in sorted((sources.ROOT / "structgan" / "report").glob("[!.]*.*")):
        total.update(path.name.encode() + path.read_bytes())
    total.update(repr(evaluation.found()).encode())  # labels, units and digits of the columns
    return total.hexdigest()


def newest(suite: str) -> Path:
    """The plan of a suite that was made last.

    Raises:
        UserError: the suite was never planned here.
    """
    found = list((provenance.PLANS / suite).glob("*.json"))
    if not found:
        known = sorted(path.name for path in provenance.PLANS.glob("*") if path.is_dir())
        raise unknown("suite", suite, known, str(provenance.PLANS))
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def tabled(suite: str) -> list[Path]:
    """The plans that the tables and figures of a suite were made from, as far as they are here."""
    made = Path("results").glob(f"*/{suite}/made_from-*.json")
    paths = {provenance.PLANS / suite / f"{path.stem.removeprefix('made_from-')}.json" for path in made}
    return sorted(path for path in paths if path.exists())


def suites() -> list[Path]:
    """The newest plan of every suite.

    Raises:
        UserError: there is none.
    """
    found = [newest(folder.name) for folder in sorted(provenance.PLANS.glob("*")) if any(folder.glob("*.json"))]
    if not found:
        raise UserError(f"{provenance.PLANS}: no suite is planned here (run snakemake or structgan configure first)")
    return found


def read(path: Path) -> dict[str, Any]:
    """A plan, whole.

    Raises:
        UserError: it is missing, edited, or of another version.
    """
    found = provenance.read_json_object(path)
    if sources.fingerprint(found)[: provenance.ID] != path.stem:
        raise provenance.Damaged(f"{path}: edited or damaged, or not a plan of this version; plan again")
    return found
