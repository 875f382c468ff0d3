"""structgan: a reproducibility benchmark of structural adversarial objectives for self-supervised learning.

Example:
    >>> frame = structgan.results("demo")
    >>> encoder = structgan.load_encoder("results/runs/digits_gradient/structural/none/full/seed=0/1f3a9c2e")
    >>> features = encoder.encode(images)
    >>> structgan.export(encoder, "encoder.onnx")
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structgan.encoders import export as export
    from structgan.encoders import load_encoder as load_encoder
    from structgan.report.curves import load as curves
    from structgan.report.results import load as results

__all__ = ["curves", "export", "load_encoder", "results"]
__version__ = "0.1.0"
os.environ.setdefault("USER", str(os.getuid()))  # torch and Snakemake ask for a name; a container's user may have none


def __getattr__(name: str) -> Any:
    """Public functions are imported when they are used: the command line starts without PyTorch and pandas."""
    if name in ("export", "load_encoder"):
        return getattr(importlib.import_module("structgan.encoders"), name)
    if name in ("curves", "results"):
        return importlib.import_module(f"structgan.report.{name}").load
    raise AttributeError(f"module 'structgan' has no attribute '{name}'")
