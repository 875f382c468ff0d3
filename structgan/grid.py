"""The runs of a suite: grid, variants, axes and upstream runs, expanded. Imports no torch.

Common < data set < method < augmentation < variant gives the settings of a run. Where a grid lists variants, the name
of an axis means all of its points. A method's block, or one of its variants key by key, may name a run that has to
be finished first, ``upstream: {method, augmentation, variant}``; its data set and seed are the run's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from structgan import config as configuration
from structgan import provenance, sources, sweep
from structgan.errors import UserError, unknown

UPSTREAM = ("method", "augmentation", "variant")
WORDS = ("title", "note", "reference", "training")
"""Keys of a data set that do not belong to its identity: words for people, and the training of methods on it."""


@dataclass(frozen=True)
class RunConfig:
    """One run: its names, its resolved settings, the digest of its sources, and the run that it depends on.

    Attributes:
        data: identity of the data set's settings.
        settings: ``dataset``, ``training``, ``method`` and ``augmentation``.
        sources: digest of the code that trains it.
    """

    dataset: str
    method: str
    augmentation: str
    variant: str
    seed: int
    data: str
    settings: Mapping[str, Any]
    sources: str
    upstream: RunConfig | None = None

    @cached_property
    def names(self) -> dict[str, Any]:
        """Data set, method, augmentation, variant and seed."""
        return {name: getattr(self, name) for name in provenance.NAMES}

    @cached_property
    def content(self) -> dict[str, Any]:
        """The run's config.json."""
        content = {**self.names, "data": self.data, "settings": self.settings, "sources": self.sources}
        if self.upstream:
            content["upstream"] = {"run": self.upstream.path, "identity": self.upstream.identity}
        return {**content, "identity": sources.fingerprint(content)}

    @property
    def identity(self) -> str:
        """SHA-256 of all that the run depends on."""
        return str(self.content["identity"])

    @cached_property
    def path(self) -> str:
        """Its folder."""
        return provenance.run_path(self.content)


