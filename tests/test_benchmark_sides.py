"""The benchmarks' rivals run as their users run them, and a side that fails takes no other side's numbers with it."""

from __future__ import annotations

import torch

from benchmarks import simclr


def test_the_rival_keeps_cudnn_and_gets_pytorchs_tf32():
    """``cudnn.flags`` has enabled=False as its default, with which the rival would lose its convolutions' library."""
    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    with simclr.with_tf32():
        assert torch.backends.cudnn.enabled is before[0] is True
        assert torch.backends.cudnn.allow_tf32 is True
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before
