"""Real DVC, git and Snakemake on two runs: what is made again, what is recorded, what a fresh clone plans."""

import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import pytest
from tree import ROOT, Tree

PARTS = (".gitignore", "dvc.yaml", ".dvc/config", ".dvc/plots", ".dvc/.gitignore", ".dvcignore")
SUITE = "workflow/config/small.yaml"
GAN, RANDOM = (f"results/runs/digits_gradient/{name}/none/base/seed=0" for name in ("plain_gan", "random"))
REPORT, LEARNING_RATE = {"table", "plot", "report"}, "discriminator: {lr: 1.0e-3}"
pytestmark = pytest.mark.slow


class Repository(Tree):
    """A working tree under git and DVC, and the commands that a user types in it."""

    def environment(self, **variables: str) -> dict[str, str]:
        own = {
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc/tmp/site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.root / ".dvc/tmp/global"),
        }
        return super().environment(**own, **variables)

    def run(self, *command: str, code: int = 0) -> str:
        return self.call(*command, code=code).stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def stages_run(self) -> list[str]:
        """Stages that one `dvc repro` runs."""
        return re.findall(r"^Running stage '(\w+)'", self.dvc("repro"), re.MULTILINE)

    def verify(self, code: int = 0) -> list[str]:
        return self.run(sys.executable, "-m", "structgan", "verify", code=code).splitlines()

    def plans(self) -> set[str]:
        """Rules of which Snakemake plans a job, but for the tables."""
        return set(self.planned(configs=(SUITE,))) - REPORT

    def trained(self) -> dict[str, str]:
        """Each trained run and the file that holds its encoder, which is a new one after each training."""
        return {
            str(path.parent.relative_to(self.root)): f"{path.stat().st_ino} {path.stat().st_mtime_ns}"
            for path in self.root.glob("results/runs/digits_gradient/*/*/*/seed=*/*/encoder.safetensors")
        }

    def of(self, start: str) -> Path:
        """The folder of the only run below one of its parents."""
        (found,) = (self.root / run for run in self.trained() if run.startswith(start))
        return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose suite was made by `dvc repro`, committed and pushed."""
    made = Repository.copy(tmp_path_factory.mktemp("group") / "structgan", *PARTS)
    shutil.copy2(ROOT / "tests/small_suite.yaml", made.root / SUITE)
    made.edit("dvc.yaml", "suite: demo", "suite: small")
    made.edit("dvc.yaml", "configfile: workflow/config/demo.yaml", f"configfile: {SUITE}")
    made.run("git", "init", "--quiet")
    made.run("git", "config", "user.name", "A Tester")
    made.run("git", "config", "user.email", "tester@example.org")
    made.commit("sources")
    assert made.stages_run() == ["data", "runs", "tables"]
    made.commit("results")
    made.dvc("push")
    return made


@pytest.fixture
def clone(recorded: Repository) -> Repository:
    """A fresh clone beside the repository, so that it has the same default remote, with what was pushed."""
    folder = recorded.root.parent / f"clone-{len(list(recorded.root.parent.iterdir()))}"
    recorded.run("git", "clone", "--quiet", ".", str(folder))
    fresh = Repository(folder)
    fresh.dvc("pull")
    return fresh


def test_the_first_repro_trains_and_the_second_does_nothing(recorded: Repository) -> None:
    assert sorted(recorded.trained()) == sorted(
        str(recorded.of(run).relative_to(recorded.root)) for run in (GAN, RANDOM)
    )
    before = recorded.trained()
    assert recorded.stages_run() == []
    assert recorded.trained() == before
    assert recorded.run("git", "status", "--porcelain") == ""


def test_what_only_training_needs_is_neither_versioned_nor_deleted(recorded: Repository, tmp_path: Path) -> None:
    tree = recorded.copied(tmp_path / "tree")
    run, other = tree.of(GAN), tree.of(RANDOM)
    for name in ("state.previous.safetensors", "progress.json", "lock"):
        (run / name).write_text("of a training process")
    kept = ["state.safetensors", "state.previous.safetensors", "progress.json", "lock", "train.log"]
    before = {name: (run / name).read_bytes() for name in kept}
    weights = (run / "encoder.safetensors").read_bytes()
    (run / "encoder.safetensors").unlink()
    tree.dvc("checkout")
    assert (run / "encoder.safetensors").read_bytes() == weights
    shutil.rmtree(other)
    tree.dvc("checkout", "--force")
    assert (other / "encoder.safetensors").exists()
    assert {name: (run / name).read_bytes() for name in kept} == before
    listed = {entry["path"] for entry in json.loads(tree.dvc("ls", "--json", "--recursive", ".", "results/runs"))}
    assert str((run / "encoder.safetensors").relative_to(tree.root / "results/runs")) in listed
    assert not [path for path in listed if Path(path).name in kept]


def test_a_fresh_clone_trains_and_measures_nothing_whatever_its_file_times(clone: Repository) -> None:
    chance, before = random.Random(0), clone.trained()
    for path in (path for part in ("data", "results") for path in (clone.root / part).rglob("*") if path.is_file()):
        os.utime(path, (chance.uniform(1e9, 1.7e9),) * 2)
    assert clone.plans() == set()
    assert clone.verify() == []
    assert clone.stages_run() == []
    assert set(clone.trained()) == set(before)


def test_another_suite_leaves_the_runs_of_the_first(recorded: Repository, tmp_path: Path) -> None:
    tree = recorded.copied(tmp_path / "tree")
    before, report = tree.trained(), tree.root / "results/report/small.html"
    other = tree.root / "workflow/config/other.yaml"
    other.write_text((tree.root / SUITE).read_text().replace("suite: small", "suite: other"))
    tree.edit("dvc.yaml", "suite: small", "suite: other")
    tree.edit("dvc.yaml", f"configfile: {SUITE}", "configfile: workflow/config/other.yaml")
    assert "tables" in tree.stages_run()
    tree.dvc("checkout")
    assert tree.trained() == before and report.exists()
    assert (tree.root / "results/tables/other/representation.csv").exists()


@pytest.mark.faults
def test_a_value_changed_in_a_fresh_clone_is_trained_and_recorded(clone: Repository) -> None:
    """The old run stays beside the new one; the tables have the new one."""
    before, old = clone.trained(), clone.of(GAN)
    clone.edit(SUITE, LEARNING_RATE, "discriminator: {lr: 0.02}")
    assert clone.stages_run() == ["runs", "tables"]
    after = clone.trained()
    (new,) = (clone.root / run for run in after if run not in before)
    assert {run: after[run] for run in before} == before and new.parent == old.parent
    config = json.loads((new / "config.json").read_text())
    assert config["settings"]["method"]["optimizer"]["discriminator"]["lr"] == 0.02
    assert clone.verify() == [] and clone.stages_run() == []

    params = json.loads(clone.dvc("params", "diff", "--json"))
    changed = {"old": 0.001, "new": 0.02}
    assert {key: {side: entry[side] for side in changed} for key, entry in params[SUITE].items()} == {
        "methods.plain_gan.settings.optimizer.discriminator.lr": changed
    }
    metrics = json.loads(clone.dvc("metrics", "diff", "--json"))["results/tables/small/metrics.json"]
    linear = metrics["digits_gradient.plain_gan.none.base.linear"]
    (file,) = new.glob("probe-*.json")
    probe = json.loads(file.read_text())
    assert linear["new"] == pytest.approx(probe["metrics"]["linear"]["top1"]) and linear["old"] != linear["new"]
    assert not [key for key in metrics if ".random." in key]
    plots = json.loads(clone.dvc("plots", "diff", "--split", "--json"))
    assert "errors" not in plots and len(plots["data"]) == 2
    for name, column in (("training", "value"), ("representation", "linear_mean")):
        (plot,) = plots["data"][f"results/tables/small/{name}.csv"]
        points = plot["anchor_definitions"]["<DVC_METRIC_DATA>"]
        old_values, new_values = ([p[column] for p in points if p["rev"] == rev] for rev in ("HEAD", "workspace"))
        assert len(old_values) == len(new_values) > 0 and old_values != new_values


def test_damage_is_named_by_file_and_made_again(clone: Repository) -> None:
    assert clone.plans() == set()
    (data,) = (clone.root / "data/prepared").glob("digits_gradient-*.safetensors")
    encoder, table = clone.of(RANDOM) / "encoder.safetensors", clone.root / "results/tables/small/representation.csv"
    for path in (encoder, data):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.unlink()  # it may be a link into DVC's cache
        path.write_bytes(content)
    (probe,) = clone.of(GAN).glob("probe-*.json")
    record = json.loads(probe.read_text()) | {"metrics": {"linear": {"top1": 0.999}}}
    probe.write_text(json.dumps(record))
    table.write_text(table.read_text() + "\n")
    lines = clone.verify(code=1)
    wrong = {str(path.relative_to(clone.root)) for path in (data, probe, table, encoder)}
    assert {line.split(": ")[0] for line in lines} == wrong and len(lines) == len(wrong)
    assert clone.run(sys.executable, "-m", "structgan", "verify", "--delete", code=1).splitlines() == lines
    assert {"prepare", "train", "evaluate"} <= clone.plans()
    clone.dvc("checkout", "--force")
    assert clone.verify() == [] and clone.plans() == set()


@pytest.mark.faults
def test_an_experiment_sets_a_value_on_the_command_line(recorded: Repository, tmp_path: Path) -> None:
    tree = recorded.copied(tmp_path / "tree")
    before = tree.trained()
    tree.dvc("exp", "run", "--name", "longer", "--set-param", f"{SUITE}:training.steps=8")
    (new,) = (tree.root / run for run in tree.trained() if run not in before and run.startswith(GAN))
    assert json.loads((new / "env.json").read_text())["steps"] == 8
    assert "longer" in tree.dvc("exp", "list", "--name-only")
