"""Where a run happened: versions, hardware, threads, precision, memory, git; and how a process keeps its memory."""

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from structgan import kernels
from structgan.sources import ROOT

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-fidelity", "lightly", "safetensors", "pillow",
    "snakemake", "structgan",
)  # fmt: skip
TRACKED = ("structgan", "baselines", "workflow", "Snakefile", "pyproject.toml", "requirements.lock")
"""What makes a tree dirty: sources and configuration, not the tables and figures that runs themselves rewrite."""
GIT_TIMEOUT_S = 10


def keep_memory() -> None:
    """Keep freed memory in the process: handing each large tensor back to the system costs a CPU dearly."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)  # a threshold of mmap's cannot be set above 32 MiB, the size of one map of ours


def best_device() -> str:
    """``cuda`` where there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Record:
    """What env.json says of where and how a run was trained, with an entry for each submission that trained it.

    A submission that finds nothing left to train leaves no entry. What a killed submission trained after its last
    state file is trained again by the next one, and counted there.
    """

    def __init__(self, device: str, precision: str) -> None:
        self.earlier: list[dict[str, Any]] = []
        self.first_step, self.before = 0, 0.0
        self.own = {"host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID"), "started": time.time()}
        self.spent: dict[str, Any] = {"steps": 0, "seconds": 0.0}
        self.description = {**peaks(), **describe(device, precision)}

    def update(self, step: int, seconds: float) -> None:
        """Bring this submission's entry up to date: steps and seconds are those of the run, over all submissions."""
        self.spent = {"steps": step - self.first_step, "seconds": seconds - self.before}
        self.description |= peaks()

    def entries(self) -> list[dict[str, Any]]:
        """Every submission that trained the run, first one first; the state file holds them."""
        if self.earlier and not self.spent["steps"]:
            return self.earlier
        return [*self.earlier, {**self.own, **self.spent, **self.description}]

    def resume(self, entries: list[dict[str, Any]], step: int, seconds: float) -> None:
        """Go on after the submissions of a state file that was written at ``step``."""
        self.earlier, self.first_step, self.before = entries, step, seconds

    def summary(self) -> dict[str, Any]:
        """The whole run, for env.json: its last submission's description, its largest peaks, and each entry."""
        entries = self.entries()
        largest = {key: max((entry[key] for entry in entries if entry[key]), default=None) for key in peaks()}
        last = {key: entries[-1][key] for key in self.description}
        return {**last, **largest, "submissions": entries}


def describe(device: str, precision: str = "float32") -> dict[str, Any]:
    """What does not change while a process trains: device, numerics, versions, hardware and the state of the tree."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if device.startswith("cuda"):
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "precision": {"step": precision, "tf32_matmul": torch.backends.cuda.matmul.allow_tf32},
        "fused_kernels": kernels.on(device, getattr(torch, precision)),
        "versions": versions,
        "hardware": hardware(device),
        "git": git(),
    }


def peaks() -> dict[str, float | None]:
    """Largest memory of this process so far, in MiB: resident on the host, and allocated by PyTorch on the GPU."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    allocated = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {
        "peak_host_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1),
        "peak_gpu_memory_mb": round(allocated / 2**20, 1) if allocated else None,
    }


def hardware(device: str) -> dict[str, Any]:
    """The system, its processor and the cores that this process may use, and the GPUs that it sees."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"system": platform.platform(), "cpu": cpu_name(), "cores": cores, "gpu": None, "gpus": 0}
    if device.startswith("cuda"):
        found |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    return found


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def git() -> dict[str, Any]:
    """Commit of the repository and whether sources or configuration differ from it; both None outside git."""

    def ask(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]  # another process may need the lock at that moment
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)
        return done.stdout

    try:
        top, commit = ask("rev-parse", "--show-toplevel", "HEAD").splitlines()
        changed = ask("status", "--porcelain", "--untracked-files=normal", "--", *TRACKED)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {"commit": None, "dirty": None}
    if Path(top).resolve() != ROOT:  # installed inside somebody else's repository
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed.strip())}
