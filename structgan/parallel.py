"""One run on several processes (torchrun): each computes its own rows of every batch, all keep the same weights.

What is differentiated is the mean over the processes of each process's loss. Two rules make that exact, and neither
needs a factor: ``gather`` sends each row the sum of the gradients that all processes have for it, and before each
update of an optimiser the parameters' gradients are averaged. With L_r the loss of process r and z_r its rows,
the average is 1/P sum_r (sum_s dL_s/dz_r) dz_r/dtheta, which is the gradient of L = 1/P sum_s L_s. A mean over own rows
then averages to the mean over the batch, and a loss that every process computes alike of gathered rows is L itself.

Random numbers are drawn for the whole batch by every process and cut by ``share``, and batch norms take the statistics
of the whole batch or of fixed groups of it: a result depends on the number of processes only by rounding. With one
process all is the identity.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from structgan.errors import UserError
from structgan.precision import wide


def size() -> int:
    """Processes of this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def launched() -> int:
    """Processes that torchrun started for this run, whether or not they have met; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def group(device: str) -> Iterator[str]:
    """Join the processes that torchrun started, where it did, and part from them at the end.

    The cores that the job has (OMP_NUM_THREADS) are shared out among the processes of this machine.

    Args:
        device: ``cpu`` or ``cuda``; tensors on the host pass through gloo, those on GPUs through NCCL.

    Yields:
        The device of this process: the GPU of its local rank.

    Raises:
        UserError: there are fewer GPUs than processes on this machine.
    """
    if launched() == 1:
        yield device
        return
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    if device == "cuda":
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise UserError(
                f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}: only {found} GPUs are visible"
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    yield device
    dist.destroy_process_group()  # after an error nothing is waited for: the other processes may never come


@contextmanager
def company() -> Iterator[None]:
    """Work that needs all processes.

    Raises:
        UserError: another process of the run is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise UserError(f"process {rank()} of {size()}: another process of the run is gone") from error
        raise


def split(batch_size: int) -> int:
    """Rows of each process.

    Raises:
        UserError: the batch cannot be shared out evenly.
    """
    if batch_size % size():
        raise UserError(
            f"training.batch_size = {batch_size}: must be a multiple of the {size()} processes of a run"
            " (resources.train.gpu)"
        )
    return batch_size // size()


def share(batch: Tensor, dim: int = 0, stacked: int = 1) -> Tensor:
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


def greatest(number: int) -> int:
    """The greatest of the processes' numbers; it passes between the hosts and waits for no GPU."""
    if size() == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def agree(number: int, what: str) -> None:
    """Make sure that all processes have one number.

    Raises:
        UserError: they differ; every process raises it.
    """
    least, most = -greatest(-number), greatest(number)
    if least != most:
        raise UserError(f"{what} differs between the processes of the run: {least} to {most}")


def wait() -> None:
    """Wait until every process has come here."""
    greatest(0)


def group_size(batch: int, per_process: int | None) -> int:
    """Images whose statistics are taken together, of a batch of all processes: ``per_process``, or all of them.

    A recipe for several GPUs may take statistics of each GPU's images alone. ``per_process`` keeps that recipe
    whatever the number of processes here: consecutive images of the batch make a group. Fewer images are one group.

    Raises:
        UserError: the batch cannot be cut into groups of that size.
    """
    if per_process is None or batch <= per_process:
        return batch
    if batch % per_process:
        raise UserError(f"per_process = {per_process}: must divide training.batch_size = {batch}")
    return per_process


class GroupedBatchNorm(nn.BatchNorm2d):
    """Batch norm within groups of consecutive images, as processes without shared statistics compute it.

    Running statistics follow the first group, as a checkpoint of process 0 has them. Shape: (N, C, H, W).

    Args:
        num_features: C.
        per_process: images of a group; None: all of the batch.
    """

    def __init__(self, num_features: int, per_process: int | None, affine: bool = True) -> None:
        super().__init__(num_features, affine=affine)
        self.per_process = per_process

    def forward(self, input: Tensor) -> Tensor:
        size = group_size(len(input), self.per_process) if self.training else len(input)
        first, *others = input.split(size)
        normalised = [super().forward(first)]
        normalised += [F.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps) for x in others]
        return torch.cat(normalised) if others else normalised[0]


class SharedBatchNorm(_BatchNorm):
    """Batch norm with the statistics of the whole batch, or of groups of it, on any device.

    nn.SyncBatchNorm does the former on GPUs only. Shape: (N / P, C, ...), the same comes out.
    """

    per_process: int | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions from (N, C) on: the module that this one stands for has checked it."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        group = group_size(size() * len(input), self.per_process)
        part = math.gcd(group, len(input))  # images of one process and one group
        x = wide(input).unflatten(0, (-1, part))  # (parts, images, C, ...)
        dims = [1, *range(3, x.ndim)]
        variance, centre = torch.var_mean(x, dims, correction=0)
        variances, centres = gather(torch.stack([variance, centre], 1)).unflatten(0, (-1, group // part)).unbind(2)
        centre = centres.mean(1)  # (groups, C)
        variance = (variances + (centres - centre[:, None]).square()).mean(1)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = group * math.prod(input.shape[2:])
            self.running_mean.lerp_(centre[0].detach(), weight)
            self.running_var.lerp_(variance[0].detach() * (count / (count - 1)), weight)
        mine = share(torch.arange(size() * len(x), device=input.device)) * part // group  # the group of each part
        gain = (variance + self.eps).rsqrt()[mine]
        gain, bias = (gain, None) if self.weight is None else (gain * self.weight, self.bias)
        shape = (1, 1, -1, *[1] * (input.ndim - 2))
        spread = (len(x), 1, -1, *[1] * (input.ndim - 2))
        output = (x - centre[mine].view(spread)) * gain.view(spread)
        return (output if bias is None else output + bias.view(shape)).to(input.dtype).flatten(0, 1)


@torch.no_grad()
def join(method: nn.Module, optimisers: dict[str, torch.optim.Optimizer]) -> None:
    """Make a method's training that of all processes: weights of process 0, shared batch norms, averaged gradients.

    A method's ``step`` stays as it is for one process. Each optimiser averages its gradients as its ``step`` begins, so
    that whatever reads gradients before it (clipping by norm) sees those of this process.
    """
    if size() == 1:
        return
    norms: dict[nn.Module, SharedBatchNorm] = {}
    for parent in list(method.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, norms.setdefault(child, _shared(child)))
    for value in method.state_dict().values():
        whole = value.contiguous()  # weights of convolutions lie channels-last
        dist.broadcast(whole, src=0)
        value.copy_(whole)
    for optimiser in optimisers.values():
        optimiser.register_step_pre_hook(lambda optimiser, *_: _average(optimiser))


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    """``norm`` with the same parameters and buffers."""
    affine, tracks = norm.affine, norm.track_running_stats
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, affine, tracks)
    shared._parameters, shared._buffers = norm._parameters, norm._buffers
    shared.per_process = getattr(norm, "per_process", None)
    return shared.train(norm.training)


@torch.no_grad()
def _average(optimiser: torch.optim.Optimizer) -> None:
    """Average the gradients of an optimiser's parameters over the processes, in one message."""
    grads = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    if grads:
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        parts = torch.split(flat.div_(size()), [grad.numel() for grad in grads])
        torch._foreach_copy_(grads, [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)])