class Grid:
    """A checked configuration, with variants and axes expanded.

    Args:
        config: a checked configuration.
        files: the files it came from; an error names the one that holds the key.

    Raises:
        UserError: an axis or an upstream run that makes no sense.
    """

    def __init__(self, config: Mapping[str, Any], files: Sequence[str] = ()) -> None:
        self.config, self.files = config, list(files)
        self.methods: Mapping[str, Any] = config["methods"]
        self.axes = {
            method: {name: sweep.axis(config, method, name, self.where) for name in block.get("sweep", {})}
            for method, block in self.methods.items()
        }
        self.variants = {method: self._variants(method) for method in self.methods}
        self._shared: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
        self._runs: dict[tuple[Any, ...], RunConfig] = {}
        for method in self.methods:
            for variant in self.variants[method]:
                self._check_upstream(method, variant)

    def _variants(self, method: str) -> dict[str, dict[str, Any]]:
        """Every variant of a method: ``base``, what its block declares and what its axes add.

        Raises:
            UserError: a value of an axis breaks a schema.
        """
        block = self.methods[method]
        found = {"base": {}, **{name: change or {} for name, change in block.get("variants", {}).items()}}
        for name, axis in self.axes[method].items():
            files = [configuration.origin(("methods", method, "sweep", name), self.files)]
            path = ("methods", method, "sweep")
            for variant, change in axis.variants().items():
                if "training" in change:
                    changed = configuration.merge(self.config, {"training": change["training"]})
                    configuration.validate(changed, configuration.SCHEMAS / "config.schema.yaml", path, files)
                changed = configuration.merge(block.get("settings", {}), change.get("settings", {}))
                configuration.check_settings(method, changed, path, files)
                found[variant] = change
        return found

    def runs(self) -> tuple[list[RunConfig], list[dict[str, str]]]:
        """Every run that the grid names, once, each after the runs that it depends on; and what is not applicable.

        Raises:
            UserError: an unknown name, or an upstream run that its own method declares not applicable.
        """
        found: dict[str, RunConfig] = {}
        excluded: dict[tuple[str, ...], dict[str, str]] = {}
        for cell in self.cells():
            run = self.run(*cell)
            if reason := self.exclusion(run):
                names = dict(zip(provenance.NAMES, map(str, cell[:4]), strict=False))
                excluded[tuple(names.values())] = {**names, "reason": reason}
                continue
            chain = [run]
            while above := chain[-1].upstream:
                if reason := self.exclusion(above):
                    named = "/".join((above.method, above.augmentation, above.variant))
                    place = self.where("methods", cell[1], "upstream")
                    raise UserError(f"{place}: {named} is declared not applicable: {reason}")
                chain.append(above)
            found |= {each.path: found.get(each.path, each) for each in reversed(chain)}
        return list(found.values()), [excluded[key] for key in sorted(excluded)]

    def cells(self) -> Iterator[tuple[str, str, str, str, int]]:
        """Names of each combination of the grid, in its order; some may come twice."""
        for block in self.config["grid"]:
            for dataset, method, augmentation in itertools.product(
                block["datasets"], block["methods"], block["augmentations"]
            ):
                axes = self.axes.get(method, {})
                for name in block.get("variants", ["base"]):
                    points = [point.variant for point in axes[name].points] if name in axes else [name]
                    yield from itertools.product([dataset], [method], [augmentation], points, block["seeds"])

    def run(self, dataset: str, method: str, augmentation: str, variant: str, seed: int) -> RunConfig:
        """One run, whether or not the grid names it.

        Raises:
            UserError: an unknown name.
        """
        cell = (dataset, method, augmentation, variant, seed)
        if cell not in self._runs:
            if cell[:4] not in self._shared:
                self._shared[cell[:4]] = self._resolve(dataset, method, augmentation, variant)
            data, settings = self._shared[cell[:4]]
            named = self.upstream(method, variant)
            above = self.run(dataset, named["method"], named["augmentation"], named["variant"], seed) if named else None
            self._runs[cell] = RunConfig(*cell, data, settings, sources.run_digest(method), above)
        return self._runs[cell]

    def _resolve(self, dataset: str, method: str, augmentation: str, variant: str) -> tuple[str, dict[str, Any]]:
        """Identity of the data set's settings, and the settings of the run."""
        names = {"datasets": dataset, "methods": method, "augmentations": augmentation}
        for section, name in names.items():
            if name not in self.config[section]:
                kind = "data set" if section == "datasets" else section.removesuffix("s")
                raise unknown(kind, name, self.config[section], self.where("grid"))
        if variant not in self.variants[method]:
            known = {**self.variants[method], **self.axes[method]}
            raise unknown("variant", variant, known, f"{self.where('grid')}: methods.{method}.variants")
        blocks = [self.config[section][name] or {} for section, name in names.items()]
        change = self.variants[method][variant]
        training = dict(self.config["training"])
        for block in (*blocks, change):
            training = configuration.merge(training, block.get("training", {}))
        settings = {
            "dataset": {key: value for key, value in blocks[0].items() if key not in WORDS},
            "training": training,
            "method": configuration.merge(blocks[1].get("settings", {}), change.get("settings", {})),
            "augmentation": {key: value for key, value in blocks[2].items() if key not in WORDS},
        }
        return self.dataset(dataset)["identity"], provenance.in_order(settings)

    def dataset(self, name: str) -> dict[str, Any]:
        """What a data set is prepared from: its settings, the digest of its builder, and their identity."""
        block = self.config["datasets"][name]
        content = {"name": name, **{key: block[key] for key in sorted(block) if key not in WORDS}}
        content["sources"] = sources.builder_digest(block["builder"])
        return {**content, "identity": sources.fingerprint(content)}

    def check_axis(self, axis: sweep.Axis, method: str, runs: Sequence[RunConfig]) -> None:
        """Refuse an axis where a data set or an augmentation changes its setting: a point would not be what it says."""
        points = {point.variant: point.values for point in axis.points}
        for run in (run for run in runs if run.method == method and run.variant in points):
            for name, value in points[run.variant].items():
                node: Any = run.settings if name.startswith(sweep.TRAINING) else run.settings["method"]
                for key in name.split("."):
                    node = node[key]
                if node != value:
                    raise UserError(
                        f"{self.where('grid')}: {name} of {method} is {sweep.text(node)} on {run.dataset} under"
                        f" {run.augmentation}, where the axis has {sweep.text(value)}; leave these out of its block"
                    )

    def exclusion(self, run: RunConfig) -> str | None:
        """Why a run makes no sense, as its method's block declares, or None."""
        declared = self.methods[run.method].get("not_applicable", {})
        for name in declared:
            if name not in self.config["augmentations"]:
                place = self.where("methods", run.method, "not_applicable")
                raise unknown("augmentation", name, self.config["augmentations"], place)
        return str(declared[run.augmentation]) if run.augmentation in declared else None

    def upstream(self, method: str, variant: str) -> dict[str, str]:
        """Method, augmentation and variant of the run that runs of a method's variant depend on; empty for most."""
        change = self.variants[method][variant].get("upstream", {})
        return {} if change is None else {**(self.methods[method].get("upstream") or {}), **change}

    def _check_upstream(self, method: str, variant: str) -> None:
        """Refuse an upstream run that has an unknown name, cannot be sampled from where it must, or is in a circle."""
        path = ("methods", method, "variants", variant, "upstream")
        own = "upstream" in self.variants[method][variant]
        place = self.where(*(path if own else ("methods", method, "upstream")))
        chain = [(method, variant)]
        while True:
            named = self.upstream(*chain[-1])
            samples = sources.capabilities(chain[-1][0])["uses_generator"]
            if not named and samples:
                raise UserError(f"{place} is missing, and {chain[-1][0]} learns from another run's generator")
            if not named:
                return
            for key in UPSTREAM:
                if key not in named:
                    raise UserError(f"{place}.{key} is missing (needed: {', '.join(UPSTREAM)})")
            if named["method"] not in self.methods:
                raise unknown("method", named["method"], self.methods, place)
            if named["augmentation"] not in self.config["augmentations"]:
                raise unknown("augmentation", named["augmentation"], self.config["augmentations"], place)
            if named["variant"] not in self.variants[named["method"]]:
                raise unknown("variant", named["variant"], self.variants[named["method"]], place)
            if samples and not sources.capabilities(named["method"])["samples"]:
                allowed = ", ".join(name for name in sorted(self.methods) if sources.capabilities(name)["samples"])
                raise UserError(f"{place}.method = {named['method']}: has no generator (allowed: {allowed})")
            chain.append((named["method"], named["variant"]))
            if chain[-1] in chain[:-1]:
                raise UserError(f"{place}: goes in a circle: {' → '.join('/'.join(each) for each in chain)}")

    def where(self, *path: str) -> str:
        """File and key, as an error begins."""
        return configuration.where(path, self.files)
