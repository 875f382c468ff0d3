"""Where a run happened: versions, hardware, threads, precision, memory, energy, git; and how it keeps its memory."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from structgan.sources import ROOT

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-fidelity", "lightly", "safetensors", "pillow",
    "snakemake", "structgan",
)  # fmt: skip
TRACKED = ("structgan", "baselines", "workflow", "Snakefile", "pyproject.toml", "requirements.lock")
"""What makes a tree dirty: sources and configuration, not the tables and figures that runs themselves rewrite."""
GIT_TIMEOUT_S = 10
POWERCAP = Path("/sys/class/powercap")


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
    """What env.json says of where and how a run was trained, one entry for each submission that trained it.

    A submission that finds nothing left to train leaves no entry. An entry is as old as the last ``update``: what a
    killed submission trained after its last state file is trained again by the next one, and counted there.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: of a step, as ``structgan.precision`` names it.
    """

    def __init__(self, device: str, precision: str) -> None:
        self.earlier: list[dict[str, Any]] = []
        self.first_step, self.before = 0, 0.0
        self.energy = CpuEnergy()
        self.current: dict[str, Any] = {
            "host": socket.gethostname(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "started": round(time.time(), 3),
            "steps": 0,
            "seconds": 0.0,
            **peaks(),
            "cpu_energy_j": self.energy.joules(),
            **describe(device, precision),
        }

    def update(self, step: int, seconds: float) -> None:
        """Bring this submission's entry up to date.

        Args:
            step: updates that the run has behind it.
            seconds: training time of the run, over all submissions.
        """
        spent = {"steps": step - self.first_step, "seconds": seconds - self.before}
        self.current |= {**spent, **peaks(), "cpu_energy_j": self.energy.joules()}

    def entries(self) -> list[dict[str, Any]]:
        """Every submission that trained the run, first one first; the state file holds them."""
        return [*self.earlier, self.current] if self.current["steps"] or not self.earlier else list(self.earlier)

    def resume(self, entries: list[dict[str, Any]], step: int, seconds: float) -> None:
        """Go on after the submissions of a state file that was written at ``step``."""
        self.earlier, self.first_step, self.before = list(entries), step, seconds

    def summary(self) -> dict[str, Any]:
        """The whole run, for env.json: its last submission's description, its largest peaks, all energy, each entry."""
        entries = self.entries()
        own = ("host", "job", "started", "steps", "seconds")
        found = {key: value for key, value in entries[-1].items() if key not in own}
        for key in peaks():
            known = [entry[key] for entry in entries if entry[key] is not None]
            found[key] = max(known, default=None)
        joules = [entry["cpu_energy_j"] for entry in entries]
        found["cpu_energy_j"] = None if None in joules else round(sum(joules), 1)
        return {**found, "submissions": entries}


def describe(device: str, precision: str = "float32") -> dict[str, Any]:
    """What does not change while a process trains: device, numerics, versions, hardware and the state of the tree."""
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "precision": {
            "step": precision,
            "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
            "matmul": torch.get_float32_matmul_precision(),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        },
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        },
        "versions": {"python": platform.python_version(), **versions(), **gpu_versions(device)},
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


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def gpu_versions(device: str) -> dict[str, str]:
    """CUDA, cuDNN and the kernel's NVIDIA driver; empty on a CPU."""
    if not device.startswith("cuda"):
        return {}
    found = {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    with contextlib.suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text()
        if match := re.search(r"\b\d+\.\d+(\.\d+)?\b", text):
            found["nvidia driver"] = match[0]
    return found


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


class CpuEnergy:
    """Energy that the processor packages of this machine took since this meter was made: the kernel's RAPL counters.

    They count the whole machine, whoever uses it, and on most systems only the administrator may read them. A counter
    wraps (at 262 kJ on many machines, 20 minutes or more); between two readings one wrap is seen.

    Args:
        root: the kernel's powercap folder.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self.packages = sorted(path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1)
        self.last = self._read()
        self.spent = 0

    def _read(self) -> list[tuple[int, int]] | None:
        """(counter, its range) in microjoules of each package; None where one cannot be read."""
        try:
            return [
                (int((path / "energy_uj").read_text()), int((path / "max_energy_range_uj").read_text()))
                for path in self.packages
            ]
        except (OSError, ValueError):
            return None

    def joules(self) -> float | None:
        """What was taken so far, in joules; None where it cannot be read."""
        now = self._read()
        if not now or not self.last:
            return None
        for (old, _), (new, size) in zip(self.last, now, strict=True):
            self.spent += new - old if new >= old else new - old + size
        self.last = now
        return round(self.spent / 1e6, 1)


def git() -> dict[str, Any]:
    """Commit of the repository and whether sources or configuration differ from it; both None outside git."""
    try:
        top, commit = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != ROOT:  # installed inside somebody else's repository
            return {"commit": None, "dirty": None}
        changed = _git("status", "--porcelain", "--untracked-files=normal", "--", *TRACKED)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed.strip())}


def _git(*arguments: str) -> str:
    """What a git command prints; it takes no lock, which another process may need at that moment."""
    command = ["git", "--no-optional-locks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)
    return done.stdout
