"""Real training through the command line: outputs, kill and resume, and each way in which a run must stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from structgan import files, train
from structgan.errors import UserError

TRAP = '''
"""A method that goes wrong as its settings say."""
import torch
from torch import nn
from structgan.method import Method


class Trap(Method):
    """Learns by adding 1 to its weights."""

    def __init__(self, settings, image_size, num_classes, steps):
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, 4))
        self.other = nn.Linear(1, 1)

    def step(self, views, labels):
        now = self.step_index + 1 == self.settings["at"]
        with torch.no_grad():
            self.encoder[1].bias.add_(1.0)
            if now and self.settings["what"] == "collapse":
                self.encoder[1].weight.zero_()
            if now and self.settings["what"] == "weights":
                self.other.weight.fill_(float("inf"))
        bad = float(self.settings["bad"]) if now and self.settings["what"] == "loss" else 1.0
        return {"good": torch.tensor(2.0), "energy": torch.tensor(bad)}
'''
VARIANTS = {
    "nan": {"what": "loss", "at": 5, "bad": "nan"},
    "inf": {"what": "loss", "at": 6, "bad": "-inf"},
    "collapse": {"what": "collapse", "at": 5, "bad": ""},
    "weights": {"what": "weights", "at": 6, "bad": ""},
}
STEPS = 12


@pytest.fixture(scope="module")
def project(tmp_path_factory, copy_tree, command, demo, digits):
    """A copy of the tree with one more baseline, its suite planned and its data prepared, as a user would have it."""
    root = copy_tree(tmp_path_factory.mktemp("project"))
    (root / "baselines" / "trap.py").write_text(TRAP)
    suite = {
        "suite": "tiny",
        "training": {**demo["training"], "steps": STEPS},
        "datasets": {"digits": demo["datasets"]["digits"]},
        "methods": {
            "structural": {"settings": demo["methods"]["structural"]["settings"]},
            "trap": {"settings": {}, "variants": {name: {"settings": value} for name, value in VARIANTS.items()}},
        },
        "grid": [
            {
                "datasets": ["digits"],
                "methods": ["structural"],
                "augmentations": ["crop"],
                "variants": ["full"],
                "seeds": [0],
            },
            {
                "datasets": ["digits"],
                "methods": ["trap"],
                "augmentations": ["none"],
                "variants": list(VARIANTS),
                "seeds": [0],
            },
        ],
        "evaluation": demo["evaluation"],
        "resources": demo["resources"],
    }
    (root / "tiny.yaml").write_text(yaml.safe_dump(suite))
    done = command("-m", "structgan", "configure", "--configfile", "tiny.yaml", cwd=root, root=root)
    assert done.returncode == 0 and done.stdout == "results/runs/tiny/plan.json: 5 runs\n", done.stderr
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
    folder = project / "results/runs/tiny/digits/structural/crop/full/seed=0"
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


PUBLISHED = ("encoder.safetensors", "generator.safetensors", "history.json", "env.json")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def tensors(path):
    return files.load_tensors(path)[0]


def equal(a, b):
    one, two = tensors(a), tensors(b)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def history(folder):
    records = files.read_json(folder / "history.json")["records"]
    return [(record["step"], record["images"], record["losses"]) for record in records]


def progress(folder):
    """The step that a folder's state file holds, and whether every number in it is finite."""
    values, metadata = files.load_tensors(folder / "state.safetensors")
    loop = dict(dict(json.loads(metadata["tree"])["__dict__"])["loop"]["__dict__"])
    return loop["step"], all(v.isfinite().all() for v in values.values() if v.is_floating_point())


