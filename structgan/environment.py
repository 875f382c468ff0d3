"""Where a run happened: versions, hardware, threads, memory, git; and the settings of the process that make it fast."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import platform
import resource
import subprocess
from pathlib import Path
from typing import Any

import torch

from structgan.sources import ROOT

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "torch-fidelity", "lightly", "snakemake", "structgan")


def tune(device: str) -> None:
    """Keep freed memory in the process: handing each large tensor back to the system costs a CPU dearly."""
    if device == "cpu" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 2**25)
    else:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def best_device() -> str:
    """``cuda`` where there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(device: str) -> dict[str, Any]:
    """Versions, hardware, peak memory in MiB and the state of the repository, for env.json."""
    cuda = device.startswith("cuda")
    peak = (
        torch.cuda.max_memory_allocated() / 2**20 if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    return {
        "device": device,
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "peak_memory_mb": round(peak, 1),
        "versions": {"python": platform.python_version(), **versions()},
        "hardware": {"cpu": cpu_name(), "gpu": torch.cuda.get_device_name() if cuda else None},
        "git": git(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def git() -> dict[str, Any]:
    """Commit of the repository and whether tracked files differ from it; both None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit.stdout.strip(), "dirty": bool(changed.stdout.strip())}
