"""The training loop: what a seed decides, which images a step sees, what stops a run or keeps it from starting."""

import pytest
import torch
from run_folder import history, names, progress, replan, train_until

from structgan import files, method, train
from structgan.datasets import store
from structgan.errors import UserError


@pytest.fixture(scope="session")
def inverted(digits, tmp_path_factory):
    """The digits, inverted."""
    values, metadata = files.load_tensors(digits)
    values["train/images"] = 255 - values["train/images"]
    path = tmp_path_factory.mktemp("inverted") / "digits.safetensors"
    files.save_tensors(path, values, metadata | {"content_hash": store.content_hash(values)})
    return path


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


def at_step(number, act):
    """Lets a run's method misbehave: ``act(method, losses)`` after its update number ``number``."""

    def harm(run):
        step = run.method.step

        def harmed(views, labels):
            losses = step(views, labels)
            if run.method.step_index + 1 == number:
                with torch.no_grad():
                    act(run.method, losses)
            return losses

        run.method.step = harmed

    return harm


def fill(module, value):
    for parameter in module.parameters():
        parameter.fill_(value)


WRONG = {
    "loss 'nt_xent' is nan at step 5": at_step(5, lambda method, losses: losses["nt_xent"].fill_(float("nan"))),
    "loss 'nt_xent' is -inf at step 6": at_step(6, lambda method, losses: losses["nt_xent"].fill_(-float("inf"))),
    "the features collapsed at step 6": at_step(6, lambda method, losses: fill(method.encoder, 0.0)),
    "are no longer finite after step 8": at_step(8, lambda method, losses: fill(method.head, float("inf"))),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_goes_wrong_is_named_and_the_last_good_state_kept(make_run, digits, words):
    run = train.Run(make_run("simclr", steps=12, save_every=4, log_every=6), digits, "cpu")
    WRONG[words](run)
    with pytest.raises(UserError, match=words):
        run.fit()
    assert progress(run.folder) == (4, True) and not (run.folder / "encoder.safetensors").exists()


def flip(raw):
    index = int(len(raw) * 0.9)
    return raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]


DAMAGE = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[: len(raw) // 2],
    "metadata": lambda raw: raw.replace(b'"log', b'"lag', 1).replace(b"loss", b"lost", 1),
    "tensor": flip,
    "identity": None,
    "data set": None,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_that_is_damaged_or_of_another_run_is_not_used(make_run, digits, inverted, capsys, damage):
    run = train.Run(make_run("simclr", steps=2), digits, "cpu")
    run.fit()
    raw, data = run.states.path.read_bytes(), inverted if damage == "data set" else digits
    again = train.Run(make_run("simclr", folder="again", steps=2, seed=4 if damage == "identity" else 3), data, "cpu")
    again.states.path.write_bytes(DAMAGE[damage](raw) if DAMAGE[damage] else raw)
    again.resume()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"not used: {again.states.path}: ") and again.step == 0
    assert ("damaged" if DAMAGE[damage] else f"of another {damage}") in said
    again.states.previous.write_bytes(raw)
    again.resume()
    assert again.step == (2 if DAMAGE[damage] else 0)


def test_a_batch_larger_than_the_data_set_is_refused(make_run, digits):
    folder = make_run("structural", batch_size=201)
    with pytest.raises(UserError, match=r"training\.batch_size = 201: larger than the 200 images of 'digits_gradient'"):
        train.run(folder, digits)
    assert names(folder) == ["config.json", "lock", "progress.json"]
    told = files.read_json(folder / "progress.json")
    assert told["state"] == "failed" and "training.batch_size = 201" in told["reason"]


def test_a_run_planned_for_other_sources_stops(make_run, digits):
    folder = make_run("random")
    replan(folder, lambda config: config.update(sources="0" * 64))
    with pytest.raises(UserError, match="other sources than these; plan again"):
        train.Run(folder, digits, "cpu")


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
    assert not run.states.path.exists()


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


def test_a_run_publishes_what_the_next_rules_read(make_run, digits):
    folder = make_run("structural", steps=6)
    train.run(folder, digits)
    networks = ("encoder", "generator", "discriminator", "discriminator_ema", "state", "state.previous")
    others = ["config.json", "env.json", "history.json", "lock", "progress.json"]
    assert names(folder) == sorted([*(f"{name}.safetensors" for name in networks), *others])
    config, env = (files.read_json(folder / name) for name in ("config.json", "env.json"))
    images = env["dataset"]["content_hash"]
    for name in networks[:4]:
        metadata = files.load_tensors(folder / f"{name}.safetensors")[1]
        assert metadata == {"identity": config["identity"], "num_classes": "10", "content_hash": images}
    assert [(step, seen) for step, seen, _ in history(folder)] == [(step, 16 * step) for step in (2, 4, 6)]
    assert (env["steps"], env["images"], env["device"], env["threads"]) == (6, 96, "cpu", 1)
    assert env["identity"] == config["identity"] and env["peak_host_memory_mb"] > 50
    assert env["images_per_second"] == pytest.approx(env["images"] / env["seconds"])
    fresh = method.build(config, 10)
    players = [*fresh.discriminator.parameters(), *fresh.generator.parameters()]
    assert env["parameters"] == sum(weight.numel() for weight in players)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_last_good_state(make_run, digits, tmp_path, command, refusal):
    """A real limit on the size of a file: the state of step 4 cannot be written, that of step 2 stays as it was."""
    folder = make_run("structural", steps=6)
    train_until(folder, digits, 2)
    before = (folder / "state.safetensors").read_bytes()
    arguments = ["train", "--run", folder, "--data", digits, "--device", "cpu"]
    limited = ["sh", "-c", 'ulimit -f 32; exec "$@"', "sh"]
    done = command("-m", "structgan", *arguments, cwd=tmp_path, before=limited)
    assert "resumed at step 2" in done.stderr
    assert "state.safetensors: cannot be written: File too large" in refusal(done)
    assert (folder / "state.safetensors").read_bytes() == before
    told = files.read_json(folder / "progress.json")
    assert (told["state"], told["step"]) == ("failed", 4) and "File too large" in told["reason"]
