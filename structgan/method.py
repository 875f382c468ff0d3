"""The contract that every method keeps, and how a method is found: by the stem of its file.

A method lives in ``structgan/methods/<name>.py`` or ``baselines/<name>.py``: one file, one public class derived from
``Method``. The stem is the wildcard of the DAG, the key of the configuration and the row of the table. Nothing
registers it.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from structgan import distributed, provenance, sources
from structgan.errors import UserError
from structgan.files import load_tensors


class Method(nn.Module):
    """One way to learn an encoder.

    A subclass builds its networks in ``__init__``, updates them in ``step`` and names two of them: ``encoder`` maps
    images to features, and ``generator``, where there is one, maps latents to images; ``generator_ema`` is the moving
    average that samples come from, where there is one. Everything that must survive an interruption is a parameter, a
    buffer or one of ``optimizers()``; the training loop saves it.

    Class attributes:
        views: independently augmented versions of each image that ``step`` wants.
        uses_labels: True lets the labels reach ``step``; every table then marks the row.
        uses_generator: True needs a run that can sample as the upstream run.
        companions: attributes that hold further networks, which a finished run keeps for ``readouts``.

    Attributes that the training loop sets, for ``step``:
        step_index: number of the update to come, from 0.
        rng: source of the method's own randomness, on the device; see ``noise``.
        transform: a random view of generated images under the run's augmentation, as the real ones have it, with
            gradient. Shape: (N, 3, H, W), values in [-1, 1] or uint8 in 0..255, to values in [-1, 1].
        images: all training images as they are, on the device, and never their labels. Shape: (M, 3, H, W) uint8.
        upstream: the finished run that ``upstream`` in the configuration names, frozen, or None. It is no part of this
            module: neither saved nor counted nor set to training.

    Args:
        settings: this method's block of the configuration, resolved.
        image_size: height and width of the images in pixels.
        num_classes: classes of the data set, for methods that use labels.
        steps: planned number of updates, for schedules.
    """

    views: ClassVar[int] = 1
    uses_labels: ClassVar[bool] = False
    uses_generator: ClassVar[bool] = False
    companions: ClassVar[tuple[str, ...]] = ()
    upstream: "Method | None" = None
    encoder: nn.Module
    identity: str
    transform: Callable[[Tensor], Tensor]
    images: Tensor

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__()
        self.settings, self.image_size, self.num_classes, self.steps = settings, image_size, num_classes, steps
        self.rng = torch.Generator()
        self.step_index = 0

    def attach(self, upstream: "Method") -> None:
        """Take the upstream run, before the first step; a subclass raises ``UserError`` if it is of no use to it."""
        vars(self)["upstream"] = upstream  # not by assignment, with which a module becomes part of this one

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.upstream is not None:
            self.upstream._apply(fn, recurse)
        return self

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        """One update of everything that learns.

        Args:
            views: ``self.views`` versions of one batch. Shape of each: (N, 3, H, W), values in [-1, 1].
            labels: class indices, shape (N,), or None unless ``uses_labels``.

        Returns:
            Detached scalars to log, by name. The loop stops the run when one of them is not finite.
        """
        raise TypeError(f"{type(self).__name__} defines no step()")

    def encode(self, images: Tensor) -> Tensor:
        """Features of images. Shape: (N, 3, H, W), values in [-1, 1], to (N, D)."""
        features: Tensor = self.encoder(images)
        return features

    @property
    def live_encoder(self) -> nn.Module:
        """The network in training whose moving average ``encoder`` is; ``encoder`` itself where there is no average."""
        return self.encoder

    @property
    def sampler(self) -> nn.Module:
        """The network that samples come from: ``generator_ema``, or ``generator`` where there is no average."""
        return self.get_submodule("generator_ema" if hasattr(self, "generator_ema") else "generator")

    def network(self, name: str) -> nn.Module:
        """The network that a finished run keeps as ``<name>.safetensors``."""
        return self.sampler if name == "generator" else self.get_submodule(name)

    def readouts(self, images: Tensor) -> dict[str, Tensor]:
        """Features that k-means clusters, by name, in the shape of ``encode``; ``companions`` allow for more."""
        return {"h": self.encode(images)}

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images, finest first, for heads that answer at each place; by default the encoder's own.

        Shape: (N, 3, H, W), values in [-1, 1] and H, W not only those of training, to (N, D_i, H_i, W_i) each.

        Raises:
            NotImplementedError: the encoder has none, and why; tables show a dash with these words.
        """
        read = getattr(self.encoder, "feature_maps", None)
        if read is None:
            raise NotImplementedError(f"its encoder, a {type(self.encoder).__name__}, has no feature maps")
        found: list[Tensor] = read(images)
        return found

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what learns; a network in which nothing takes a gradient stays in evaluation mode.

        So a moving average never uses batch statistics, moves running statistics or updates a spectral norm's vectors.
        """
        super().train(mode)
        for network in self.children():
            if not any(parameter.requires_grad for parameter in network.parameters()) and [*network.parameters()]:
                network.eval()
        return self

    def collapse_vectors(self, images: Tensor) -> dict[str, Tensor]:
        """Vectors by name that must differ from image to image; the loop stops the run where they are all alike.

        Shape: (N, 3, H, W), values in [-1, 1], to (N, D) each.
        """
        return {"features": self.encode(images)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimizer among the attributes, by name; they are saved and restored with the run."""
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}

    def sample_latents(self, n: int, latent: int, generator: torch.Generator) -> Tensor:
        """Images of ``self.sampler`` from normal latents of length ``latent``, as most methods sample them.

        Shape: (n, 3, H, W), values in [-1, 1].
        """
        with torch.no_grad():
            images: Tensor = self.sampler(torch.randn(n, latent, generator=generator, device=generator.device))
        return images

    def noise(self, n: int, *shape: int, stacked: int = 1) -> Tensor:
        """Standard normal numbers from the run's own generator, on its device. Shape: (n, *shape).

        Where several processes share a batch, each draws for all of it and keeps its rows. The rows are those of
        ``stacked`` batches, one after the other, such as 2 for real and generated images.
        """
        drawn = torch.randn(n * distributed.size(), *shape, generator=self.rng, device=self.rng.device)
        return distributed.shard(drawn, stacked=stacked)


