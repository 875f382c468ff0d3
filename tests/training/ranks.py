"""Several processes of one run, as torchrun starts them but forked in milliseconds; and what they are asked for.

Every function here gives the same on any number of processes, up to rounding; a test calls it in its own process too.
"""

import contextlib
import functools
import os
import socket

import torch
from forked import CONTEXT, LIMIT_S, Training
from torch import nn

from structgan import distributed, files, train
from structgan.models import batch_norm
from structgan.training import processes


def enter(rank, size, port):
    """The environment that torchrun gives a process."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}})


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def answer(rank, size, port, out, function, arguments):
    enter(rank, size, port)
    with distributed.group("cpu"):
        files.save_tensors(out / f"{rank}.safetensors", function(*arguments), {})


def ask(out, function, *arguments, size=2):
    """What ``function`` gives in each of ``size`` processes: a list of tensors by name."""
    port = free_port()
    processes = [
        CONTEXT.Process(target=answer, args=(rank, size, port, out, function, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)
    assert [process.exitcode for process in processes] == [0] * size
    return [files.load_tensors(out / f"{rank}.safetensors")[0] for rank in range(size)]


def trainings(run, data, size=2):
    """The real command line on one run in ``size`` processes."""
    port = free_port()
    return [Training(run, data, prepare=functools.partial(enter, rank, size, port)) for rank in range(size)]


@contextlib.contextmanager
def made_in(kind):
    """New tensors are of this type unless they say otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    yield
    torch.set_default_dtype(before)


def train_in_float64(run, data, steps):
    """Weights and losses after ``steps`` steps in float64, where rounding cannot hide a wrong factor."""
    job = train.Run(run, data, "cpu")
    job.method.double().train()
    losses = []
    for index in range(steps):
        job.method.step_index = index
        views, labels = next(job.batches)
        with made_in(torch.float64):
            given = labels if job.method.uses_labels else None
            losses.append(job.method.step([view.double() for view in views], given))
    found = {f"weights/{name}": value.clone() for name, value in job.method.state_dict().items()}
    for name in losses[0]:
        found[f"losses/{name}"] = distributed.mean(torch.stack([step[name] for step in losses]).double())
    return found


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def coupled():
    """Gradient of a loss that is partly of own rows, partly of all rows, and differs between the processes."""
    weights = numbers(5, 4).requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=1.0)
    processes.wrap(nn.Module(), {"weights": optimizer})
    rows = distributed.shard(numbers(12, 5))
    z = rows @ weights
    pool = distributed.gather(z)
    attraction = (z @ pool.T).softmax(1).square().sum(1).mean()  # of own rows among all
    spread = torch.logdet(torch.eye(4) + pool.T @ pool)  # of all rows alike
    (attraction + 0.1 * spread + z.square().mean()).backward()
    optimizer.step()
    halves = distributed.shard(numbers(12, 5), stacked=2)
    return {
        "grad": weights.grad,
        "weights": weights.detach(),
        "pool": pool.detach(),
        "halves": distributed.gather(halves),
    }


def grouped(per_process, channels, affine, momentum):
    norm = batch_norm.GroupedBatchNorm(channels, per_process, affine)
    norm.momentum = momentum
    return norm


def normalized(affine, momentum, per_process):
    """Output, gradients and statistics of batch norms of two dimensionalities over two batches."""
    found = {}
    maps = nn.BatchNorm2d if per_process is None else functools.partial(grouped, per_process)
    for name, kind, shape in (("maps", maps, (12, 3, 4, 4)), ("rows", nn.BatchNorm1d, (12, 3))):
        torch.manual_seed(0)
        net = nn.Sequential(kind(3, affine=affine, momentum=momentum)).double()
        if affine:
            nn.init.normal_(net[0].weight)
            nn.init.normal_(net[0].bias)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1) if affine else None
        processes.wrap(net, {"norm": optimizer} if optimizer else {})
        for scale in (1.0, 3.0):
            whole = (scale * numbers(*shape) + scale).requires_grad_()
            out = net(distributed.shard(whole))
            net.zero_grad()
            (out * distributed.shard(numbers(*shape)).exp()).mean().backward()
            if optimizer:
                optimizer.step()
            found[f"{name}/out/{scale}"] = distributed.gather(out.detach())
            found[f"{name}/grad/{scale}"] = distributed.mean(whole.grad)
        found |= {f"{name}/{key}": value.clone() for key, value in net.state_dict().items()}
        found[f"{name}/evaluated"] = net.eval()(numbers(*shape)).detach()
    return found
