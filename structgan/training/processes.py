"""Training on several processes: the same weights, shared statistics, averaged gradients."""

import torch
import torch.distributed as dist
from torch import nn

from structgan import distributed
from structgan.models.batch_norm import share_statistics


@torch.no_grad()
def wrap(method: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """Make a method's training that of all processes: weights of process 0, shared batch norms, averaged gradients.

    Each optimizer averages its gradients as its ``step`` begins; until then they are those of this process.
    """
    if distributed.size() == 1:
        return
    share_statistics(method)
    for value in method.state_dict().values():
        whole = value.contiguous()  # weights of convolutions lie channels-last
        dist.broadcast(whole, src=0)
        value.copy_(whole)
    for optimizer in optimizers.values():
        optimizer.register_step_pre_hook(lambda optimizer, *_: _average(optimizer))


@torch.no_grad()
def _average(optimizer: torch.optim.Optimizer) -> None:
    """Average the gradients of an optimizer's parameters over the processes, in one message."""
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if grads:
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        parts = torch.split(flat.div_(distributed.size()), [grad.numel() for grad in grads])
        torch._foreach_copy_(grads, [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)])
