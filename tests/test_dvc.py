"""Real DVC, git and Snakemake on two runs: what is made again, what is recorded, what a fresh clone plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "structgan", "baselines", "workflow", "dvc.yaml", ".dvc/config", ".dvc/plots", ".dvc/.gitignore")
PARTS += (".dvcignore", ".gitignore", "pyproject.toml")
SUITE = "workflow/config/small.yaml"
GAN = "results/runs/small/digits/plain_gan/none/base/seed=0"
RANDOM = "results/runs/small/digits/random/none/base/seed=0"
LEARNING_RATE = "discriminator: {lr: 1.0e-3}"

pytestmark = pytest.mark.dvc


class Repository:
    """A working tree under git and DVC, and the commands that a user types in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, code: int = 0) -> str:
        """Standard output of a command that ends with this exit code."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/tmp/site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.folder / ".dvc/tmp/global"),
        }
        environment.pop("SNAKEMAKE_PROFILE", None)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == code, f"{command}: {done.stdout[-3000:]}{done.stderr[-5000:]}"
        return done.stdout

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

    def planned(self) -> set[str]:
        """Rules of which Snakemake plans a job."""
        profile = ("--profile", "workflow/profiles/local", "--configfile", SUITE)
        return set(re.findall(r"^rule (\w+):", self.run("snakemake", *profile, "--dry-run"), re.MULTILINE))

    def change(self, old: str, new: str, file: str = SUITE) -> None:
        path = self.folder / file
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))

    def trained(self) -> dict[str, str]:
        """Each trained run and the file that holds its encoder, which is a new one after each training."""
        return {
            str(path.parent.relative_to(self.folder)): f"{path.stat().st_ino} {path.stat().st_mtime_ns}"
            for path in self.folder.glob("results/runs/small/digits/*/*/*/seed=*/encoder.safetensors")
        }


def copy_of(repository: Repository, folder: Path) -> Repository:
    """The same working tree elsewhere, file times kept."""
    shutil.copytree(repository.folder, folder, symlinks=True)
    return Repository(folder)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose suite was made by `dvc repro`, committed and pushed."""
    folder = tmp_path_factory.mktemp("group") / "structgan"
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, folder / part)
    made = Repository(folder)
    shutil.copy2(ROOT / "tests/small_suite.yaml", folder / SUITE)
    made.change("suite: demo", "suite: small", "dvc.yaml")
    made.change("configfile: workflow/config/demo.yaml", f"configfile: {SUITE}", "dvc.yaml")
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
    folder = recorded.folder.parent / f"clone-{len(list(recorded.folder.parent.iterdir()))}"
    recorded.run("git", "clone", "--quiet", ".", str(folder))
    fresh = Repository(folder)
    fresh.dvc("pull")
    return fresh


def test_the_first_repro_trains_and_the_second_does_nothing(recorded: Repository) -> None:
    assert set(recorded.trained()) == {GAN, RANDOM}
    before = recorded.trained()
    assert recorded.stages_run() == []
    assert recorded.trained() == before
    assert recorded.run("git", "status", "--porcelain") == ""


def test_what_only_training_needs_is_neither_versioned_nor_deleted(recorded: Repository, tmp_path: Path) -> None:
    tree = copy_of(recorded, tmp_path / "tree")
    run = tree.folder / GAN
    for name in ("state.previous.safetensors", "progress.json", "lock"):
        (run / name).write_text("of a training process")
    kept = ["state.safetensors", "state.previous.safetensors", "progress.json", "lock", "train.log"]
    before = {name: (run / name).read_bytes() for name in kept}
    weights = (run / "encoder.safetensors").read_bytes()
    (run / "encoder.safetensors").unlink()
    tree.dvc("checkout")
    assert (run / "encoder.safetensors").read_bytes() == weights
    shutil.rmtree(run.parents[4] / "digits/random")
    tree.dvc("checkout", "--force")
    assert (tree.folder / RANDOM / "encoder.safetensors").exists()
    assert {name: (run / name).read_bytes() for name in kept} == before
    listed = {entry["path"] for entry in json.loads(tree.dvc("ls", "--json", "--recursive", ".", "results/runs/small"))}
    assert "digits/plain_gan/none/base/seed=0/encoder.safetensors" in listed
    assert not [path for path in listed if Path(path).name in kept]


def test_a_new_seed_trains_only_its_run(recorded: Repository, tmp_path: Path) -> None:
    tree = copy_of(recorded, tmp_path / "tree")
    before = tree.trained()
    tree.change(
        "methods: [random], augmentations: [none], seeds: [0]",
        "methods: [random], augmentations: [none], seeds: [0, 1]",
    )
    assert tree.stages_run() == ["data", "runs", "tables"]
    after = tree.trained()
    assert {run for run in after if after[run] != before.get(run)} == {RANDOM.replace("seed=0", "seed=1")}
    assert ",random,none,base,2," in (tree.folder / "results/tables/small/representation.csv").read_text()


