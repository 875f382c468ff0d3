"""The training loop: what a seed decides, which images a step sees, what stops a run or keeps it from starting."""

from __future__ import annotations

import shutil

import pytest
import torch
from run_folder import names, progress, replan

from structgan import files, train
from structgan.datasets import store
from structgan.errors import UserError
from structgan.training import checkpoint


def test_a_seed_changes_the_result_and_nothing_else_does(make_run, digits):
    states = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = train.Run(make_run("structural", folder=folder, seed=seed, steps=2), digits, "cpu")
        torch.manual_seed(len(states))  # the world's generator is not the run's
        run.fit()
        states.append(run.method.encoder.state_dict())
    same, other = ([torch.equal(states[0][key], state[key]) for key in states[0]] for state in states[1:])
    assert all(same) and not all(other)


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


def test_a_learning_rate_that_explodes_stops_the_paper_method(make_run, digits):
    settings = {"optimizer": {"discriminator": {"lr": 10.0}, "generator": {"lr": 10.0}}, "ema": 0.0}
    folder = make_run("structural", settings=settings, steps=60)
    run = train.Run(folder, digits, "cpu")
    with pytest.raises(UserError, match=r"(is nan|is inf|collapsed|no longer finite).* step [0-9]+.*stopped"):
        run.fit()
    assert not (folder / "encoder.safetensors").exists()
    if run.states.newest.exists():
        assert progress(folder)[1]


@pytest.mark.parametrize("kind", ["identity", "truncated"])
def test_a_state_that_is_not_this_runs_is_not_used(make_run, digits, capsys, kind):
    donor = train.Run(make_run("structural", folder="donor", seed=1, steps=2), digits, "cpu")
    donor.fit()
    folder = make_run("structural", steps=2)
    if kind == "identity":
        shutil.copy(donor.states.newest, folder)
    else:
        own = train.Run(folder, digits, "cpu")
        own.fit()
        own.states.newest.write_bytes(own.states.newest.read_bytes()[:-100])
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
    assert names(folder) == ["config.json", "lock", "progress.json"]
    train.Run(make_run("structural", batch_size=200), digits, "cpu")


@pytest.mark.parametrize(("bank", "k", "words"), [(3, 4, "cluster.bank = 3"), (0, 16, "cluster.k = 16")])
def test_a_bank_smaller_than_k_is_refused(make_run, digits, bank, k, words):
    with pytest.raises(UserError, match=words):
        train.Run(make_run("structural", settings={"cluster": {"bank": bank, "k": k}}), digits, "cpu").fit()


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("bank", "k"), [(4, 4), (0, 15)])
def test_a_bank_just_large_enough_trains(make_run, digits, bank, k, skip):
    settings = {"cluster": {"bank": bank, "k": k, "skip_best_for_generated": skip}}
    run = train.Run(make_run("structural", settings=settings, steps=2), digits, "cpu")
    run.fit()
    assert run.step == 2


def test_a_run_planned_for_other_sources_stops(make_run, digits):
    folder = make_run("random")
    replan(folder, lambda config: config.update(sources="0" * 64))
    with pytest.raises(UserError, match="other sources than these; plan again"):
        train.Run(folder, digits, "cpu")


def test_a_state_of_other_images_is_not_gone_on_from(make_run, digits, tmp_path, capsys):
    folder = make_run("simclr", steps=2)
    run = train.Run(folder, digits, "cpu")
    run.fit()
    values, metadata = files.load_tensors(digits)
    values["train/images"] = 255 - values["train/images"]
    metadata["content_hash"] = store.content_hash(values)
    other = tmp_path / "other.safetensors"
    files.save_tensors(other, values, metadata)
    again = train.Run(folder, other, "cpu")
    again.resume()
    assert again.step == 0 and "state of other images" in capsys.readouterr().err
    same_images = train.Run(folder, digits, "cpu")
    same_images.resume()
    assert same_images.step == 2


@pytest.mark.parametrize(
    ("form", "words"), [("jsd", "'d_smoothness' is nan at step 1"), ("wasserstein", "step 1 failed")]
)
def test_weights_that_break_a_factorisation_stop_the_run_in_one_line(make_run, digits, form, words):
    """With a log at the end only, NaN reaches a factorisation before any loss is looked at."""
    run = train.Run(make_run("structural", steps=6), digits, "cpu")
    run.method.settings["gaussian"]["form"] = form
    run.training["log_every"] = 100
    for parameter in run.method.discriminator.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(UserError, match=rf"{words}.*last good state is kept"):
        run.fit()
    assert not run.states.newest.exists()


def test_a_state_of_another_kind_of_device_is_refused(make_run, digits):
    run = train.Run(make_run("random"), digits, "cpu")
    run.save()
    state = run.states.find()
    state["loop"]["rng_method"] = torch.zeros(16, dtype=torch.uint8)  # as long as CUDA's
    with pytest.raises(UserError, match="another kind of device than this, 'cpu'"):
        checkpoint.apply(state, run.method)


def test_labels_are_learned_where_they_are_and_the_unlabelled_part_without(make_run, digits, tmp_path):
    values, metadata = files.load_tensors(digits)
    values["unlabelled/images"] = values["test/images"].clone()
    path = tmp_path / "unlabelled.safetensors"
    metadata["content_hash"] = store.content_hash(values)
    files.save_tensors(path, values, metadata)
    run = train.Run(make_run("supervised"), path, "cpu")
    assert (
        torch.equal(run.batches.images, values["train/images"]) and len(next(run.batches)[1]) == run.batches.batch_size
    )
    run = train.Run(make_run("structural"), path, "cpu")
    assert len(run.batches.images) == 40 and next(run.batches)[1] is None


def test_a_setting_that_is_missing_is_named(make_run, digits):
    folder = make_run("random")
    replan(folder, lambda config: config["settings"]["method"].pop("encoder"))
    with pytest.raises(UserError, match=r"methods\.random\.settings: key 'encoder' is missing"):
        train.Run(folder, digits, "cpu")


@pytest.mark.parametrize("gone", ["config.json", "data"])
def test_missing_input_is_named(make_run, digits, tmp_path, gone):
    folder = make_run("random")
    if gone == "config.json":
        (folder / gone).unlink()
    with pytest.raises(UserError, match=f"{gone}: no such file"):
        train.run(folder, digits if gone == "config.json" else tmp_path / "data")
