"""The structural GAN's memory bank that takes in each n-th batch, and what a step logs beside its losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from run_folder import equal, history, train_until
from snapshots import IMAGES, same, snapshot
from tiny_networks import pictures

from benchmarks import reference_step
from structgan import config, train
from structgan.methods import structural
from structgan.methods.structural import Structural


@pytest.fixture
def build(demo):
    """Builds a tiny structural GAN; keywords change its settings."""

    def make(**changes):
        torch.manual_seed(0)
        method = Structural(config.merge(demo["methods"]["structural"]["settings"], changes), 16, 10, steps=10).train()
        method.rng = torch.Generator().manual_seed(1)
        return method

    return make


@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_bank_takes_in_each_nth_batch(build, every):
    """Five steps against a list: steps 0, n, 2n, ... overwrite the oldest entries, in the order of the batch."""
    method, size = build(cluster={"update_every": every, "bank": 10}), 4
    slots = list(zip(method.bank.features.tolist(), method.bank.embeddings.tolist(), strict=True))
    place = 0
    for step in range(5):
        real = pictures(size).float().roll(step, 3)
        h = F.normalize(method.encoder(real), dim=1)
        method.step_index = step
        method.step([real], None)
        z = F.normalize(method.discriminator(real)[1], dim=1)
        if step in range(0, 5, every):
            for pair in zip(h.tolist(), z.tolist(), strict=True):
                slots[place] = pair
                place = (place + 1) % 10
        for stored, column in zip(
            (method.bank.features, method.bank.embeddings), zip(*slots, strict=True), strict=True
        ):
            assert torch.allclose(stored, torch.tensor(column), atol=1e-5)
    assert int(method.bank.position) == place


def test_a_resumed_run_updates_the_bank_at_the_same_steps(make_run, digits):
    """Stopped between two updates of the bank, at a step that is no multiple of n."""
    folders = [make_run("structural", folder=name, settings={"cluster": {"update_every": 3}}) for name in ("a", "b")]
    train.run(folders[0], digits)
    train_until(folders[1], digits, 4)
    train.run(folders[1], digits)
    assert equal(folders[0] / "state.safetensors", folders[1] / "state.safetensors")
    assert history(folders[0]) == history(folders[1])


def test_monitors_are_what_they_say(build):
    torch.set_default_dtype(torch.float64)
    try:
        method, twin = build(), build()
        losses = method.step([IMAGES.double()], None)
        n, settings = len(IMAGES), twin.settings
        fake = twin.generator(torch.randn(n, settings["generator"]["latent"], generator=twin.rng)).detach()
        left = torch.randn(2 * n, settings["discriminator"]["embedding"], generator=twin.rng)
        book = reference_step.ReferenceStep(twin).discriminator
        sigma = reference_step.sigmas(book, torch.cat([IMAGES.double(), fake]), left).tolist()
    finally:
        torch.set_default_dtype(torch.float32)
    assert losses["sigma"].item() == pytest.approx(sum(sigma) / (2 * n))
    assert losses["sigma_max"].item() == pytest.approx(max(sigma)) and max(sigma) > 1.001 * min(sigma)
    for name, network in (("d", method.discriminator), ("g", method.generator)):
        squares = [number**2 for p in network.parameters() for number in p.grad.flatten().tolist()]
        assert losses[f"gradient_norm_{name}"].item() == pytest.approx(sum(squares) ** 0.5) and any(squares)


def test_monitors_leave_the_training_as_it_is(build, monkeypatch):
    with_them, without = build(), build()
    for step in range(3):
        with_them.step_index = step
        with_them.step([IMAGES.roll(step, 3)], None)
    monkeypatch.setattr(structural, "gradient_norm", lambda network: torch.zeros(()))
    for step in range(3):
        without.step_index = step
        without.step([IMAGES.roll(step, 3)], None)
    assert same(snapshot(with_them), snapshot(without)) and torch.equal(
        with_them.rng.get_state(), without.rng.get_state()
    )
    for name, optimizer in with_them.optimizers().items():
        assert same(optimizer.state_dict(), without.optimizers()[name].state_dict())
