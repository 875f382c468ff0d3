"""The learning curve and the count of operations: what they measure, and that they leave the training alone."""

import pytest
import torch
from run_folder import names, train_until
from snapshots import same
from torch import nn

from structgan import config, files, train
from structgan.datasets import Split
from structgan.errors import UserError
from structgan.evaluation import features, linear
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.training import curve
from structgan.training.flops import Counter

CURVE = {"points": 8, "train": 60, "test": 1000}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("ddpm", "selfcond_gan")]


@pytest.mark.parametrize(("steps", "points", "probed"), [
    (195, 8, [2, 3, 6, 12, 24, 49, 98, 195]),
    (6, 8, [1, 2, 3, 6]),
    (8, 2, [4, 8]),
    (0, 8, []),
])  # fmt: skip
def test_it_is_probed_at_the_last_step_its_half_and_so_on(steps, points, probed):
    asked = {"steps": steps, "curve": {**CURVE, "points": points}}
    assert sorted(curve.Curve(None, None, asked, "cpu").steps) == probed
    assert not curve.Curve(None, None, {**asked, "curve": None}, "cpu").steps


@pytest.mark.parametrize("method", ["structural", "simclr", *SLOW])
def test_a_run_is_the_same_with_and_without_it(make_run, digits, method):
    """Weights, buffers, losses and random states are equal bit for bit, and so is the mode of each network."""
    watched, plain = (
        train.Run(make_run(method, folder=str(points), curve=points and CURVE, steps=4), digits, "cpu")
        for points in (8, None)
    )
    for run in (watched, plain):
        torch.manual_seed(0)
        run.fit()
    assert same(watched.method.state_dict(), plain.method.state_dict())
    assert watched.method.rng.get_state().equal(plain.method.rng.get_state())
    modes = [[module.training for module in run.method.modules()] for run in (watched, plain)]
    assert modes[0] == modes[1] and watched.history.records == plain.history.records
    assert [point["step"] for point in watched.history.curve] == [1, 2, 4] and plain.history.curve == []


def test_a_point_is_top1_of_a_linear_probe_of_the_average(make_run, digits):
    run = train.Run(make_run("structural", curve=CURVE, steps=2), digits, "cpu")
    run.fit()
    data, encoder = run.dataset, run.method.discriminator_ema.backbone
    learned = curve.part(data.train, 60)
    with torch.no_grad():
        train_x, test_x = (encoder(part.images.float() / 127.5 - 1) for part in (learned, data.test))
    train_x, test_x = features.standardize(train_x, test_x)
    assert len(test_x) == 40  # all that the split has
    probe = linear.fit(train_x, learned.labels, 10, **curve.FIT)
    expected = features.accuracy(probe.predict(test_x), data.test.labels)
    assert run.history.curve[-1] == {"step": 2, "images": 32, "top1": expected} and probe.converged


def test_a_part_of_a_split_that_is_sorted_by_class_has_all_classes():
    labels = torch.arange(10).repeat_interleave(100)
    split = Split(labels.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4), labels)
    drawn = curve.part(split, 200)
    assert drawn.labels.bincount().min() > 10 and drawn.images[:, 0, 0, 0].equal(drawn.labels.to(torch.uint8))
    assert drawn.labels.equal(curve.part(split, 200).labels) and curve.part(split, 1000) is split


def test_it_reads_features_in_the_precision_of_training(make_run, digits):
    run = train.Run(make_run("simclr", curve=CURVE, precision="bfloat16"), digits, "cpu")
    seen = []
    run.method.encoder.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    run.curve.top1()
    assert seen == [True, True]


