"""A run's state made small enough to travel: the structural GAN's 336 MB, which hold moments and bank too, become 34.

Kept are step, history, data order and generators, exactly, and one copy of each network. Matrices and kernels are
rounded to float16, which moves a weight by at most 2^-11 of itself: 2.4e-5 for one of 0.05, an eighth of one Adam
update at lr 2e-4. Everything else (biases, norms, their statistics) stays as it is. Of a network and its moving average
the average is kept and the network starts again from it: at a decay of 0.99 that is the mean of its last hundred steps,
and what the probes read can be measured from the same file. Dropped are the optimisers' moments, which fill again
within 1/(1 - beta) steps, and modules without a parameter, such as the memory bank, which starts as in a new run and is
full again after 20 steps of 512 images. None of this is exact: each such restart is written in the run's env.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.gpu.entries import WARM
from structgan import files, train
from structgan.errors import UserError
from structgan.method import Method
from structgan.training import checkpoint

FORMAT = "structgan-warm-1"
NETWORKS = "networks/"


class Warm(NamedTuple):
    """What a file holds.

    Attributes:
        config: the run's config.json.
        content_hash: of the images that it was trained on.
        networks: tensors by their name in the method's state.
        loop: the training loop's state; its last submission says what was dropped.
    """

    config: dict[str, Any]
    content_hash: str
    networks: dict[str, Tensor]
    loop: dict[str, Any]

    @property
    def step(self) -> int:
        """Updates that the run has behind it."""
        return int(self.loop["step"])


def averages(method: nn.Module) -> dict[str, str]:
    """Each moving average among the children, and the child that it follows: frozen, with its names and shapes."""
    found, shapes = {}, {}
    for name, child in method.named_children():
        shapes[name] = {key: value.shape for key, value in child.state_dict().items()}
        if any(value.requires_grad for value in child.parameters()):
            continue
        twins = [other for other, sizes in shapes.items() if sizes and sizes == shapes[name] and other not in found]
        twins = [other for other in twins if any(p.requires_grad for p in method.get_submodule(other).parameters())]
        if twins:
            found[name] = twins[0]
    return found


def dropped(method: nn.Module) -> list[str]:
    """Children that are left out: those with an average that is kept, and those without a parameter."""
    followed = set(averages(method).values())
    return [
        name
        for name, child in method.named_children()
        if name in followed or (child.state_dict() and not list(child.parameters()))
    ]


def kept(method: nn.Module) -> Iterator[str]:
    """Names of the state that are kept; of two names for one storage the first."""
    out, seen = set(dropped(method)), set()
    for name, value in method.state_dict().items():
        where = (value.data_ptr(), value.shape)
        if name.split(".")[0] not in out and (where not in seen or not value.numel()):
            seen.add(where)
            yield name


def rounded(value: Tensor) -> Tensor:
    """A matrix or kernel of floating-point numbers as float16 where that can hold them, anything else as it is."""
    fits = value.is_floating_point() and value.ndim >= 2 and float(value.abs().max()) < torch.finfo(torch.float16).max
    return value.to(torch.float16) if fits else value


def write(path: Path, state: Mapping[str, Any], method: Method, config: Mapping[str, Any]) -> None:
    """Write what is kept of a state.

    Args:
        path: the file.
        state: as ``checkpoint.States.find`` returns it.
        method: of the run, built as for training; only its structure is read.
        config: the run's config.json.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    tensors = {NETWORKS + name: rounded(state["networks"][name]) for name in kept(method)}
    last = {
        **state["loop"]["submissions"][-1],
        "warm_restart": {
            "step": state["loop"]["step"],
            "weights": "float16",
            "dropped": ["optimiser moments", *dropped(method)],
            "differs": [],
        },
    }
    loop = {**state["loop"], "submissions": [*state["loop"]["submissions"][:-1], last]}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config),
        "content_hash": state["content_hash"],
        "tree": json.dumps(checkpoint.flatten(loop, tensors, "loop")),
    }
    files.save_tensors(path, tensors, {**metadata, "sha256": checkpoint.checksum(tensors, metadata)})


def read(path: Path) -> Warm:
    """What ``write`` wrote, verified.

    Raises:
        UserError: the file is missing or damaged.
    """
    tensors, metadata = files.load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a warm state ({metadata.get('format', 'no format')}, not {FORMAT})")
    if metadata.get("sha256") != checkpoint.checksum(tensors, metadata):
        raise UserError(f"{path}: damaged (its content has another checksum than it was written with)")
    networks = {name.removeprefix(NETWORKS): value for name, value in tensors.items() if name.startswith(NETWORKS)}
    loop = checkpoint.restore(json.loads(metadata["tree"]), tensors)
    return Warm(json.loads(metadata["config"]), metadata["content_hash"], networks, loop)


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Dotted keys at which two config.json differ, but for the identity that follows from the rest."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return [] if ours == theirs else [path]
    keys = [key for key in {**ours, **theirs} if path or key != "identity"]
    return [
        line for key in keys for line in differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else key)
    ]


def check(where: Path, config: Mapping[str, Any], warm: Warm, other: bool) -> list[str]:
    """The keys at which a warm state was trained otherwise than ``config`` plans.

    Raises:
        UserError: there are some, and ``other`` does not allow them.
    """
    differs = differences(config, warm.config)
    if differs and not other:
        raise UserError(
            f"{where}: trained otherwise than planned now ({', '.join(differs)}); --from-other goes on from it and"
            " records that, deleting it begins again"
        )
    return differs


def restart(job: train.Run, warm: Warm, other: bool = False) -> None:
    """Write the state from which ``job`` goes on, with fresh optimisers, in its folder.

    Args:
        job: a run that nothing has happened to yet.
        warm: where it goes on from.
        other: allow one that was trained under other settings or sources.

    Raises:
        UserError: the warm state is of another identity, of other images, of other networks, or of a longer run.
    """
    where = job.folder / WARM
    differs = check(where, job.config, warm, other)
    if warm.content_hash != job.dataset.content_hash:
        raise UserError(
            f"{where}: state of other images ({warm.content_hash[:12]}), not {job.states.content_hash[:12]}"
        )
    if warm.step > job.training["steps"]:
        raise UserError(f"{where}: at step {warm.step}, beyond training.steps = {job.training['steps']}")
    own, names = job.method.state_dict(), set(kept(job.method))
    wrong = sorted(names ^ warm.networks.keys()) or [n for n in names if own[n].shape != warm.networks[n].shape]
    if wrong:
        raise UserError(f"{where}: state of other networks ('{wrong[0]}' does not fit)")
    for name, value in warm.networks.items():
        own[name].copy_(value)
    for average, follower in averages(job.method).items():
        job.method.get_submodule(follower).load_state_dict(job.method.get_submodule(average).state_dict())
    warm.loop["submissions"][-1]["warm_restart"]["differs"] = differs
    job.states.save(job.method, warm.loop)
