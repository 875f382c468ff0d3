"""Floating-point operations of a step: 2 for each multiply-add of its products and convolutions, forward and backward.

PyTorch's own counter; it sees operators and not what they compute, so that a step without content counts too.
Everything else (norms, activations, optimizers, scikit-learn) is left out: it is small, and counts differ on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.flop_counter import FlopCounterMode

from structgan import distributed


class Counter:
    """Counts the second step of a run; the others are taken to need as many operations.

    A run of one step has that one counted. What a method does at its first step or now and then is left out, such as
    new clusters, and a queue that fills later is counted as it is: both are small beside the networks' passes.

    Attributes:
        gflops: of a step of all processes, in 1e9 operations; 0 before the first.
    """

    def __init__(self) -> None:
        self.gflops = 0.0

    @contextmanager
    def watch(self, step: int) -> Iterator[None]:
        """Count what is computed in the block, if it is step 0 or 1 of a run."""
        if step > 1:
            yield
            return
        with FlopCounterMode(display=False) as counter:
            yield
        self.gflops = distributed.size() * counter.get_total_flops() / 1e9
