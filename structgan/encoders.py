"""Trained encoders for use outside the suite: loaded in Python, as ONNX, or as a folder to publish."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from structgan import evaluation, files, method, provenance
from structgan.errors import UserError
from structgan.models.tangent import GroupNorm

EXPORTED = "model.safetensors"
BATCH = 500
"""Images in one forward pass of ``encode``. It affects memory and no number."""


class Encoder(nn.Module):
    """A finished run's encoder, frozen and in evaluation mode.

    Attributes:
        run: the run's folder. config: its config.json.
        image_size: height and width of the images, in pixels.
    """

    def __init__(self, trained: method.Method, run: Path, config: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.run, self.config = trained, run, config
        self.image_size = trained.image_size
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images. Shape: (N, 3, H, W) float, values in [-1, 1], to (N, D)."""
        return self.network.encode(images)

    def encode(self, images: Tensor) -> Tensor:
        """Features of images, in batches and without gradients.

        Args:
            images: Shape: (N, 3, H, W); uint8, or float with values in [-1, 1]; H and W are ``image_size``.

        Returns:
            Shape: (N, D), float32, on the encoder's device.

        Raises:
            ValueError: another shape, type or range of values.
        """
        size = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
            raise ValueError(f"images must be (N, 3, {size}, {size}), not {tuple(images.shape)}")
        if images.dtype != torch.uint8 and (not images.is_floating_point() or (len(images) and images.abs().max() > 1)):
            raise ValueError(f"images must be uint8, or float in [-1, 1], not {images.dtype} with other values")
        device, parts = next(self.parameters()).device, []
        with torch.no_grad():
            for part in torch.split(images, BATCH):
                given = part.to(device).float()
                parts.append(self(given / 127.5 - 1 if images.dtype == torch.uint8 else given).float())
        return torch.cat(parts)


def load_encoder(run: str | Path, device: str = "cpu") -> Encoder:
    """The encoder of a finished run, whose checksums are verified.

    Args:
        run: its folder, results/runs/…/seed=<seed>/<id>; or its id, which ``structgan.results`` has as ``run``; or a
            folder that ``export`` wrote.
        device: ``cpu`` or ``cuda``.

    Raises:
        UserError: there is no such run, it is not finished, or a file is damaged.
    """
    folder = Path(run)
    if not folder.exists():
        found = sorted(provenance.RUNS.glob(f"*/*/*/*/seed=*/{folder.name}")) if len(folder.parts) == 1 else []
        if len(found) != 1:
            raise UserError(f"{run}: no such run in {provenance.RUNS}")
        folder = found[0]
    config = provenance.read_config(folder)
    if not (folder / EXPORTED).exists():
        return Encoder(method.load_run(folder, None, device), folder, config)
    tensors, about = files.load_tensors(folder / EXPORTED)
    if about["identity"] != config["identity"]:
        raise UserError(f"{folder}: {EXPORTED} is of another run than config.json")
    trained = method.build(config, int(about["num_classes"]))
    trained.encoder.load_state_dict(tensors)
    return Encoder(trained.to(device), folder, config)


def export(run: "str | Path | Encoder", path: str | Path) -> Path:
    """Write an encoder for use without the suite; returns ``path``.

    Args:
        run: as for ``load_encoder``, or what it returned.
        path: a file ``….onnx``: a graph from "images", (N, 3, H, W) float32 in [-1, 1], to "features", (N, D), for any
            N. Else a new folder in the form of the Hugging Face Hub: model.safetensors, config.json (the run's), and
            README.md with the numbers and protocols of the run's evaluations.

    Raises:
        UserError: the run as for ``load_encoder``; ``path`` exists; or a package for ONNX is missing.
    """
    encoder, target = run if isinstance(run, Encoder) else load_encoder(run), Path(path)
    if target.exists():
        raise UserError(f"{target}: exists already; name a new file or folder")
    if target.suffix == ".onnx":
        write_onnx(encoder, target)
    else:
        write_folder(encoder, target)
    return target


def write_onnx(encoder: Encoder, path: Path) -> None:
    """The graph, with PyTorch's own GroupNorm in place of ours, which ONNX has no operator for."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("ONNX needs further packages: pip install onnx onnxscript") from error
    plain = copy.deepcopy(encoder).cpu()
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GroupNorm):
                norm = nn.GroupNorm(child.num_groups, child.num_channels, child.eps, child.affine)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
    images = torch.zeros(2, 3, encoder.image_size, encoder.image_size)
    shapes = {"images": {0: torch.export.Dim("n")}}
    with files.replacing(path) as temporary:
        program = torch.onnx.export(
            plain, (images,), input_names=["images"], output_names=["features"], dynamic_shapes=shapes, verbose=False
        )
        assert program is not None
        program.save(temporary)


def write_folder(encoder: Encoder, folder: Path) -> None:
    """model.safetensors, config.json and README.md."""
    text, about = card(encoder), {"format": "pt", "identity": encoder.config["identity"]}
    about["num_classes"] = str(encoder.network.num_classes)
    files.save_tensors(folder / EXPORTED, encoder.network.encoder.state_dict(), about)
    files.write_json(folder / "config.json", encoder.config)
    files.write_text(folder / "README.md", text)


def card(encoder: Encoder) -> str:
    """The model card: what was trained, and every number with its protocol."""
    config = encoder.config
    names = {key: config[key] for key in ("dataset", "method", "augmentation", "variant", "seed")}
    rows = []
    for path in sorted(path for name in evaluation.found() for path in encoder.run.glob(f"{name}-*.json")):
        record = provenance.read_evaluation(encoder.run, path.name)
        rows += [f"## {record['evaluation']['name']}", "", "| number | value |", "|---|---|"]
        rows += [f"| {key} | {value:.4g} |" for key, value in flat(record["metrics"]).items()]
        rows += ["", "Protocol:", "", "```json", json.dumps(record["protocol"], indent=1, sort_keys=True), "```", ""]
    title = ", ".join(f"{key} {value}" for key, value in names.items())
    head = ["---", "library_name: structgan", "tags: [self-supervised-learning, image-feature-extraction]", "---", ""]
    purpose = f"Images (N, 3, {encoder.image_size}, {encoder.image_size}), values in [-1, 1], to features (N, D)."
    about = [f"# Encoder: {title}", "", f"{purpose} Run {config['identity']} of structgan.", ""]
    return "\n".join([*head, *about, *rows])


def flat(values: Any, prefix: str = "") -> dict[str, float]:
    """Numbers of nested metrics, by their keys joined with dots."""
    found: dict[str, float] = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = value
    return found
