"""What env.json says of where a run was trained: its submissions and the state of the tree."""

import json
import shutil
import subprocess

import pytest
import torch

from structgan import environment, files, train


def test_a_description_is_json_and_names_what_numbers_depend_on():
    found = environment.describe("cpu")
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {"python", "numpy", "torchvision"} <= set(found["versions"]) and "cuda" not in found["versions"]
    assert found["hardware"]["cores"] >= 1 and found["hardware"]["gpu"] is None and found["hardware"]["gpus"] == 0
    assert found["threads"] == torch.get_num_threads() and found["processes"] == 1


def test_a_run_finished_over_two_submissions_keeps_both(make_run, digits, monkeypatch):
    """Four steps under one job, two under another, then a third that finds nothing to do and leaves no trace."""
    folder = make_run("simclr", steps=6)
    for job, until in (("11", 4), ("12", 6), ("13", 6)):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        run = train.Run(folder, digits, "cpu")
        run.resume()
        run.training = {**run.training, "steps": until}
        run.fit()
        if until == 6:
            run.publish()
    env = files.read_json(folder / "env.json")
    entries = env["submissions"]
    assert [(entry["job"], entry["steps"]) for entry in entries] == [("11", 4), ("12", 2)]
    assert sum(entry["seconds"] for entry in entries) == pytest.approx(env["seconds"])
    assert entries[0]["started"] <= entries[1]["started"] and all(entry["host"] for entry in entries)
    assert all(entry["versions"] == env["versions"] for entry in entries)
    assert env["peak_host_memory_mb"] == max(entry["peak_host_memory_mb"] for entry in entries) > 50
    assert env["peak_gpu_memory_mb"] is None


def test_a_run_without_training_has_one_entry(make_run, digits):
    folder = make_run("random", steps=0)
    train.run(folder, digits)
    env = files.read_json(folder / "env.json")
    assert [(entry["steps"], entry["seconds"]) for entry in env["submissions"]] == [(0, 0.0)]
    assert files.read_json(folder / "history.json") == {"records": [], "curve": []}


@pytest.fixture
def repository(tmp_path, copy_tree, command):
    """A copy of the tree under git, and what its code says of it."""
    root = copy_tree(tmp_path / "repository")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*arguments, cwd=root):
        return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True)

    def told(**extra):
        code = "import json; from structgan import environment; print(json.dumps(environment.git()))"
        done = command(
            "-c", code, cwd=tmp_path, root=root, before=["env", *(f"{key}={value}" for key, value in extra.items())]
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    git("init", "--quiet")
    (root / ".gitignore").write_text("__pycache__/\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return root, git, told


@pytest.mark.slow
def test_the_commit_is_told_and_whether_sources_differ_from_it(repository):
    root, git, told = repository
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert told() == {"commit": commit, "dirty": False}
    (root / "results").mkdir()
    (root / "results/table.csv").write_text("1")
    assert told()["dirty"] is False
    edited = root / "structgan/losses/cluster.py"
    edited.write_text(edited.read_text() + "\n# a comment\n")
    assert told() == {"commit": commit, "dirty": True}
    git("checkout", "--", ".")
    (root / "baselines/mine.py").write_text("")
    assert told()["dirty"] is True


@pytest.mark.slow
def test_git_that_is_missing_fails_or_belongs_to_somebody_else_gives_null(repository, tmp_path):
    root, git, told = repository
    null = {"commit": None, "dirty": None}
    assert told(PATH="/nowhere") == null
    shutil.rmtree(root / ".git")
    assert told() == null
    git("init", "--quiet", cwd=tmp_path)
    assert told() == null
