"""Every method on devices that this machine lacks: nothing mixes devices, waits for a GPU, or leaves its precision."""

import pytest
import torch
from pretend_device import BATCH, pretending
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from structgan import sources

CORE = ("structural", "simclr", "vicreg")
NAMES = [pytest.param(name, marks=[] if name in CORE else [pytest.mark.faults]) for name in sources.methods()]
WAITS = {"vicreg"}
"""lightly's loss picks the off-diagonal by a Boolean mask: a GPU is waited for at each step, and no fake can follow."""


@pytest.mark.parametrize("name", NAMES)
def test_forward_and_losses_on_a_pretended_gpu_under_autocast(name):
    with pretending(name, "cuda") as (method, views, labels), torch.autocast("cuda", dtype=torch.bfloat16):
        assert all(value.is_cuda for value in [*views, *method.state_dict().values()])
        if name in WAITS:
            with pytest.raises(DynamicOutputShapeException):
                method.step(views, labels)
        else:
            losses = method.step(views, labels)
            norms = {key for key in losses if key.startswith("gradient_norm")}  # of no gradient, as none was computed
            assert {(losses[key].device.type, losses[key].dtype) for key in losses.keys() - norms} <= {
                ("cuda", torch.float32)
            }
        features = method.eval().encode(views[0])
        assert features.is_cuda and features.dtype == torch.float32 and len(features) == BATCH
        if hasattr(method, "sample"):
            images = method.sample(4, method.rng)
            assert images.is_cuda and images.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_step_without_content_through_the_branches_of_no_cpu(name):
    """Backward and updates included; only autocast is left out."""
    with pretending(name, "meta") as (method, views, labels):
        if name in WAITS:
            with pytest.raises(NotImplementedError, match="nonzero"):
                method.step(views, labels)
            return
        losses = method.step(views, labels)
        assert {value.device.type for value in losses.values()} <= {"meta"}
        for optimizer in method.optimizers().values():
            (parameters,) = (group["params"] for group in optimizer.param_groups)
            assert any(parameter.grad is not None for parameter in parameters)
            assert all(parameter.grad is None or parameter.grad.is_meta for parameter in parameters)
            assert optimizer.state and all(key.is_meta for key in optimizer.state)


def test_the_generators_maps_stay_bfloat16_on_a_gpu():
    """CUDA's autocast upsamples in float32: from the first block on, the widest maps would have twice their size."""
    with pretending("structural", "cuda") as (method, _, _), torch.autocast("cuda", dtype=torch.bfloat16):
        found = []
        for block in method.generator.blocks:
            block.register_forward_hook(lambda module, given, output: found.append(output.dtype))
        images, _ = method.generate(BATCH, None)
    assert found == [torch.bfloat16] * len(method.generator.blocks) and images.dtype == torch.float32