def test_a_run_publishes_what_the_next_rules_read(finished):
    assert names(finished) == sorted([*PUBLISHED, "config.json", "state.safetensors"])
    config = files.read_json(finished / "config.json")
    for name in ("encoder", "generator"):
        metadata = files.load_tensors(finished / f"{name}.safetensors")[1]
        assert metadata == {"identity": config["identity"], "num_classes": "10"}
    records = history(finished)
    assert [step for step, *_ in records] == list(range(2, STEPS + 1, 2))
    assert [images for _, images, _ in records] == [16 * step for step, *_ in records]
    env = files.read_json(finished / "env.json")
    assert (env["steps"], env["images"], env["device"], env["threads"]) == (STEPS, 16 * STEPS, "cpu", 1)
    assert env["identity"] == config["identity"] and env["seconds"] > 0 and env["peak_memory_mb"] > 50
    assert env["images_per_second"] == pytest.approx(env["images"] / env["seconds"])
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
    return project / f"results/runs/tiny/digits/trap/none/{variant}/seed=0"


def test_a_loss_that_is_nan_stops_the_command(project, trains, refusal):
    folder = trap(project, "nan")
    line = refusal(trains(folder))
    assert line.startswith(f"structgan: {folder}: loss 'energy' is nan at step 5; stopped")
    assert line.endswith("the last good state is kept in state.safetensors")
    assert names(folder) == ["config.json", "state.safetensors"] and progress(folder) == (4, True)


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
        assert names(folder) == ["config.json", "state.safetensors"] and progress(folder) == (4, True)


def test_a_seed_changes_the_result_and_nothing_else_does(make_run, digits):
    states = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = train.Run(make_run("structural", folder=folder, seed=seed, steps=2), digits, "cpu")
        torch.manual_seed(len(states))  # the world's generator is not the run's
        run.fit()
        states.append(run.method.encoder.state_dict())
    same, other = ([torch.equal(states[0][key], state[key]) for key in states[0]] for state in states[1:])
    assert all(same) and not all(other)


def test_a_learning_rate_that_explodes_stops_the_paper_method(make_run, digits):
    settings = {"optimiser": {"discriminator": {"lr": 10.0}, "generator": {"lr": 10.0}}, "ema": 0.0}
    folder = make_run("structural", settings=settings, steps=60)
    run = train.Run(folder, digits, "cpu")
    with pytest.raises(UserError, match=r"(is nan|is inf|collapsed|no longer finite).* step [0-9]+.*stopped"):
        run.fit()
    assert not (folder / "encoder.safetensors").exists()
    if run.state_file.exists():
        assert progress(folder)[1]


def test_full_disk_during_training_is_one_line_and_keeps_the_last_good_state(digits, trains, second_folder, refusal):
    """A real limit on the size of a file: the state of step 4 cannot be written, that of step 2 stays as it was."""
    run = train.Run(second_folder, digits, "cpu")
    run.training = {**run.training, "steps": 2}
    run.fit()
    before = {path.name: path.read_bytes() for path in second_folder.iterdir()}
    done = trains(second_folder, before=["sh", "-c", 'ulimit -f 32; exec "$@"', "sh"])
    assert "resumed at step 2" in done.stderr
    assert "state.safetensors: cannot be written: File too large" in refusal(done)
    assert {path.name: path.read_bytes() for path in second_folder.iterdir()} == before


