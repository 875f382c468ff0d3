"""One run on several processes (torchrun): each computes its own rows of every batch, all keep the same weights.

What is differentiated is the mean over the processes of each process's loss. Two rules make that exact, and neither
needs a factor: ``gather`` sends each row the sum of the gradients that all processes have for it, and before each
update of an optimizer the parameters' gradients are averaged. With L_r the loss of process r and z_r its rows,
the average is 1/P sum_r (sum_s dL_s/dz_r) dz_r/dtheta, which is the gradient of L = 1/P sum_s L_s. A mean over own rows
then averages to the mean over the batch, and a loss that every process computes alike of gathered rows is L itself.

Random numbers are drawn for the whole batch by every process and cut by ``shard``, and batch norms take the statistics
of the whole batch or of fixed groups of it: a result depends on the number of processes only by rounding. With one
process all is the identity.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from structgan.errors import UserError


def size() -> int:
    """Processes of this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def launched() -> int:
    """Processes that torchrun started for this run, joined or not; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def group(device: str) -> Iterator[str]:
    """Join torchrun's process group, if it started this process, until the block ends; yields the process's device.

    The cores of the job (OMP_NUM_THREADS) are divided among the processes of this machine. Tensors on the host pass
    through gloo, those on GPUs through NCCL. The device ``cuda`` becomes the GPU of the local rank.

    Raises:
        UserError: there are fewer GPUs than processes on this machine.
    """
    if launched() == 1:
        yield device
        return
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    if device == "cuda":
        local, found, wanted = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count(), os.environ["LOCAL_WORLD_SIZE"]
        if local >= found:
            raise UserError(f"torchrun --nproc-per-node {wanted}: only {found} GPUs are visible")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    yield device
    dist.destroy_process_group()  # after an error nothing is waited for: the other processes may never come


@contextmanager
def catch_peer_failure() -> Iterator[None]:
    """Turn the errors of work that needs all processes, when one of them is gone, into a ``UserError``."""
    try:
        yield
    except RuntimeError as error:
        if size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise UserError(f"process {rank()} of {size()}: another process of the run is gone") from error
        raise


def split(batch_size: int) -> int:
    """Rows of each process; a ``UserError`` if the batch cannot be shared out evenly."""
    if batch_size % size():
        raise UserError(
            f"training.batch_size = {batch_size}: must be a multiple of the {size()} processes of a run"
            " (gpu of the rule train, in the profile)"
        )
    return batch_size // size()


def shard(batch: Tensor, dim: int = 0, stacked: int = 1) -> Tensor:
    """This process's part of something that every process has for the whole batch.

    Args:
        batch: ``stacked`` whole batches one after the other along ``dim``; the same on every process.
        dim: along which the samples lie.
        stacked: how many batches; this process's part of each is taken.
    """
    if size() == 1:
        return batch
    batches = batch.chunk(stacked, dim)
    return torch.cat([whole.chunk(size(), dim)[rank()] for whole in batches], dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(size())[rank()]


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of the batch, with gradient. Shape: (N / P, ...) to (N, ...).

    For losses that couple samples: gather, then compute the loss of the whole batch on every process.
    """
    if size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def mean(values: Tensor) -> Tensor:
    """The mean over the processes, without gradient; a number that is not finite anywhere is so everywhere."""
    if size() == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values / size()


def all_reduce_max(number: int) -> int:
    """The greatest of the processes' numbers, reduced on the hosts, so that it waits for no GPU."""
    if size() == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def agree(number: int, what: str) -> None:
    """Check that all processes have the same number; if they differ, every process raises a ``UserError``."""
    least, most = -all_reduce_max(-number), all_reduce_max(number)
    if least != most:
        raise UserError(f"{what} differs between the processes of the run: {least} to {most}")


def barrier() -> None:
    """Wait for all processes."""
    all_reduce_max(0)


def group_size(batch: int, per_process: int | None) -> int:
    """Images whose statistics are taken together, of a batch of all processes: ``per_process``, or all of them.

    A recipe for several GPUs may take statistics of each GPU's images alone; ``per_process`` consecutive images of the
    batch are such a group, on any number of processes. Fewer images are one group.

    Raises:
        UserError: the batch cannot be cut into groups of that size.
    """
    if per_process is None or batch <= per_process:
        return batch
    if batch % per_process:
        raise UserError(f"per_process = {per_process}: must divide training.batch_size = {batch}")
    return per_process
