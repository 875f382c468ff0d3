"""One run on two processes gives what it gives on one: every method, for real, over gloo."""

import pytest
import ranks
import torch

from structgan import sources
from structgan.models import batch_norm

GROUPS = {"per_process": 4, "gaussian": {"form": "wasserstein"}, "cluster": {"k": 2, "update_every": 2}}
OTHER = {"per_process": 8, "latents": "reused", "cluster": {"embeddings": "before", "skip_best_for_generated": False}}
GAME = {"gaussian": {"weight": 1.0}, "cluster": {"weight": 3.0}, "hinge": {"weight": 20.0}}
CASES = {name: {} for name in sources.methods()}
CASES |= {f"{name}, game": {"objectives": GAME} for name in ("vae", "ddpm")}
CASES |= {"structural, groups": GROUPS, "structural, other step": OTHER, "genrep": {"latent_std": 0.5}}
"""Settings that differ from the demo's."""
QUICK = ("structural, groups", "simclr")
STEPS = 5


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.abs().max()) + 1 if value.numel() else 1
        assert torch.allclose(found[name].double(), value.double(), rtol=0, atol=tolerance * scale), name


def marks(case):
    """Quick ones in ``make test``, the structural GAN's in ``make test-slow``, all others in ``make test-faults``."""
    return [] if case in QUICK else pytest.mark.slow if case.startswith("structural") else pytest.mark.faults


@pytest.mark.parametrize("case", [pytest.param(case, marks=marks(case)) for case in CASES])
def test_two_processes_give_what_one_gives(make_run, digits, tmp_path, case):
    """In float64: in float32 a GAN magnifies rounding, that of its losses from 1e-7 at step 2 to 4e-3 at step 20."""
    run = make_run(case.split(",")[0], augmentation="simclr", settings=CASES[case], steps=STEPS)
    one = ranks.train_in_float64(run, digits, STEPS)
    two = ranks.ask(tmp_path, ranks.train_in_float64, run, digits, STEPS)
    assert all(torch.equal(value, two[1][name]) for name, value in two[0].items())
    assert_close(two[0], one, 1e-11)
    assert any(name.startswith("losses/") for name in one) or case == "random"


def test_gradients_of_any_loss_are_those_of_the_mean_over_processes(tmp_path):
    one, two = ranks.coupled(), ranks.ask(tmp_path, ranks.coupled)
    for found in two:
        halves = found.pop("halves")
        assert torch.equal(halves.view(2, 2, 3, 5).transpose(0, 1).flatten(0, 2), ranks.numbers(12, 5))
        assert_close(found, {name: value for name, value in one.items() if name != "halves"}, 1e-14)
    assert one["grad"].abs().max() > 0.1


@pytest.mark.parametrize(  # groups of 12 images: all, a process's, one across the border, half of a process's
    ("affine", "momentum", "per_process"), [(True, 0.1, None), (False, 0.1, 6), (True, None, 4), (True, 0.1, 3)]
)
def test_batch_norms_take_the_statistics_of_the_whole_batch_or_of_its_groups(tmp_path, affine, momentum, per_process):
    one = ranks.normalized(affine, momentum, per_process)
    two = ranks.ask(tmp_path, ranks.normalized, affine, momentum, per_process)
    for found in two:
        assert_close(found, one, 1e-13)


def test_groups_are_normalized_as_by_processes_of_their_own():
    """Each group by its own statistics; the running ones, which evaluation takes, follow the first group."""
    norm, alone = batch_norm.GroupedBatchNorm(3, 4), torch.nn.BatchNorm2d(3)
    images = torch.randn(12, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 13).view(
        -1, 1, 1, 1
    )
    found = norm(images)
    first = alone(images[:4])
    assert_close({"maps": found[:4]}, {"maps": first.detach()}, 1e-6)
    assert_close(norm.state_dict(), alone.state_dict(), 1e-6)
    for rows in (slice(4, 8), slice(8, 12)):
        assert_close({"maps": found[rows]}, {"maps": torch.nn.BatchNorm2d(3)(images[rows]).detach()}, 1e-6)
    assert_close({"maps": norm.eval()(images)}, {"maps": alone.eval()(images).detach()}, 1e-6)


def test_shared_batch_norms_keep_float32_statistics_under_bfloat16():
    """As PyTorch's own do: a bfloat16 map in, a bfloat16 map out, and nothing of the statistics rounded."""
    plain = torch.nn.BatchNorm2d(3).train()
    shared = batch_norm.shared(torch.nn.BatchNorm2d(3)).train()
    images = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = shared(images), plain(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert_close({"maps": found}, {"maps": expected.detach()}, 1e-2)
    assert_close(shared.state_dict(), plain.state_dict(), 1e-6)
