"""Recompute every checksum of a suite: data, extractors, runs, evaluations, tables, figures and page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from structgan import datasets, evaluation, plan, provenance
from structgan.errors import UserError
from structgan.evaluation import extractor
from structgan.progress import Progress


class Finding(NamedTuple):
    """One fault: the file, what is wrong, and what to delete so that Snakemake makes it again."""

    problem: str
    delete: tuple[Path, ...] = ()


class Suite:
    """The files of one suite.

    Args:
        file: its plan.

    Attributes:
        checked: how many files were looked at.

    Raises:
        UserError: the plan is missing or damaged.
    """

    def __init__(self, file: Path) -> None:
        self.plan, self.tree, self.checked = plan.read(file), file.absolute().parents[3], 0
        self.tree = self.tree.relative_to(Path.cwd()) if self.tree.is_relative_to(Path.cwd()) else self.tree
        self.contents: dict[str, str] = {}
        self.started = any((self.tree / entry["run"] / "env.json").exists() for entry in self.plan["runs"])

    def findings(self) -> Iterator[Finding]:
        """Every fault, data first, then runs, then tables; none of a suite that was never begun."""
        for file in sorted({entry["data"] for entry in self.plan["runs"]}):
            yield from self.data(self.tree / file)
        with Progress(f"verify {self.plan['suite']}", len(self.plan["runs"]), "run") as progress:
            for entry in self.plan["runs"]:
                yield from self.run(self.tree / entry["run"], entry)
                progress.advance()
        for kind in ("tables", "figures"):
            yield from self.made(self.tree / "results" / kind / self.plan["suite"], "made_from-*.json")
        yield from self.made(self.tree / "results/report", f"{self.plan['suite']}.json")

    def data(self, path: Path) -> Iterator[Finding]:
        """A prepared data set: its bytes, and whether it was prepared from the settings that its name says."""
        if not path.exists():
            if self.started:
                yield Finding(f"{path}: missing")
            return
        self.checked += 1
        try:
            found = datasets.load(path, verify=True)
            self.contents[str(path)] = found.content_hash
            settings = provenance.read_identified(path.with_suffix(".json"))
            if found.identity != settings["identity"]:
                yield Finding(f"{path}: prepared from other settings than {path.stem}.json", (path,))
        except provenance.Damaged as error:
            yield Finding(str(error), (path.with_suffix(".json"),))
        except UserError as error:
            yield Finding(str(error), (path,) if path.with_suffix(".json").exists() else ())

    def run(self, run: Path, entry: Mapping[str, Any]) -> Iterator[Finding]:
        """A run: its configuration, what its training wrote, and its evaluations."""
        env = run / "env.json"
        if not env.exists():
            if (run / "encoder.safetensors").exists():
                yield Finding(f"{env}: missing")
            return
        try:
            provenance.read_config(run)
        except UserError as error:
            yield Finding(str(error), (run / "config.json",))
            return
        try:
            trained = provenance.read_training(run)
        except UserError as error:
            yield Finding(str(error), (env,))
            return
        self.checked += 2
        content = self.contents.get(str(self.tree / entry["data"]), trained["dataset"]["content_hash"])
        if trained["dataset"]["content_hash"] != content:
            yield Finding(f"{env}: trained on other images than {entry['data']} holds", (env,))
        yield from self.companions(run, trained, env)
        if above := entry.get("upstream"):
            yield from self.upstream(env, trained, self.tree / above["run"])
        for name, file in entry["evaluations"].items():
            yield from self.evaluation(run, name, file, trained)

    def companions(self, run: Path, record: Mapping[str, Any], owner: Path) -> Iterator[Finding]:
        """The files that were written with a record."""
        for name in record["checksums"]["files"]:
            self.checked += 1
            try:
                provenance.read_companion(run, record, name)
            except UserError as error:
                yield Finding(str(error), (run / name, owner))

    def upstream(self, env: Path, trained: Mapping[str, Any], above: Path) -> Iterator[Finding]:
        """Whether a run was trained with the weights that its upstream run has now."""
        try:
            now = provenance.read_training(above)["checksums"]["files"]
        except UserError as error:
            yield Finding(f"{env}: its upstream run cannot be read: {error}")
            return
        if any(now.get(name) != digest for name, digest in trained["upstream"]["files"].items()):
            yield Finding(f"{env}: trained with other weights than {above} holds now", (env,))

    def evaluation(self, run: Path, name: str, file: str, trained: Mapping[str, Any]) -> Iterator[Finding]:
        """An evaluation: its seal, its companions, its data sets and its extractor."""
        path = run / file
        if not path.exists():
            yield Finding(f"{path}: missing")
            return
        self.checked += 1
        try:
            record = provenance.read_evaluation(run, file, trained)
        except UserError as error:
            yield Finding(str(error), (path,))
            return
        yield from self.companions(run, record, path)
        if record["dataset"]["content_hash"] != trained["dataset"]["content_hash"]:
            yield Finding(f"{path}: measured on other images than the run was trained on", (path,))
        if "extractor" in evaluation.found()[name].also and (used := record["protocol"].get("extractor_sha256")):
            settings = self.plan["evaluations"][name]["settings"]
            if "extractor" in settings:
                planned = provenance.protocol("extractor", {"extractor": settings["extractor"]})
                where = provenance.extractor_path(
                    trained["dataset"]["name"], provenance.read_config(run)["data"], planned
                )
                yield from self.extractor(self.tree / where, used, path)

    def extractor(self, file: Path, used: str, path: Path) -> Iterator[Finding]:
        """Whether an extractor is whole and the one that an evaluation used."""
        if str(file) not in self.contents:
            self.checked += 1
            try:
                self.contents[str(file)] = extractor.load(file).sha256
            except UserError as error:
                self.contents[str(file)] = ""
                yield Finding(str(error), (file,))
        if self.contents[str(file)] not in ("", used):
            yield Finding(f"{path}: measured with another extractor than {file}", (path,))

    def made(self, folder: Path, pattern: str) -> Iterator[Finding]:
        """Tables, figures or a page: whether they are as they were made."""
        for path in sorted(folder.glob(pattern)):
            self.checked += 1
            try:
                record = provenance.read_sealed(path)
            except UserError as error:
                yield Finding(str(error), (path,))
                continue
            yield from self.companions(folder, record, path)


def suite(file: Path, delete: bool = False) -> list[str]:
    """Verify one suite and return a line for each fault.

    Args:
        file: its plan.
        delete: delete what is damaged, so that Snakemake makes it again.

    Raises:
        UserError: the plan is missing or damaged, or a file cannot be deleted.
    """
    checked = Suite(file)
    found = list(checked.findings())
    for finding in found if delete else ():
        for path in finding.delete:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"{path}: cannot be deleted: {error.strerror}") from error
    print(f"{checked.plan['suite']}: {checked.checked} files verified", file=sys.stderr)
    return [finding.problem for finding in found]
