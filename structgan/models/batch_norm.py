"""Batch norms with the statistics of the whole batch, or of fixed groups of it, on any number of processes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from structgan.distributed import gather, group_size, shard, size
from structgan.precision import wide


class GroupedBatchNorm(nn.BatchNorm2d):
    """Batch norm of groups of ``per_process`` consecutive images, as by processes that share no statistics.

    Running statistics follow the first group, as in a checkpoint of process 0. Shape: (N, C, H, W).
    """

    def __init__(self, num_features: int, per_process: int | None, affine: bool = True) -> None:
        super().__init__(num_features, affine=affine)
        self.per_process = per_process

    def forward(self, input: Tensor) -> Tensor:
        size = group_size(len(input), self.per_process) if self.training else len(input)
        first, *others = torch.split(input, size)
        normalized = [super().forward(first)]
        normalized += [F.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps) for x in others]
        return torch.cat(normalized) if others else normalized[0]

    def conditional_relu(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """relu(bias + norm(x) (1 + gain)) in training, by the fused kernels. Shape: (N, C, H, W), (N, C), (N, C)."""
        from structgan.kernels.batch_norm import ConditionalReLU

        size = group_size(len(x), self.per_process)
        given = (x.contiguous(memory_format=torch.channels_last), gain, bias, size, self.eps)
        y, mean, variance = ConditionalReLU.apply(*given)  # type: ignore[no-untyped-call]
        count, momentum = size * math.prod(x.shape[2:]), self.momentum
        assert self.running_mean is not None and self.running_var is not None and momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean[0], momentum)
        self.running_var.lerp_(variance[0] * (count / (count - 1)), momentum)
        return y  # type: ignore[no-any-return]


class SharedBatchNorm(_BatchNorm):
    """Batch norm with the statistics of all processes, or of groups, on any device. Shape: (N / P, C, ...).

    nn.SyncBatchNorm shares those of the whole batch, and on GPUs only.
    """

    per_process: int | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions; the module that this one replaces has checked it."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        group = group_size(size() * len(input), self.per_process)
        part = math.gcd(group, len(input))  # images of one process and one group
        x = torch.unflatten(wide(input), 0, (-1, part))  # (parts, images, C, ...)
        variance, center = torch.var_mean(x, [1, *range(3, x.ndim)], correction=0)
        gathered = torch.unflatten(gather(torch.stack([variance, center], 1)), 0, (-1, group // part))
        variances, centers = gathered.unbind(2)  # (groups, parts, C) each
        center = centers.mean(1)  # (groups, C)
        variance = (variances + (centers - center[:, None]).square()).mean(1)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = group * math.prod(input.shape[2:])
            self.running_mean.lerp_(center[0].detach(), weight)
            self.running_var.lerp_(variance[0].detach() * (count / (count - 1)), weight)
        mine = shard(torch.arange(size() * len(x), device=input.device)) * part // group  # the group of each part
        gain = (variance + self.eps).rsqrt()[mine]
        gain = gain if self.weight is None else gain * self.weight
        ones = [1] * (input.ndim - 2)
        spread = (len(x), 1, -1, *ones)
        output: Tensor = (x - center[mine].view(spread)) * gain.view(spread)
        if self.bias is not None:
            output = output + self.bias.view(-1, *ones)
        return output.to(input.dtype).flatten(0, 1)


def share_statistics(network: nn.Module) -> None:
    """Give every batch norm inside ``network`` the statistics of all processes, in place; parameters stay the same."""
    norms: dict[nn.Module, SharedBatchNorm] = {}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, norms.setdefault(child, shared(child)))


def shared(norm: _BatchNorm) -> SharedBatchNorm:
    """``norm`` with the same parameters and buffers."""
    found = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    found._parameters, found._buffers = norm._parameters, norm._buffers
    found.per_process = getattr(norm, "per_process", None)
    return found.train(norm.training)
