"""The classifier that is trained beside a method: it learns, is scored as it says, and leaves the training alone."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from run_folder import equal, history, train_until
from snapshots import same

from structgan import files, train
from structgan.evaluation import probe

PROBE = {"every": 4, "ema": 0.5, "optimizer": {"name": "adamw", "lr": 0.01, "betas": [0.5, 0.999], "weight_decay": 0.1}}
AVERAGED = ("structural", "ddpm")


def started(make_run, digits, method="structural", **training):
    return train.Run(make_run(method, online_probe=PROBE, **training), digits, "cpu")


@pytest.mark.parametrize("method", ["structural", "simclr", "ddpm"])
def test_a_run_is_the_same_with_and_without_it(make_run, digits, method):
    """Labels reach the classifier and nothing else: weights, other losses and random states are equal bit for bit."""
    runs = []
    for folder, settings in (("with", PROBE), ("without", None)):
        run = train.Run(make_run(method, folder=folder, online_probe=settings, steps=3), digits, "cpu")
        run.fit()
        runs.append(run)
    watched, plain = runs
    assert same(watched.method.state_dict(), plain.method.state_dict())
    assert watched.method.rng.get_state().equal(plain.method.rng.get_state())
    assert watched.batches.rng.get_state().equal(plain.batches.rng.get_state())
    extra = {"online_loss", "online_train_top1", "online_top1", *["online_top1_ema"] * (method in AVERAGED)}
    for one, two in zip(watched.history.records, plain.history.records, strict=True):
        assert {name: value for name, value in one["losses"].items() if name not in extra} == two["losses"]
    assert watched.history.records[-1]["losses"].keys() - plain.history.records[-1]["losses"].keys() == extra


def test_scores_are_top1_of_the_live_network_and_of_the_averages(make_run, digits):
    run = started(make_run, digits, steps=3)
    run.fit()
    images, labels = run.dataset.test.images.float() / 127.5 - 1, run.dataset.test.labels
    method, watched = run.method, run.probe
    live = (watched.head(method.discriminator.backbone(images)).argmax(1) == labels).double().mean()
    averaged = (watched.average(method.encoder(images)).argmax(1) == labels).double().mean()
    assert watched.score() == pytest.approx({"online_top1": live.item(), "online_top1_ema": averaged.item()})


def test_a_step_is_one_of_cross_entropy_on_features_without_gradient(make_run, digits):
    run = started(make_run, digits)
    views, labels = next(run.batches)
    head, net = run.probe.head, run.method.discriminator.backbone
    loss = F.cross_entropy(F.linear(net(views[0]).detach(), head.weight, head.bias), labels)
    expected = torch.autograd.grad(loss, list(head.parameters()))
    before, average = [p.detach().clone() for p in head.parameters()], list(run.probe.average.parameters())
    logged = run.probe.update(views[0], labels)
    assert logged["online_loss"].item() == pytest.approx(loss.item())
    for p, gradient, old, mean in zip(head.parameters(), expected, before, average, strict=True):
        assert torch.allclose(p.grad, gradient, atol=1e-6)
        assert torch.allclose(mean, (old + p) / 2)  # its average has a decay of 0.5
    assert all(p.grad is None for p in run.method.discriminator.parameters())


def test_it_is_scored_at_the_first_log_after_each_multiple_and_at_the_end(make_run, digits):
    run = started(make_run, digits, "simclr", steps=11, log_every=3)
    run.fit()
    scored = [record["step"] for record in run.history.records if "online_top1" in record["losses"]]
    assert [record["step"] for record in run.history.records] == [3, 6, 9, 11] and scored == [6, 9, 11]
    assert all("online_loss" in record["losses"] for record in run.history.records)


def test_an_interrupted_run_goes_on_exactly(make_run, digits):
    folders = [make_run("simclr", folder=name, online_probe=PROBE, steps=6, save_every=3) for name in ("a", "b")]
    train.run(folders[0], digits)
    train_until(folders[1], digits, 3)
    train.run(folders[1], digits)
    assert equal(folders[0] / "state.safetensors", folders[1] / "state.safetensors")
    assert history(folders[0])[-1] == history(folders[1])[-1]


def test_its_last_scores_and_its_protocol_are_in_the_probes_result(make_run, digits):
    def online(folder):
        config = files.read_json(folder / "config.json")
        return probe.online_probe(SimpleNamespace(config=config, history=lambda: records(folder)))

    def records(folder):
        return files.read_json(folder / "history.json")["records"]

    folder = make_run("structural", online_probe=PROBE, steps=4)
    train.run(folder, digits)
    scores, protocol = online(folder)
    last = records(folder)[-1]["losses"]
    assert scores == {"online_probe": {"top1": last["online_top1"], "top1_ema": last["online_top1_ema"]}}
    assert protocol["online_probe"]["optimizer"] == PROBE["optimizer"] and protocol["online_probe"]["every"] == 4
    without = make_run("random", folder="without", steps=0)
    train.run(without, digits)
    assert online(without) == ({}, {})