def test_a_fresh_clone_plans_no_work_once_verified(clone: Repository) -> None:
    assert clone.verify() == []
    before = clone.trained()
    assert clone.planned() == set()
    assert clone.stages_run() == []
    assert clone.trained() == before


def test_a_value_changed_in_a_fresh_clone_is_trained_and_recorded(clone: Repository) -> None:
    """Without Snakemake's records, a clone once kept the old results and wrote the new learning rate beside them."""
    assert clone.verify() == []
    before, old = clone.trained(), json.loads((clone.folder / GAN / "env.json").read_text())
    clone.change(LEARNING_RATE, "discriminator: {lr: 0.02}")
    assert clone.stages_run() == ["runs", "tables"]
    after, new = clone.trained(), json.loads((clone.folder / GAN / "env.json").read_text())
    assert {run for run in after if after[run] != before[run]} == {GAN}
    config = json.loads((clone.folder / GAN / "config.json").read_text())
    assert new["identity"] == config["identity"] != old["identity"]
    assert config["settings"]["method"]["optimiser"]["discriminator"]["lr"] == 0.02
    assert clone.verify() == [] and clone.stages_run() == []

    params = json.loads(clone.dvc("params", "diff", "--json"))
    changed = {"old": 0.001, "new": 0.02}
    assert {key: {side: entry[side] for side in changed} for key, entry in params[SUITE].items()} == {
        "methods.plain_gan.settings.optimiser.discriminator.lr": changed
    }
    metrics = json.loads(clone.dvc("metrics", "diff", "--json"))["results/tables/small/metrics.json"]
    linear = metrics["digits.plain_gan.none.base.linear"]
    probe = json.loads((clone.folder / GAN / "probe.json").read_text())
    assert linear["new"] == pytest.approx(probe["metrics"]["linear"]["top1"]) and linear["old"] != linear["new"]
    assert not [key for key in metrics if ".random." in key]
    plots = json.loads(clone.dvc("plots", "diff", "--split", "--json"))
    assert "errors" not in plots and len(plots["data"]) == 2
    for name, column in (("training", "value"), ("representation", "linear_mean")):
        (plot,) = plots["data"][f"results/tables/small/{name}.csv"]
        points = plot["anchor_definitions"]["<DVC_METRIC_DATA>"]
        old_values, new_values = ([p[column] for p in points if p["rev"] == rev] for rev in ("HEAD", "workspace"))
        assert len(old_values) == len(new_values) > 0 and old_values != new_values


def test_a_run_of_another_identity_is_planned_whatever_the_times_say(clone: Repository) -> None:
    """Straight after the pull and with every configuration older than every result, as bad luck may have it."""
    clone.change(LEARNING_RATE, "discriminator: {lr: 0.02}")
    clone.planned()  # writes the new config.json
    for path in clone.folder.rglob("config.json"):
        os.utime(path, (100_000, 100_000))
    assert {"train_generative", "probe", "fidelity", "table"} <= clone.planned()
    lines = clone.verify(code=1)
    assert [line.split(": ")[0] for line in lines if line.startswith(GAN)] == [f"{GAN}/env.json"]
    assert {"train_generative", "probe", "fidelity", "table"} <= clone.planned()
    assert "prepare" not in clone.planned() and "train" not in clone.planned()


def test_damage_is_told_by_file_and_planned_again(clone: Repository) -> None:
    data = clone.folder / "data/prepared/digits.safetensors"
    for path in (clone.folder / RANDOM / "encoder.safetensors", data):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    probe = clone.folder / GAN / "probe.json"
    record = json.loads(probe.read_text())
    record["metrics"]["linear"]["top1"] = 0.999
    probe.write_text(json.dumps(record))
    table = clone.folder / "results/tables/small/representation.csv"
    table.write_text(table.read_text() + "\n")
    lines = clone.verify(code=1)
    names = [line.split(": ")[0] for line in lines]
    wrong = [str(path.relative_to(clone.folder)) for path in (data, probe, table)]
    assert {*wrong, f"{RANDOM}/encoder.safetensors"} <= set(names) and len(names) == len(set(names))
    assert all(": " in line and len(line) < 240 for line in lines)
    assert {"prepare", "train", "probe", "table"} <= clone.planned()
    clone.dvc("checkout", "--force")
    clone.run("git", "checkout", "--", str(table))
    assert clone.verify() == [] and clone.planned() == set()


def test_an_experiment_sets_a_value_on_the_command_line(recorded: Repository, tmp_path: Path) -> None:
    tree = copy_of(recorded, tmp_path / "tree")
    before = tree.trained()
    tree.dvc("exp", "run", "--name", "longer", "--set-param", f"{SUITE}:training.steps=8")
    assert json.loads((tree.folder / GAN / "env.json").read_text())["steps"] == 8
    after = tree.trained()
    assert {run for run in after if after[run] != before[run]} == {GAN}
    assert "longer" in tree.dvc("exp", "list", "--name-only")
