"""The plan of a suite: its runs, their evaluations, and their titles. Imports no torch.

A plan, a protocol, the settings of a data set and a run's config.json are pure functions of their paths, which end in
the identity of the content. So any planner may write one that is missing, two planners write the same bytes, and an
existing one is never changed.
"""

import contextlib
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan import checks, evaluation, provenance, published, sources, sweep, yaml_reader
from structgan import config as configuration
from structgan.errors import UserError, unknown
from structgan.evaluation import limits
from structgan.files import make_newest, write_json
from structgan.grid import Grid, RunConfig


class Plan:
    """A suite's plan.

    Args:
        config: a checked configuration.
        files: the files it came from; an error names the one that holds the key.
        fresh: look at a person's pictures, where they have been planned before too.

    Attributes:
        runs: every run, each after the runs that it depends on.
        notes: lines about values that do less than they seem to.
        content: of results/plans/<suite>/<id>.json.
        path: of that file.

    Raises:
        UserError: the configuration asks for something that cannot be.
    """

    def __init__(self, config: Mapping[str, Any], files: Sequence[str] = (), fresh: bool = True) -> None:
        self.config, self.grid = config, Grid(config, files, fresh)
        self.notes = list(configuration.hidden(config, files))
        self.runs, not_applicable = self.grid.runs()
        if not self.runs:
            raise UserError(f"{self.grid.where('grid')}: names no run that makes sense")
        used = {name: list(dict.fromkeys(getattr(run, name) for run in self.runs)) for name in provenance.NAMES}
        self.protocols = self._protocols(used["dataset"])
        self.targets = self.protocols["transfer"]["settings"]["transfer"] if "transfer" in self.protocols else {}
        targets = list(self.targets.get("data", ()))
        self.datasets = {name: self.grid.dataset(name) for name in (*used["dataset"], *targets)}
        self.embedded = provenance.protocol("extractor", {"extractor": config["evaluation"]["extractor"]})
        self._check()
        methods = self._words("methods", used["method"], kind="baseline")
        axes = self._axes()
        self.content: dict[str, Any] = {
            "suite": config["suite"],
            "title": config["title"],
            "note": config["note"],
            "configfiles": [configuration.short(file) for file in files if not file.startswith(yaml_reader.OPTION)],
            "report": report_digest(),
            "evaluations": self.protocols,
            "datasets": self._words("datasets", used["dataset"], note=""),
            "methods": {name: {**words, **sources.capabilities(name)} for name, words in methods.items()},
            "augmentations": self._words("augmentations", used["augmentation"], note=""),
            "variants": {name: {"title": self._variant_title(name)} for name in used["variant"]},
            "runs": [self._entry(run) for run in self.runs],
            "not_applicable": not_applicable,
            **{key: published.rows(self.grid, key, used["dataset"]) for key in published.KEYS},
            **{key: config.get(key) for key in ("main", "selected_by")},
            **({"axes": axes} if axes else {}),
        }
        if self.targets:
            self.content |= {"transfer": self.targets["targets"], "targets": self._words("datasets", targets, note="")}
        self.path = f"{provenance.PLANS}/{config['suite']}/{sources.fingerprint(self.content)[: provenance.ID]}.json"

    def write(self) -> dict[str, Any]:
        """Write what is missing of the plan, its protocols, data sets' settings and runs; return the plan.

        The notes go to standard error.
        Tables and figures that differ from their seal lose it, so that Snakemake makes them again.
        """
        for line in self.notes:
            print(f"structgan: note: {line}", file=sys.stderr)
        files: dict[str, Any] = {
            provenance.protocol_path(each): each for each in (*self.protocols.values(), self.embedded)
        }
        files |= {f"{run.path}/config.json": run.content for run in self.runs}
        for name, settings in self.datasets.items():
            files[provenance.data_path(name, settings["identity"]).replace(".safetensors", ".json")] = settings
        for file, content in files.items():
            if not Path(file).exists():
                write_json(file, content)
        self.grid.pictures.write()
        path = Path(self.path)
        try:
            read(path)
        except UserError:
            write_json(path, self.content)
        with contextlib.suppress(OSError):
            make_newest(path)
            for seal in Path("results").glob(f"*/{path.parent.name}/made_from-{path.stem}.json"):
                if not provenance.whole(seal):
                    seal.unlink()
        return self.content

    def _entry(self, run: RunConfig) -> dict[str, Any]:
        """The plan's entry of a run."""
        return {
            **run.names,
            "run": run.path,
            "identity": run.identity,
            "steps": run.settings["training"]["steps"],
            "data": provenance.data_path(run.dataset, run.data),
            **({"upstream": run.content["upstream"]} if run.upstream else {}),
            "evaluations": {
                name: Path(provenance.protocol_path(self.protocols[name])).name for name in self._asked(run)
            },
        }

    def _asked(self, run: RunConfig) -> list[str]:
        """The evaluations of the suite that a run gets."""
        known, samples = evaluation.found(), sources.capabilities(run.method)["samples"]
        able = [name for name in self.protocols if samples or known[name].needs != "sample"]
        targets = self.targets.get("targets", {})
        return [name for name in able if "targets" not in known[name].also or run.dataset in targets]

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
            if None in settings.values():
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
        """The block "transfer" for the data sets of a suite, with the settings of its targets."""
        checks.check_transfers(asked["targets"], self.config["datasets"].keys(), self.grid.where)
        data: dict[str, Any] = {}
        targets = {name: asked["targets"][name] for name in datasets if asked["targets"].get(name)}
        for name, target in ((name, target) for name, listed in targets.items() for target in listed):
            data[target] = self.grid.dataset(target)
            checks.check_target(self.grid.dataset(name), data[target], asked["resize"], self.grid.where)
        return {**asked, "targets": targets, "data": data}

    def _words(self, section: str, names: Iterable[str], **defaults: str) -> dict[str, dict[str, Any]]:
        """Title and other words of data sets, methods or augmentations."""
        blocks = ((name, {"title": name, **defaults}, self.config[section][name] or {}) for name in names)
        return {name: {key: block.get(key, words[key]) for key in words} for name, words, block in blocks}

    def _variant_title(self, name: str) -> str:
        """The title that some method's block gives a variant, or its name."""
        titles = (change[name]["title"] for change in self.grid.variants.values() if "title" in change.get(name, {}))
        return str(next(titles, name))

    def _axes(self) -> dict[str, dict[str, Any]]:
        """The axes that the grid names, with the points of each method."""
        found: dict[str, dict[str, Any]] = {}
        listed = [(method, block.get("variants", ())) for block in self.config["grid"] for method in block["methods"]]
        for method, name in ((method, name) for method, names in listed for name in names):
            if axis := self.grid.axes[method].get(name):
                sweep.check(axis, method, self.runs, self.grid.where)
                entry = {"title": axis.title, "file": axis.file, "monitors": list(axis.monitors), "points": {}}
                found.setdefault(name, entry)["points"][method] = [point.shown for point in axis.points]
        return found

    def _check(self) -> None:
        """Refuse settings that do not fit each other or the data, as far as is known."""
        if self.config.get("main") not in (None, *self.config["methods"]):
            raise unknown("method", self.config["main"], self.config["methods"], self.grid.where("main"))
        for name, settings in self.datasets.items():
            checks.check_scans(settings, settings, self.grid.where("datasets", name))
        images = {name: checks.sizes(settings) for name, settings in self.datasets.items()}
        for run in self.runs:
            checks.check_run(run, images[run.dataset], self.grid.where)
        alike = {(run.dataset, run.method): run for run in self.runs}.values()
        for dataset, name in dict.fromkeys((run.dataset, name) for run in alike for name in self._asked(run)):
            settings = self.protocols[name]["settings"]
            if "dense" in settings:
                checks.check_dense(settings["dense"]["images"], self.datasets[dataset], self.grid.where)
            for read in (dataset, *settings.get("transfer", {"targets": {}})["targets"].get(dataset, ())):
                try:
                    limits.check(settings, images[read])
                except UserError as error:
                    raise UserError(f"{self.grid.where('evaluation')}, data set '{read}': {error}") from error


