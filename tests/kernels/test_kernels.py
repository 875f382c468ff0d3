"""The fused kernels beside PyTorch's form, under Triton's interpreter; and compiled for an H100 without one."""

import ast
from pathlib import Path

import pytest
import torch

from structgan import kernels
from structgan.models import generator
from structgan.models.discriminator import Discriminator

pytest.importorskip("triton")
from structgan.kernels import agreement, batch_norm, group_norm


@pytest.mark.parametrize(("dtype", "cosine"), [(torch.float32, 0.999999), (torch.bfloat16, 0.9999)])
def test_outputs_and_gradients_are_pytorchs(monkeypatch, dtype, cosine):
    more = [((2, 12, 3, 3), 4, False, True), ((2, 8, 4, 4), 1, True, False)]
    monkeypatch.setattr(agreement, "NORMS", [*agreement.NORMS, *more])
    monkeypatch.setattr(agreement, "BATCHES", [((2, 80, 9, 9), 2), *agreement.BATCHES])
    assert agreement.disagreement("cpu", dtype, cosine) == ""


def test_a_kernel_that_is_wrong_is_named_and_switched_off(monkeypatch, capfd):
    monkeypatch.setattr(batch_norm.ConditionalReLU, "backward", lambda ctx, grad, *_: (grad, None, None, None, None))
    monkeypatch.setattr(agreement, "NORMS", [])
    assert "batch norm of (4, 12, 5, 7): cosine" in agreement.disagreement("cpu", torch.float32, 0.999)
    monkeypatch.setattr(agreement, "disagreement", lambda *_: 1 / 0)
    assert not kernels.agree.__wrapped__("cpu", torch.float32)
    assert capfd.readouterr().err == "fused kernels are off in torch.float32: ZeroDivisionError: division by zero\n"


@pytest.fixture
def on_cpu(monkeypatch):
    """Sends float32 maps through the kernels where ``eager`` does not forbid it; counts the launches."""
    monkeypatch.setitem(kernels._switch, "on", True)
    monkeypatch.setattr(kernels, "fused", lambda x: kernels._switch["on"] and x.dtype == torch.float32)
    launched = []
    for module in (batch_norm, group_norm):

        def counted(kernel, *rest, launch=module.launch, **named):
            launched.append(kernel)
            launch(kernel, *rest, **named)

        monkeypatch.setattr(module, "launch", counted)
    return launched


def both_forms(net, work, launched):
    """Losses and gradients of the fused form and of PyTorch's."""
    found = []
    for form in (kernels.eager, torch.enable_grad):
        before = len(launched)
        with form():
            loss = work()
        found.append([loss.detach(), *torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)])
        assert (len(launched) > before) == (form is torch.enable_grad)
    return zip(*found, strict=True)


def test_the_discriminators_smoothness_term_is_the_same(on_cpu):
    torch.manual_seed(0)
    net = Discriminator(4, width=4, blocks=[1, 1], channels_per_group=2, hidden=8, embedding=6)
    images, left = torch.randn(2, 3, 4, 4), torch.randn(2, 6)

    def work():
        pictured = images.clone().requires_grad_(True)
        embeddings, tape = net.trace(pictured)
        (direction,) = torch.autograd.grad(embeddings, pictured, left, retain_graph=True)
        moved = net.derivative(direction, tape)
        return moved.square().sum() + embeddings.square().sum() + net(images)[1].sum()

    for ours, theirs in both_forms(net, work, on_cpu):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max() + 1))


@pytest.mark.parametrize("per_process", [None, 2])
def test_the_generators_images_and_running_statistics_are_the_same(on_cpu, per_process):
    torch.manual_seed(0)
    net = generator.Generator(8, latent=6, condition=8, channels=8, hidden=4, blocks=2, per_process=per_process)
    latents, weights = torch.randn(4, 6), torch.randn(4, 3, 8, 8)
    start, statistics = {key: value.clone() for key, value in net.state_dict().items()}, []

    def work():
        net.load_state_dict(start)
        total = (net(latents) * weights).sum()
        statistics.append(
            {key: value.clone() for key, value in net.named_buffers() if "running" in key or "num" in key}
        )
        return total

    for ours, theirs in both_forms(net, work, on_cpu):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max() + 1))
    for key, value in statistics[0].items():
        assert torch.allclose(value, statistics[1][key], rtol=1e-5, atol=1e-6), key


@pytest.mark.slow
def test_every_kernel_compiles_for_an_h100(command, tmp_path):
    done = command(Path(__file__).with_name("compile_for_sm_90.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    count, names = done.stdout.split(" ", 1)
    assert int(count) >= 20 and len(ast.literal_eval(names)) == 10
