"""The runs of a suite: grid, variants, axes and upstream runs, expanded. Imports no torch.

Common < data set < method < augmentation < variant gives the settings of a run. Where a grid lists variants, the name
of an axis means all of its points. A method's block, or one of its variants key by key, may name a run that has to
be finished first, ``upstream: {method, augmentation, variant}``; its data set and seed are the run's own.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from structgan import config as configuration
from structgan import pictures, provenance, sources, sweep
from structgan.errors import UserError, unknown

MOST = 100_000
"""Runs that a block of the grid may name."""
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
    upstream: "RunConfig | None" = None

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
        return provenance.identified(content)

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
        fresh: look at a person's pictures, where they have been planned before too.

    Raises:
        UserError: an unknown name, or an axis or an upstream run that makes no sense.
    """

    def __init__(self, config: Mapping[str, Any], files: Sequence[str] = (), fresh: bool = True) -> None:
        self.config, self.files = config, list(files)
        self.pictures = pictures.Record(fresh)
        self.methods: Mapping[str, Any] = config["methods"]
        self.axes = {
            method: {name: sweep.axis(config, method, name, self.where) for name in block.get("sweep", {})}
            for method, block in self.methods.items()
        }
        self.variants = {method: self._variants(method) for method in self.methods}
        self._shared: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
        self._runs: dict[tuple[Any, ...], RunConfig] = {}
        self._data: dict[str, dict[str, Any]] = {}
        for method, block in self.methods.items():
            for augmentation in block.get("not_applicable", {}):
                self.check_names(self.where("methods", method, "not_applicable"), augmentation=augmentation)
            for variant in self.variants[method]:
                self._check_upstream(method, variant)

    def _variants(self, method: str) -> dict[str, dict[str, Any]]:
        """Every variant of a method: ``base``, what its block declares and what its axes add."""
        block, path = self.methods[method], ("methods", method, "sweep")
        found = {"base": {}, **{name: change or {} for name, change in block.get("variants", {}).items()}}
        for name, axis in self.axes[method].items():
            files = [configuration.origin((*path, name), self.files)]
            for variant, change in axis.variants().items():
                if "training" in change:
                    changed = configuration.merge(self.config, {"training": change["training"]})
                    configuration.validate(changed, configuration.SCHEMAS / "config.schema.yaml", path, files)
                changed = configuration.merge(block.get("settings", {}), change.get("settings", {}))
                configuration.check_settings(method, changed, path, files)
                found[variant] = change
        return found

    def check_names(self, place: str, **names: str) -> None:
        """Refuse a name of a data set, method, augmentation or variant that the configuration lacks."""
        for kind in (kind for kind in ("dataset", *UPSTREAM) if kind in names):
            name = names[kind]
            known = self.variants[names["method"]] if kind == "variant" else self.config[f"{kind}s"]
            if name not in known:
                axes = self.axes[names["method"]] if kind == "variant" else ()
                raise unknown(kind.replace("dataset", "data set"), name, [*known, *axes], place)

    def runs(self) -> tuple[list[RunConfig], list[dict[str, str]]]:
        """Every run that the grid names, once, each after the runs that it depends on; and what is not applicable."""
        for number, block in enumerate(self.config["grid"]):
            if (count := math.prod(len(listed) for listed in block.values())) > MOST:
                raise UserError(f"{self.where('grid', str(number))}: names {count} runs (at most {MOST})")
        found: dict[str, RunConfig] = {}
        excluded: dict[tuple[str, ...], dict[str, str]] = {}
        for cell in self.cells():
            run = self.run(*cell)
            if reason := self.exclusion(run):
                names = dict(zip(provenance.NAMES, cell[:4], strict=False))
                excluded[cell[:4]] = {**names, "reason": reason}
                continue
            chain = [run]
            while above := chain[-1].upstream:
                if reason := self.exclusion(above):
                    named = "/".join((above.method, above.augmentation, above.variant))
                    place = self.where("methods", run.method, "upstream")
                    raise UserError(f"{place}: {named} is declared not applicable: {reason}")
                chain.append(above)
            found |= {each.path: found.get(each.path, each) for each in reversed(chain)}
        return list(found.values()), [excluded[key] for key in sorted(excluded)]

    def cells(self) -> Iterator[tuple[str, str, str, str, int]]:
        """Names of each combination of the grid, in its order; some may come twice."""
        for block in self.config["grid"]:
            names = (block["datasets"], block["methods"], block["augmentations"])
            for dataset, method, augmentation in itertools.product(*names):
                axes = self.axes.get(method, {})
                for name in block.get("variants", ["base"]):
                    points = [point.variant for point in axes[name].points] if name in axes else [name]
                    for variant, seed in itertools.product(points, block["seeds"]):
                        yield dataset, method, augmentation, variant, seed

    def run(self, dataset: str, method: str, augmentation: str, variant: str, seed: int) -> RunConfig:
        """One run, whether or not the grid names it."""
        names = (dataset, method, augmentation, variant)
        if (*names, seed) not in self._runs:
            if names not in self._shared:
                self._shared[names] = self._resolve(*names)
            data, settings = self._shared[names]
            above = self.upstream(method, variant)
            self._runs[(*names, seed)] = RunConfig(
                *(*names, seed),
                data,
                settings,
                sources.run_digest(method),
                self.run(dataset, above["method"], above["augmentation"], above["variant"], seed) if above else None,
            )
        return self._runs[(*names, seed)]

    def _resolve(self, dataset: str, method: str, augmentation: str, variant: str) -> tuple[str, dict[str, Any]]:
        """Identity of the data set's settings, and the settings of the run."""
        place = self.where("grid")
        self.check_names(place, dataset=dataset, method=method, augmentation=augmentation, variant=variant)
        data, own, augment = (
            self.config[section][name] or {}
            for section, name in (("datasets", dataset), ("methods", method), ("augmentations", augmentation))
        )
        change = self.variants[method][variant]
        training = self.config["training"]
        for block in (data, own, augment, change):
            training = configuration.merge(training, block.get("training", {}))
        settings = {
            "dataset": {key: value for key, value in data.items() if key not in WORDS},
            "training": training,
            "method": configuration.merge(own.get("settings", {}), change.get("settings", {})),
            "augmentation": {key: value for key, value in augment.items() if key not in WORDS},
        }
        return self.dataset(dataset)["identity"], provenance.in_order(settings)

    def dataset(self, name: str) -> dict[str, Any]:
        """What a data set is prepared from: settings, pictures, digest of the builder, and their identity."""
        if name not in self._data:
            block = self.config["datasets"][name]
            settings = {key: block[key] for key in sorted(block) if key not in WORDS}
            content = self.pictures.content(name, settings, self.where("datasets", name))
            digest = sources.builder_digest(block["builder"])
            self._data[name] = provenance.identified({"name": name, **settings, **content, "sources": digest})
        return self._data[name]

    def exclusion(self, run: RunConfig) -> str | None:
        """Why a run makes no sense, as its method's block declares, or None."""
        reason: str | None = self.methods[run.method].get("not_applicable", {}).get(run.augmentation)
        return reason

    def upstream(self, method: str, variant: str) -> dict[str, str]:
        """Method, augmentation and variant of the run that runs of a method's variant depend on; empty for most."""
        change = self.variants[method][variant].get("upstream", {})
        return {} if change is None else {**(self.methods[method].get("upstream") or {}), **change}

    def _check_upstream(self, method: str, variant: str) -> None:
        """Refuse an upstream run that has an unknown name, cannot be sampled from where it must, or is in a circle."""
        own = ("variants", variant) if "upstream" in self.variants[method][variant] else ()
        place = self.where("methods", method, *own, "upstream")
        chain = [(method, variant)]
        while True:
            needs_samples = sources.capabilities(chain[-1][0])["uses_generator"]
            named = self.upstream(*chain[-1])
            if not named:
                if needs_samples:
                    raise UserError(f"{place} is missing, and {chain[-1][0]} learns from another run's generator")
                return
            for key in UPSTREAM:
                if key not in named:
                    raise UserError(f"{place}.{key} is missing (needed: {', '.join(UPSTREAM)})")
            self.check_names(place, **named)
            if needs_samples and not sources.capabilities(named["method"])["samples"]:
                allowed = ", ".join(name for name in sorted(self.methods) if sources.capabilities(name)["samples"])
                raise UserError(f"{place}.method = {named['method']}: has no generator (allowed: {allowed})")
            chain.append((named["method"], named["variant"]))
            if chain[-1] in chain[:-1]:
                raise UserError(f"{place}: goes in a circle: {' → '.join('/'.join(each) for each in chain)}")

    def where(self, *path: str) -> str:
        """File and key, as an error begins."""
        return configuration.where(path, self.files)