def report_digest() -> str:
    """SHA-256 of what makes tables, figures and pages, code and prose: when it changes, they are made again."""
    total = hashlib.sha256()
    for path in sorted((sources.ROOT / "structgan" / "report").glob("[!.]*.*")):
        total.update(path.name.encode() + path.read_bytes())
    total.update(repr(evaluation.found()).encode())  # labels, units and digits of the columns
    return total.hexdigest()


def newest(suite: str) -> Path:
    """The plan of a suite that was made last; refused if the suite was never planned here."""
    known = sorted(path.name for path in provenance.PLANS.glob("*") if path.is_dir())
    found = (provenance.PLANS / suite).glob("*.json") if suite in known else ()
    if not (plans := list(found)):
        raise unknown("suite", suite, known, str(provenance.PLANS))
    return max(plans, key=lambda path: path.stat().st_mtime_ns)


def find(given: str | Path) -> Path:
    """A plan's file, or the newest plan of a suite."""
    file = str(given).endswith(".json") and not (provenance.PLANS / given).is_dir()
    return Path(given) if file else newest(str(given))


def suites() -> list[Path]:
    """The newest plan of every suite; refused if there is none."""
    found = [newest(folder.name) for folder in sorted(provenance.PLANS.glob("*")) if any(folder.glob("*.json"))]
    if not found:
        raise UserError(f"{provenance.PLANS}: no suite is planned here (run snakemake or structgan configure first)")
    return found


def read(path: Path) -> dict[str, Any]:
    """A plan; refused if it is missing, edited, or of another version."""
    found = provenance.read_json_object(path)
    if sources.fingerprint(found)[: provenance.ID] != path.stem:
        raise provenance.Damaged(f"{path}: edited or damaged, or not a plan of this version; plan again")
    return found