def find(name: str) -> type[Method]:
    """The class of a method by its name.

    Raises:
        UserError: no such file, no single public subclass of ``Method`` in it, or its import fails.
    """
    path = sources.method_file(name)
    try:
        module = importlib.import_module(sources.module_name(path))
    except ImportError as error:
        raise UserError(f"{path}: cannot be imported: {error}") from error
    classes = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    found = [kind for kind in classes if issubclass(kind, Method)]
    if len(found) != 1:
        raise UserError(f"{path}: must define exactly one class derived from Method, found {len(found)}")
    return found[0]


def build(config: Mapping[str, Any], num_classes: int) -> Method:
    """The method of a run's config.json, with fresh weights."""
    name, settings = config["method"], config["settings"]
    size, steps = settings["dataset"]["image_size"], settings["training"]["steps"]
    try:
        return find(name)(settings["method"], size, num_classes, steps)
    except KeyError as error:
        raise UserError(f"methods.{name}.settings: key {error} is missing (workflow/config)") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"methods.{name}.settings: {error}") from error


def network_files(run: Path, method: str) -> list[Path]:
    """The files that hold the networks of a method's finished run: its encoder and, where it samples, its generator."""
    names = ["encoder", "generator"] if sources.capabilities(method)["samples"] else ["encoder"]
    return [run / f"{name}.safetensors" for name in names]


def published_files(run: Path, method: str) -> list[Path]:
    """The file of every network that a method's finished run keeps, in the order of writing: the encoder's last."""
    companions = [run / f"{name}.safetensors" for name in find(method).companions]
    return [*companions, *reversed(network_files(run, method))]


def load_run(run: str | Path, content_hash: str | None, device: str = "cpu", companions: bool = False) -> Method:
    """A finished run's method in evaluation mode, frozen: its encoder and, where there is one, its generator.

    Args:
        run: the run's folder.
        content_hash: of the data set that it is to be measured on; None for any.
        companions: load the further networks too, for ``readouts``.

    Raises:
        UserError: the run is not finished, its files are damaged, or they belong to another configuration or data.
    """
    folder = Path(run)
    config, trained = provenance.read_config(folder), provenance.read_training(folder)
    wanted = published_files if companions else network_files
    paths = [provenance.read_companion(folder, trained, path.name) for path in wanted(folder, config["method"])]
    files = {path.stem: load_tensors(path) for path in paths}
    for name, (_, metadata) in files.items():
        if metadata.get("identity") != config["identity"]:
            raise UserError(f"{folder}: {name}.safetensors was trained under another config.json; train the run again")
        if content_hash not in (None, metadata["content_hash"]):
            raise UserError(f"{folder}: {name}.safetensors was trained on other images than these; train the run again")
    method = build(config, int(files["encoder"][1]["num_classes"]))
    for name, (tensors, _) in files.items():
        method.network(name).load_state_dict(tensors)
    method.identity = config["identity"]
    return method.to(device).eval().requires_grad_(False)