def test_files_say_what_was_measured_also_after_an_interruption(make_run, digits):
    whole, broken, untrained = (
        make_run(method, folder=str(at), curve=CURVE, **({"steps": 6, "save_every": 9} if at < 2 else {"steps": 0}))
        for at, method in enumerate(("simclr", "simclr", "random"))
    )
    train_until(broken, digits, 4)
    for folder in (whole, broken, untrained):
        train.run(folder, digits)
    histories, envs = zip(*([files.read_json(folder / name) for name in ("history.json", "env.json")]
                            for folder in (whole, broken, untrained)), strict=True)  # fmt: skip
    assert histories[0] == histories[1] and [point["step"] for point in histories[0]["curve"]] == [1, 2, 3, 6]
    assert [point["images"] for point in histories[0]["curve"]] == [16, 32, 48, 96] and histories[2]["curve"] == []
    for env in envs[:2]:
        assert env["gflops_per_step"] == envs[0]["gflops_per_step"] > 0 and len(env["curve_seconds"]) == 4
        assert env["gflops"] == 6 * env["gflops_per_step"]
        assert sorted(env["curve_seconds"]) == env["curve_seconds"] and env["curve_seconds"][-1] <= env["seconds"]
    assert (envs[2]["gflops_per_step"], envs[2]["gflops"], envs[2]["curve_seconds"]) == (0, 0, [])


def test_its_time_is_not_training_time(make_run, digits, monkeypatch):
    run = train.Run(make_run("simclr", curve=CURVE, steps=4), digits, "cpu")
    now = [0.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    step, probe = run.method.step, run.curve.top1

    def later(function, seconds):
        def timed(*arguments):
            now[0] += seconds
            return function(*arguments)

        return timed

    run.method.step, run.curve.top1 = later(step, 1.0), later(probe, 100.0)
    run.fit()
    assert run.history.curve_seconds == [1.0, 2.0, 4.0] and run.seconds == 4.0


@pytest.mark.parametrize(("broken", "words"), [
    ("loss", r"loss 'nt_xent' is nan at step 2; stopped"),
    ("encoder", r"run: step 2: features: NaN or infinity in \d+ of 60 rows: the encoder has diverged; stopped"),
])  # fmt: skip
def test_a_training_that_went_wrong_is_one_line(make_run, digits, broken, words):
    run = train.Run(make_run("simclr", curve={**CURVE, "points": 2}, steps=4, log_every=4), digits, "cpu")
    step = run.method.step

    def harmed(views, labels):
        losses = step(views, labels)
        if broken == "loss":
            losses["nt_xent"].fill_(float("nan"))
        else:
            next(run.method.encoder.parameters()).data.fill_(float("nan"))
            losses["nt_xent"].fill_(0.0)
        return losses

    run.method.step = harmed
    run.step = 1
    with pytest.raises(UserError, match=words):
        run.fit()
    assert names(run.folder) == ["config.json"]


def test_operations_are_those_counted_by_hand():
    """2 for each multiply-add; a backward of a layer whose input takes a gradient costs twice its forward."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    conv, linear_layer = 2 * 4 * 36 * 8 * 3 * 9, 2 * 4 * 8 * 36 * 5
    counter = Counter()
    with counter.watch(1):
        net(torch.rand(4, 3, 6, 6)).sum().backward()
    assert counter.gflops * 1e9 == 2 * conv + 3 * linear_layer  # the images take none
    with counter.watch(2):
        net(torch.rand(4, 3, 6, 6))
    assert counter.gflops * 1e9 == 2 * conv + 3 * linear_layer


def test_the_papers_networks_need_what_is_known_of_them(base):
    """GFLOP an image: a ResNet-18 for 32 pixels has 0.56 G multiply-adds; the generator counts 1.34 in the release."""
    settings = base["methods"]["structural"]["settings"]
    found = {}
    for network, shape in (
        (Discriminator(32, **settings["discriminator"]), (3, 32, 32)),
        (Generator(32, **settings["generator"]), (settings["generator"]["latent"],)),
    ):
        counter = Counter()
        with counter.watch(0), torch.no_grad():
            network(torch.zeros(8, *shape))  # so many that the spectral norms' own operations do not count
        found[type(network).__name__] = counter.gflops / 8
    assert found == pytest.approx({"Discriminator": 2 * 0.556, "Generator": 1.34}, rel=6e-3)


@pytest.mark.parametrize("changed", [{"points": 0}, {"points": 3, "train": 1}, {"every": 1}, {"test": "all"}])
def test_bad_sizes_are_refused(user_file, changed):
    with pytest.raises(UserError, match=r"mine\.yaml: training\.curve"):
        config.load([user_file(f"training: {{curve: {changed}}}")])
