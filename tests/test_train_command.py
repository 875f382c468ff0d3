"""Real training through the command line: outputs, kill and resume, losses and weights that go wrong, a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import trap_suite
import yaml
from run_folder import equal, history, names, progress
from trap_suite import STEPS

from structgan import files, method, train


@pytest.fixture(scope="module")
def project(tmp_path_factory, copy_tree, command, demo, digits):
    """A copy of the tree with one more baseline, its suite planned and its data prepared, as a user would have it."""
    root = copy_tree(tmp_path_factory.mktemp("project"))
    (root / "baselines" / "trap.py").write_text(trap_suite.TRAP)
    (root / "tiny.yaml").write_text(yaml.safe_dump(trap_suite.suite(demo)))
    done = command("-m", "structgan", "configure", "--configfile", "tiny.yaml", cwd=root, root=root)
    assert done.returncode == 0 and done.stdout.endswith(".json: 5 runs\n"), done.stderr
    shutil.copy(digits, root / "data/prepared/digits.safetensors")
    return root


def arguments(root, run):
    data = root / "data/prepared/digits.safetensors"
    return ["-m", "structgan", "train", "--run", str(run), "--data", str(data), "--device", "cpu"]


@pytest.fixture(scope="module")
def trains(project, command):
    """Runs ``structgan train`` of the project on a folder."""

    def run(folder, **keywords):
        return command(*arguments(project, folder), cwd=project, root=project, **keywords)

    return run


@pytest.fixture(scope="module")
def finished(project, trains):
    (folder,) = (project / "results/runs/digits/structural/crop/full/seed=0").iterdir()
    done = trains(folder)
    assert done.returncode == 0, done.stderr
    assert f"{STEPS}/{STEPS} steps" in done.stderr and "d_gaussian" in done.stderr
    return folder


@pytest.fixture
def second_folder(finished, tmp_path):
    """A fresh folder with the finished run's config.json."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(finished / "config.json", folder)
    return folder


FAILED = ["config.json", "lock", "progress.json", "state.previous.safetensors", "state.safetensors"]
PUBLISHED = [f"{name}.safetensors" for name in ("encoder", "generator", "discriminator", "discriminator_ema")]
PUBLISHED += ["history.json", "env.json"]


def test_a_run_publishes_what_the_next_rules_read(finished):
    assert names(finished) == sorted([*PUBLISHED, *FAILED])
    config = files.read_json(finished / "config.json")
    images = files.read_json(finished / "env.json")["dataset"]["content_hash"]
    for name in ("encoder", "generator", "discriminator", "discriminator_ema"):
        metadata = files.load_tensors(finished / f"{name}.safetensors")[1]
        assert metadata == {"identity": config["identity"], "num_classes": "10", "content_hash": images}
    records = history(finished)
    assert [step for step, *_ in records] == list(range(2, STEPS + 1, 2))
    assert [images for _, images, _ in records] == [16 * step for step, *_ in records]
    env = files.read_json(finished / "env.json")
    assert (env["steps"], env["images"], env["device"], env["threads"]) == (STEPS, 16 * STEPS, "cpu", 1)
    assert env["identity"] == config["identity"] and env["seconds"] > 0 and env["peak_host_memory_mb"] > 50
    assert env["images_per_second"] == pytest.approx(env["images"] / env["seconds"])
    players = method.build(config, 10).discriminator, method.build(config, 10).generator
    assert env["parameters"] == sum(weight.numel() for player in players for weight in player.parameters())
    assert env["versions"]["torch"] == torch.__version__.split("+")[0] and env["hardware"]["cpu"]
    assert env["dataset"]["content_hash"] and env["git"] == {"commit": None, "dirty": None}