@pytest.mark.parametrize("kind", ["identity", "truncated"])
def test_a_state_that_is_not_this_runs_is_not_used(make_run, digits, capsys, kind):
    donor = train.Run(make_run("structural", folder="donor", seed=1, steps=2), digits, "cpu")
    donor.fit()
    folder = make_run("structural", steps=2)
    if kind == "identity":
        shutil.copy(donor.state_file, folder)
    else:
        own = train.Run(folder, digits, "cpu")
        own.fit()
        own.state_file.write_bytes(own.state_file.read_bytes()[:-100])
    run, fresh = train.Run(folder, digits, "cpu"), train.Run(make_run("structural", folder="f", steps=2), digits, "cpu")
    capsys.readouterr()
    run.resume()
    said = capsys.readouterr().err
    assert "starting afresh" in said and "state.safetensors" in said and "resumed" not in said
    assert ("state of another identity" in said) == (kind == "identity")
    assert run.step == 0
    run.fit()
    fresh.fit()
    states = [r.method.state_dict() for r in (run, fresh)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_batch_larger_than_the_data_set_is_refused(make_run, digits):
    folder = make_run("structural", batch_size=201)
    with pytest.raises(UserError, match=r"training\.batch_size = 201: larger than the 200 images of 'digits'"):
        train.run(folder, digits)
    assert names(folder) == ["config.json"]
    train.Run(make_run("structural", batch_size=200), digits, "cpu")


@pytest.mark.parametrize(("bank", "k", "words"), [(3, 4, "cluster.bank = 3"), (0, 16, "cluster.k = 16")])
def test_a_bank_smaller_than_k_is_refused(make_run, digits, bank, k, words):
    with pytest.raises(UserError, match=words):
        train.Run(make_run("structural", settings={"cluster": {"bank": bank, "k": k}}), digits, "cpu").fit()


@pytest.mark.parametrize(("bank", "k"), [(4, 4), (0, 15)])
def test_a_bank_just_large_enough_trains(make_run, digits, bank, k):
    run = train.Run(make_run("structural", settings={"cluster": {"bank": bank, "k": k}}, steps=2), digits, "cpu")
    run.fit()
    assert run.step == 2


def test_a_run_planned_for_other_sources_stops(make_run, digits):
    folder = make_run("random")
    config = files.read_json(folder / "config.json")
    files.write_json(folder / "config.json", {**config, "sources": "0" * 64})
    with pytest.raises(UserError, match="other sources than these; plan again"):
        train.Run(folder, digits, "cpu")


def test_labels_that_do_not_exist_are_missed_by_name(make_run, digits, tmp_path):
    values, metadata = files.load_tensors(digits)
    values["unlabelled/images"] = values["test/images"].clone()
    path = tmp_path / "unlabelled.safetensors"
    files.save_tensors(path, values, metadata)
    with pytest.raises(UserError, match=r"methods\.supervised: uses labels"):
        train.Run(make_run("supervised"), path, "cpu")
    run = train.Run(make_run("structural"), path, "cpu")
    assert len(run.batches.images) == 40 and next(run.batches)[1] is None


def test_a_setting_that_is_missing_is_named(make_run, digits):
    folder = make_run("random")
    config = files.read_json(folder / "config.json")
    del config["settings"]["method"]["encoder"]
    files.write_json(folder / "config.json", config)
    with pytest.raises(UserError, match=r"methods\.random\.settings: key 'encoder' is missing"):
        train.Run(folder, digits, "cpu")


@pytest.mark.parametrize("gone", ["config.json", "data"])
def test_missing_input_is_named(make_run, digits, tmp_path, gone):
    folder = make_run("random")
    if gone == "config.json":
        (folder / gone).unlink()
    with pytest.raises(UserError, match=f"{gone}: no such file"):
        train.run(folder, digits if gone == "config.json" else tmp_path / "data")


def test_every_image_is_seen_once_an_epoch_and_views_differ(make_run, digits):
    """200 images in batches of 40: each epoch is a new whole permutation; images come in [-1, 1]."""
    run = train.Run(make_run("simclr", augmentation="simclr", batch_size=40), digits, "cpu")
    images = run.dataset.training_images.float() / 127.5 - 1
    views, labels = next(run.batches)
    assert len(views) == 2 and views[0].shape == (40, 3, 16, 16) and not torch.equal(*views)
    assert all(view.min() >= -1 and view.max() <= 1 for view in views) and labels.shape == (40,)

    plain = train.Run(make_run("structural", batch_size=40), digits, "cpu")
    orders = []
    for _ in range(2):
        seen = torch.cat([next(plain.batches)[0][0] for _ in range(5)])
        rows = torch.cdist(seen.flatten(1), images.flatten(1)).argmin(1)
        assert torch.allclose(seen, images[rows], atol=1e-6)
        assert sorted(rows.tolist()) == list(range(200))
        orders.append(rows.tolist())
    assert orders[0] != orders[1]


def test_random_reference_publishes_without_a_step(make_run, digits):
    folder = make_run("random")
    train.run(folder, digits)
    assert files.read_json(folder / "env.json")["steps"] == 0
    assert files.read_json(folder / "history.json") == {"records": []}
