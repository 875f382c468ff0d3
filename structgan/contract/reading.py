"""What is read of a method: its file and settings, its features, its samples, and that its files are all it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan import config, method, sources
from structgan.contract.state import differing, same, snapshot
from structgan.contract.subject import Broken, Subject
from structgan.method import Method


def found(subject: Subject) -> str:
    """The file imports and defines one class; what the planner reads of it without importing is what it declares."""
    with subject.attempt("importing it"):
        kind = method.find(subject.name)
        declared = sources.traits(subject.name)
    if not kind.__doc__:
        raise Broken(f"class {kind.__name__} has no docstring: say what the method is, with its paper")
    if not isinstance(kind.views, int) or kind.views < 1:
        raise Broken(f"views = {kind.views!r}: must be how many versions of each image step() wants, at least 1")
    for trait, read in declared.items():
        true = hasattr(kind, "sample") if trait == "samples" else getattr(kind, trait)
        if read != true:
            what = "define sample()" if trait == "samples" else f"write {trait} = True or False"
            raise Broken(
                f"{trait} is {true}, but reading the file without importing it says {read}: {what} in the"
                f" body of class {kind.__name__} itself"
            )
    marks = [trait.replace("_", " ") for trait, true in declared.items() if true]
    return ", ".join([f"class {kind.__name__}", f"{kind.views} view{'s' * (kind.views > 1)}", *marks])


def settings(subject: Subject) -> str:
    """The configuration has the method's block, and the class is built with it."""
    if subject.name not in subject.config["methods"]:
        shown = " + ".join(config.short(file) for file in subject.files)
        raise Broken(
            f"the configuration has no block methods.{subject.name} ({shown}): write one and lay its file on top with"
            " --configfile"
        )
    built = subject.start("settings").method
    for name in ("encoder", *["generator"] * hasattr(built, "sample")):
        if not isinstance(getattr(built, name, None), torch.nn.Module):
            raise Broken(f"self.{name} is no network after __init__: it is what is saved and measured")
    schema = config.SCHEMAS / "methods" / f"{subject.name}.yaml"
    size = f"encoder of {sum(p.numel() for p in built.encoder.parameters()):,} parameters"
    return size if schema.exists() else f"{size}; mistyped keys pass: there is no {config.short(str(schema))}"


@torch.no_grad()
def encoding(subject: Subject) -> str:
    """``encode`` gives (N, D), the same each time, each row of its image alone, and changes nothing."""
    built = subject.start("encoding").method.eval()
    images, before = subject.images(), snapshot(built)
    with subject.attempt("encode()"):
        torch.manual_seed(0)
        features = built.encode(images)
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise Broken(f"encode() gives {shape} for {len(images)} images: must be (N, D), a row an image")
        if features.dtype != torch.float32 or not features.isfinite().all():
            raise Broken(f"encode() gives {features.dtype} numbers, finite or not: must be finite float32")
        if not torch.equal(images, subject.images()):
            raise Broken("encode() changes the images that it is given: work on a copy, without operations in place")
        unchanged(before, built, "encode()")
        torch.manual_seed(1)
        if not torch.equal(features, built.encode(images)):
            raise Broken("encode() of the same images differs the second time: it must be deterministic")
        if not torch.allclose(features[:3], built.encode(images[:3]), atol=1e-5):
            raise Broken(
                "encode() of an image depends on the others of its batch: leave statistics of the batch to step()"
            )
    return f"(N, {features.shape[1]}), of each image alone"


def samples(subject: Subject) -> str | None:
    """``sample`` gives images in [-1, 1] from the given generator alone, and changes nothing."""
    built = subject.start("samples").method.eval()
    if not hasattr(built, "sample"):
        return None
    shape, before = (6, 3, subject.size, subject.size), snapshot(built)

    def sample(seed: int, world: int) -> Tensor:
        torch.manual_seed(world)
        images: Tensor = built.sample(shape[0], torch.Generator().manual_seed(seed))  # type: ignore[operator]
        return images

    with subject.attempt("sample()"):
        images = sample(1, world=0)
        if tuple(images.shape) != shape:
            raise Broken(f"sample({shape[0]}, generator) gives shape {tuple(images.shape)}: must be {shape}")
        if images.requires_grad:
            raise Broken("sample() carries a graph: compute it under torch.no_grad()")
        low, high = float(images.min()), float(images.max())
        if not -1 <= low <= high <= 1:
            raise Broken(f"sample() gives values from {low:.3g} to {high:.3g}: must lie in [-1, 1], as after a tanh")
        if not (images.std(0) > 0).any():
            raise Broken("sample() gives the same image every time: draw latents from the generator it is given")
        unchanged(before, built, "sample()")
        if not torch.equal(images, sample(1, world=5)):
            raise Broken(
                "sample() differs for one seed of the generator that it is given: draw from that one alone,"
                " torch.randn(..., generator=generator)"
            )
        if torch.equal(images, sample(2, world=0)):
            raise Broken("sample() is the same for another generator: draw from the one that it is given")
    return f"(n, {', '.join(map(str, shape[1:]))}) in [{low:.2f}, {high:.2f}]"


def unchanged(before: dict[str, Tensor], built: Method, what: str) -> None:
    """Refuse that reading has changed a network."""
    if names := differing(before, snapshot(built)):
        raise Broken(f"{what} changes `{names[0]}`: reading must leave the networks as they are; do that in step()")


def published(subject: Subject) -> str:
    """A finished run read from its files gives the same features and samples."""
    run = subject.start("published", steps=2)
    with subject.attempt("training and publishing it"):
        run.fit()
        run.publish()
    loaded = method.load_run(run.folder, run.dataset.content_hash)
    if loaded.training or any(parameter.requires_grad for parameter in loaded.parameters()):
        raise Broken("a run that is loaded is not frozen in evaluation mode: train() and eval() must reach every part")
    run.method.eval()
    readings: dict[str, Callable[[Any], Tensor]] = {"encoder": lambda built: built.encode(subject.images())}
    if hasattr(loaded, "sample"):
        readings["generator"] = lambda built: built.sample(3, torch.Generator().manual_seed(1))
    for network, read in readings.items():
        what = "encode()" if network == "encoder" else "sample()"
        with subject.attempt(f"{what} of a run that is loaded"), torch.no_grad():
            if not same(read(loaded), read(run.method)):
                raise Broken(f"{what} uses more than self.{network}, the only network that is published for it")
    return ", ".join(sorted(path.name for path in Path(run.folder).glob("*.safetensors") if path.stem[:5] != "state"))
