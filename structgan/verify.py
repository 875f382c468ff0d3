"""Recompute every checksum of a suite: protocols, data, extractors, runs, evaluations, tables, figures and page."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from structgan import datasets, evaluation, plan, provenance
from structgan.errors import UserError
from structgan.evaluation import extractor
from structgan.progress import Progress
from structgan.training import checkpoint

T = TypeVar("T")


class Suite:
    """The files of one suite.

    Attributes:
        checked: how many files were looked at.
        problems: a line for each fault, which names the file.
        damaged: what to delete, so that Snakemake makes it again.
    """

    def __init__(self, file: Path) -> None:
        self.plan, self.tree = plan.read(file), provenance.tree_of_plan(file)
        self.checked = 0
        self.problems: list[str] = []
        self.damaged: list[Path] = []
        self.contents: dict[Path, str] = {}

    def blame(self, problem: object, *damaged: Path) -> None:
        """Record a fault."""
        self.problems.append(str(problem))
        self.damaged += damaged

    def attempt(self, read: Callable[..., T], *arguments: Any, damaged: tuple[Path, ...]) -> T | None:
        """What a reader returns; None where it refuses, which is a fault."""
        self.checked += 1
        try:
            return read(*arguments)
        except UserError as error:
            self.blame(error, *damaged)
            return None

    def verify(self) -> None:
        """Look at everything: data first, then runs, then tables; an unfinished suite has no faults."""
        started = any((self.tree / entry["run"] / "env.json").exists() for entry in self.plan["runs"])
        protocols = {self.tree / provenance.protocol_path(each) for each in self.plan["evaluations"].values()}
        for path in sorted(protocols.union((self.tree / provenance.PROTOCOLS).glob("extractor-*.json"))):
            self.attempt(provenance.read_identified, path, damaged=(path,))
        for data in sorted({self.tree / entry["data"] for entry in self.plan["runs"]}):
            if data.exists():
                self.data(data)
            elif started:
                self.blame(f"{data}: missing")
        with Progress(f"verify {self.plan['suite']}", len(self.plan["runs"]), "run") as progress:
            for entry in self.plan["runs"]:
                self.run(self.tree / entry["run"], entry)
                progress.advance()
        results, suite = self.tree / "results", self.plan["suite"]
        seals = [results / f"report/{suite}.json"] if any(results.glob(f"report/{suite}.*")) else []
        for folder in (results / "tables" / suite, results / "figures" / suite):
            seals += (found := sorted(folder.glob("made_from-*.json")))
            if not found and any(folder.glob("*.*")):
                self.blame(f"{folder}: no made_from-….json holds the checksums of its files")
        for path in seals:
            if record := self.attempt(provenance.read_sealed, path, damaged=(path,)):
                self.companions(record, path)

    def data(self, path: Path) -> None:
        """A prepared data set: its bytes, and whether it was prepared from the settings that its name says."""
        asked = path.with_suffix(".json")
        found = self.attempt(partial(datasets.load, path, verify=True), damaged=(path,) if asked.exists() else ())
        settings = self.attempt(provenance.read_identified, asked, damaged=(asked,))
        if found:
            self.contents[path] = found.content_hash
        if found and settings and found.identity != settings["identity"]:
            self.blame(f"{path}: prepared from other settings than {path.stem}.json", path)

    def run(self, run: Path, entry: Mapping[str, Any]) -> None:
        """A run: its configuration, what its training wrote, and its evaluations."""
        env = run / "env.json"
        if not env.exists():
            if (run / "encoder.safetensors").exists():
                self.blame(f"{env}: missing")
            return
        config = self.attempt(provenance.read_config, run, damaged=(run / "config.json",))
        trained = config and self.attempt(provenance.read_training, run, damaged=(env,))
        if not config or not trained:
            return
        content = trained["dataset"]["content_hash"]
        if content != self.contents.get(self.tree / entry["data"], content):
            self.blame(f"{env}: trained on other images than {entry['data']} holds", env)
        self.companions(trained, env)
        states = checkpoint.States(run, {"identity": entry["identity"]})
        for path in (path for path in (states.path, states.previous) if path.exists()):
            self.attempt(states.read, path, damaged=(path,))
        if above := entry.get("upstream"):
            self.upstream(env, trained, self.tree / above["run"])
        for name, file in entry["evaluations"].items():
            if not (run / file).exists():
                self.blame(f"{run / file}: missing")
            elif record := self.attempt(provenance.read_evaluation, run, file, trained, damaged=(run / file,)):
                self.companions(record, run / file)
                if record["dataset"]["content_hash"] != content:
                    self.blame(f"{run / file}: measured on other images than the run was trained on", run / file)
                if "extractor" in evaluation.found()[name].also:
                    self.extractor(run / file, record, config, self.plan["evaluations"][name]["settings"])

    def companions(self, record: Mapping[str, Any], owner: Path) -> None:
        """The files that were written with a record."""
        for name in record["checksums"]["files"]:
            path = owner.with_name(name)
            self.attempt(provenance.read_companion, owner.parent, record, name, damaged=(path, owner))

    def upstream(self, env: Path, trained: Mapping[str, Any], above: Path) -> None:
        """Whether a run was trained with the weights that its upstream run has now."""
        try:
            now = provenance.read_training(above)["checksums"]["files"]
        except UserError as error:
            self.blame(f"{env}: its upstream run cannot be read: {error}")
            return
        if any(now.get(name) != digest for name, digest in trained["upstream"]["files"].items()):
            self.blame(f"{env}: trained with other weights than {above} holds now", env)

    def extractor(
        self, path: Path, record: Mapping[str, Any], config: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        """Whether the extractor that an evaluation used, if any, is whole and still the same."""
        used = record["protocol"].get("extractor_sha256")
        if not used or "extractor" not in settings:
            return
        planned = provenance.protocol("extractor", {"extractor": settings["extractor"]})
        file = self.tree / provenance.extractor_path(config["dataset"], config["data"], planned)
        if file not in self.contents:
            found = self.attempt(extractor.load, file, damaged=(file,))
            self.contents[file] = found.sha256 if found else ""
        if self.contents[file] not in ("", used):
            self.blame(f"{path}: measured with another extractor than {file}", path)


def suite(file: Path, delete: bool = False) -> list[str]:
    """Verify the suite of a plan and return a line for each fault; ``delete`` what is damaged."""
    try:
        found = Suite(file)
    except provenance.Damaged as error:
        return [str(error)]
    found.verify()
    for path in found.damaged if delete else ():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be deleted: {error.strerror}") from error
    print(f"{found.plan['suite']}: {found.checked} files verified", file=sys.stderr)
    return found.problems