def test_a_killed_run_goes_on_as_if_nothing_had_been(project, trains, finished, second_folder):
    """SIGKILL as soon as there is a state; the second process ends with the bytes of the uninterrupted run."""
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments(project, second_folder)],
        cwd=project,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (second_folder / "state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (second_folder / "encoder.safetensors").exists()
    step, _ = progress(second_folder)
    assert 0 < step < STEPS

    done = trains(second_folder)
    assert done.returncode == 0 and f"resumed at step {step}" in done.stderr, done.stderr
    for name in ("encoder", "generator", "state"):
        assert equal(finished / f"{name}.safetensors", second_folder / f"{name}.safetensors"), name
    assert history(finished) == history(second_folder)


def test_a_finished_run_is_published_again_without_training(trains, finished, second_folder):
    shutil.copy2(finished / "state.safetensors", second_folder)
    before = (second_folder / "state.safetensors").stat().st_mtime_ns
    done = trains(second_folder)
    assert done.returncode == 0 and f"resumed at step {STEPS}" in done.stderr
    assert (second_folder / "state.safetensors").stat().st_mtime_ns == before
    for name in ("encoder", "generator"):
        assert (finished / f"{name}.safetensors").read_bytes() == (second_folder / f"{name}.safetensors").read_bytes()
    assert (finished / "history.json").read_text() == (second_folder / "history.json").read_text()
    assert files.read_json(finished / "env.json")["seconds"] == files.read_json(second_folder / "env.json")["seconds"]


def trap(project, variant):
    (folder,) = (project / f"results/runs/digits/trap/none/{variant}/seed=0").iterdir()
    return folder


def test_a_loss_that_is_nan_stops_the_command(project, trains, refusal):
    folder = trap(project, "nan")
    line = refusal(trains(folder))
    assert line.startswith(f"structgan: {folder}: loss 'energy' is nan at step 5; stopped")
    assert line.endswith("the last good state is kept in state.safetensors, where one was saved")
    assert names(folder) == FAILED and progress(folder) == (4, True)


WRONG = {
    "inf": "loss 'energy' is -inf at step 6",
    "collapse": "the features collapsed at step 6",
    "weights": "the weights 'other.weight' are no longer finite after step 6",
}


def test_whatever_goes_wrong_is_named_and_the_last_good_state_kept(project, command):
    """An infinite loss, features that are all alike, weights that are not finite while the loss still is."""
    code = """if True:
        import sys
        from pathlib import Path
        from structgan import errors, train
        for folder in map(Path, sys.argv[2:]):
            try:
                train.run(folder, Path(sys.argv[1]))
            except errors.UserError as error:
                print(error)
        """
    folders = [trap(project, variant) for variant in WRONG]
    done = command("-c", code, project / "data/prepared/digits.safetensors", *folders, cwd=project, root=project)
    lines = done.stdout.splitlines()
    assert len(lines) == len(WRONG), done.stderr
    for folder, line, what in zip(folders, lines, WRONG.values(), strict=True):
        assert line.startswith(f"{folder}: {what}") and "last good state is kept in state.safetensors" in line
        assert names(folder) == FAILED and progress(folder) == (4, True)


def contents(folder):
    """Every file but those that say who trains and how far it is."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("lock", "progress.json")}


def test_full_disk_during_training_is_one_line_and_keeps_the_last_good_state(digits, trains, second_folder, refusal):
    """A real limit on the size of a file: the state of step 4 cannot be written, that of step 2 stays as it was."""
    run = train.Run(second_folder, digits, "cpu")
    run.training = {**run.training, "steps": 2}
    run.fit()
    before = contents(second_folder)
    done = trains(second_folder, before=["sh", "-c", 'ulimit -f 32; exec "$@"', "sh"])
    assert "resumed at step 2" in done.stderr
    assert "state.safetensors: cannot be written: File too large" in refusal(done)
    assert contents(second_folder) == before and (second_folder / "state.safetensors").exists()
    told = files.read_json(second_folder / "progress.json")
    assert (told["state"], told["step"]) == ("failed", 4) and "File too large" in told["reason"]
