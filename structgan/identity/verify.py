"""Recompute every checksum of a suite: data, extractors, runs, metrics, tables; then set file times by verdict.

A file is sound where its bytes have the checksum that was written with them, and it was made from the very files, under
the identity, that its neighbours hold now. Whatever is wrong is told at the file where it begins; what was made from
that file is planned again along with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from structgan import datasets, sources
from structgan.errors import UserError
from structgan.evaluation import extractor
from structgan.files import read_json, sha256
from structgan.identity import protocol, seal, standing, times
from structgan.identity.times import Finding, Rung
from structgan.progress import Progress

KEYS = ("suite", "evaluation", "datasets", "methods", "cells")
HEAD = 4096
"""Bytes of a page within which it says what it was made from."""


class Suite:
    """The files of one suite as they lie on the disk, and what is wrong with each.

    Args:
        plan_file: results/runs/<suite>/plan.json; its paths are relative to the folder that holds ``results``.

    Raises:
        UserError: the plan is missing, damaged or lies elsewhere.
    """

    def __init__(self, plan_file: Path) -> None:
        self.plan_file = plan_file
        self.plan = read_json(plan_file)
        for key in KEYS:
            if not isinstance(self.plan, dict) or key not in self.plan:
                raise UserError(f"{plan_file}: key '{key}' is missing (needed: {', '.join(KEYS)})")
        if plan_file.absolute().parts[-4:-2] != ("results", "runs"):
            raise UserError(f"{plan_file}: must lie at results/runs/SUITE/plan.json, which its paths are relative to")
        self.folder = plan_file.parent
        self.root = plan_file.absolute().parents[3]
        self.root = self.root.relative_to(Path.cwd()) if self.root.is_relative_to(Path.cwd()) else self.root
        self.hashes: dict[str, str] = {}
        self.digests: dict[Path, str] = {}
        self.depths = standing.depths(self.plan["cells"])
        self.deepest = max(self.depths.values(), default=0)

    def findings(self) -> Iterator[Finding]:
        """Every file that the plan knows and that exists, in the order of making."""
        yield Finding(self.plan_file, Rung.SETTINGS, None)
        for kind in self.plan["evaluation"]:
            path = self.folder / "protocol" / f"{kind}.json"
            yield Finding(path, Rung.SETTINGS, self.protocol_problem(path, kind))
        for name in standing.images(self.plan):
            yield from self.data(name)
        for cell in self.plan["cells"]:
            yield from self.run(self.root / cell["run"], cell)
        yield from self.report()

    def protocol_problem(self, path: Path, kind: str) -> str | None:
        """Whether a protocol is the one that the plan names."""
        found = standing.optional(path)
        whole = {"settings", "sources"} <= found.keys()
        same = whole and protocol.mark(found) == self.plan["evaluation"][kind]
        return None if same else "not the protocol that plan.json names: plan again"

    def data(self, name: str) -> Iterator[Finding]:
        """A prepared data set, its settings, and the extractor that was trained on it."""
        path = self.root / f"data/prepared/{name}.safetensors"
        settings = path.with_suffix(".json")
        yield Finding(settings, Rung.SETTINGS, None)
        if path.exists():
            yield Finding(path, Rung.DATA, self.data_problem(path, name, settings))
        trained = self.folder / name / "extractor.safetensors"
        if trained.exists():
            yield Finding(trained, Rung.EXTRACTOR, self.extractor_problem(trained, name))

    def data_problem(self, path: Path, name: str, settings: Path) -> str | None:
        """Content hash and settings of a prepared data set; what is sound is remembered in ``hashes``."""
        try:
            self.hashes[name] = datasets.load(path, verify=True).content_hash
            same = standing.header(path).get("identity") == sources.fingerprint(read_json(settings))
        except UserError as error:
            return standing.clause(error, path)
        return None if same else f"prepared with other settings or sources than {settings.name} asks for"

    def extractor_problem(self, path: Path, name: str) -> str | None:
        """Weights, data and settings of an embedded extractor."""
        try:
            trained = extractor.load(path)
        except UserError as error:
            return standing.clause(error, path)
        if name in self.hashes and trained.content_hash != self.hashes[name]:
            return f"trained on another '{name}' than data/prepared holds"
        found = standing.header(path)
        same = all(found.get(key) == value for key, value in self.plan["evaluation"]["extractor"].items())
        return None if same else "trained under another protocol or by other sources"

    def run(self, run: Path, cell: Mapping[str, Any]) -> Iterator[Finding]:
        """A run: its configuration, what its training wrote, and its metrics."""
        config = run / "config.json"
        if not config.exists():
            return
        problem = standing.planned(config, cell["identity"])
        yield Finding(config, Rung.SETTINGS, problem)
        env = run / "env.json"
        if not env.exists() or problem:
            return
        record, problem = self.training(env, cell)
        rung = Rung.RUN + self.depths[cell["run"]]
        yield Finding(env, rung, problem)
        names = ("history.json", "encoder.safetensors", "generator.safetensors")
        stored = record.get("checksums", {}).get("files", dict.fromkeys(names))
        damaged = ""
        for name, digest in stored.items():
            if (run / name).exists():
                wrong = digest is not None and self.digest(run / name) != digest
                text = "damaged, its bytes do not have the checksum that env.json holds" if wrong else None
                yield Finding(run / name, rung, text if text or problem is None else "")
                damaged = text or damaged
        problem = problem or damaged or None
        for kind in standing.asked(self.plan, cell):
            if (run / f"{kind}.json").exists():
                yield from self.metric(run / f"{kind}.json", cell, problem)

    def training(self, env: Path, cell: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """A run's env.json, and whether it is of the plan's identity and of the images at hand."""
        try:
            record, problem = seal.read(env)
        except UserError as error:
            return {}, standing.clause(error, env)
        if problem:
            return record, problem
        if record.get("identity") != cell["identity"]:
            return record, f"trained as {str(record.get('identity'))[:12]}, the plan is {cell['identity'][:12]}"
        found, name = record.get("dataset", {}).get("content_hash"), cell["dataset"]
        if name in self.hashes and found != self.hashes[name]:
            return record, f"trained on another '{name}' than data/prepared holds"
        if "upstream" in cell:
            above = standing.optional(self.root / cell["upstream"]["run"] / "env.json")
            return record, standing.strayed(record, above)
        return record, None

    def metric(self, path: Path, cell: Mapping[str, Any], trained: str | None) -> Iterator[Finding]:
        """A metric file and its pictures; of a run that is not sound only the metric's own bytes count."""
        try:
            record, problem = seal.read(path)
        except UserError as error:
            record, problem = {}, standing.clause(error, path)
        if problem is None and trained is None:
            problem = self.measured(path, record, cell)
        rung = Rung.METRIC + self.depths[cell["run"]]
        yield Finding(path, rung, problem if problem or trained is None else "")
        for name, digest in record.get("checksums", {}).get("files", {}).items():
            if (path.parent / name).exists():
                wrong = self.digest(path.parent / name) != digest
                text = f"damaged, its bytes do not have the checksum that {path.name} holds" if wrong else None
                yield Finding(path.parent / name, rung, text)

    def measured(self, path: Path, record: Mapping[str, Any], cell: Mapping[str, Any]) -> str | None:
        """Whether a metric file was measured on this run, these images, with this protocol and extractor."""
        fault = standing.fault(record, cell["identity"], self.plan["evaluation"].get(path.stem))
        if fault:
            return fault
        for name, seen in {cell["dataset"]: record["dataset"]["content_hash"], **record.get("targets", {})}.items():
            if self.hashes.get(name, seen) != seen:
                return f"measured on another '{name}' than data/prepared holds"
        for name, digest in record["checksums"]["inputs"].items():
            if (path.parent / name).exists() and self.digest(path.parent / name) != digest:
                return f"measured with another {name}"
        trained = self.folder / cell["dataset"] / "extractor.safetensors"
        if record.get("protocol", {}).get("extractor") != "embedded" or not trained.exists():
            return None
        same = standing.header(trained).get("sha256") == record["protocol"].get("extractor_sha256")
        return None if same else "measured with another extractor"

    def report(self) -> Iterator[Finding]:
        """Tables, figures and page: whether they were made from the results as they are now."""
        now = seal.results(self.plan_file, [self.root / cell["run"] for cell in self.plan["cells"]])
        for kind in ("tables", "figures"):
            made = self.root / "results" / kind / self.plan["suite"] / "made_from.json"
            if not made.exists():
                continue
            try:
                record, problem = seal.read(made)
            except UserError as error:
                record, problem = {}, standing.clause(error, made)
            if problem is None and record["include_stale"]:
                problem = f"{kind} made with stale numbers"
            if problem is None and record["checksums"]["inputs"].get("results") != now:
                problem = f"{kind} made from other results than these"
            rung = Rung.TABLE + self.deepest
            yield Finding(made, rung, problem)
            for name, digest in record.get("checksums", {}).get("files", {}).items():
                if (made.parent / name).exists():
                    wrong = self.digest(made.parent / name) != digest
                    text = "edited or damaged since it was made" if wrong else None
                    yield Finding(made.parent / name, rung, text if text or problem is None else "")
        page = self.root / "results/report" / f"{self.plan['suite']}.html"
        if page.exists():
            head = page.read_bytes()[:HEAD].decode("utf-8", "replace")
            found = re.search(r'name="structgan:made-from" content="(\w+)"', head)
            same = found is not None and found[1] == now
            yield Finding(page, Rung.PAGE + self.deepest, None if same else "made from other results than these")

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes, computed once."""
        if path not in self.digests:
            self.digests[path] = sha256(path)
        return self.digests[path]


def suite(plan_file: Path) -> list[str]:
    """Verify one suite, set its file times, and return one line per file that is damaged or stale.

    Raises:
        UserError: the plan is missing or damaged.
    """
    found: list[Finding] = []
    checked = Suite(plan_file)
    with Progress(f"verify {checked.plan['suite']}", len(checked.plan["cells"]), "run") as progress:
        for finding in checked.findings():
            found.append(finding)
            if finding.path.name == "config.json":
                progress.advance()
    times.stamp(found)
    print(f"{plan_file}: {len(found)} files verified", file=sys.stderr)
    return [f"{finding.path}: {finding.problem}" for finding in found if finding.problem]
