"""A scratch copy of the repository, and Snakemake on it as a user would call it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "structgan", "baselines", "workflow", "tests", "pyproject.toml", "slurm", "profiles")
LOG = "snakemake.log"
RULES = ("train", "evaluate", "evaluate_samples", "extractor", "prepare", "table", "plot", "report")
CONFIGS = ("workflow/config/demo.yaml", "tests/tiny.yaml")


@dataclass
class Tree:
    """A copy of the repository."""

    root: Path

    def start(self, *arguments: str, config: str, **environment: str) -> subprocess.Popen[str]:
        """Snakemake on this copy as a user would call it, in the background, its messages in a file."""
        command = ["snakemake", "--configfile", *CONFIGS, config, *arguments]
        values = self.environment() | environment
        with open(self.root / LOG, "w") as out:
            return subprocess.Popen(command, cwd=self.root, env=values, stdout=out, stderr=out, text=True)

    def python(self, *arguments: str) -> None:
        """Python on this copy's package."""
        subprocess.run([sys.executable, *arguments], cwd=self.root, env=self.environment(), check=True, timeout=300)

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "XDG_CACHE_HOME": str(self.root / ".cache"),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *arguments: str, config: str, timeout: float = 600, **environment: str) -> str:
        """The same to its end, which must be a good one; its messages."""
        with self.start(*arguments, config=config, **environment) as process:
            try:
                process.wait(timeout)
            finally:
                end(process)
        assert process.returncode == 0, self.messages()[-6000:]
        return self.messages()

    def messages(self) -> str:
        """What the last call said."""
        return (self.root / LOG).read_text()


def small(mem_mb: int, runtime: int, gpu: int) -> list[str]:
    """Options that make each job small enough for the cluster of the tests."""
    asked = [f"{rule}:{key}={value}" for rule in RULES for key, value in (("mem_mb", mem_mb), ("runtime", runtime))]
    asked += [f"{rule}:gpu={gpu}" for rule in RULES[:4]]
    return ["--set-threads", *(f"{rule}=1" for rule in RULES), "--set-resources", *asked]


def end(process: subprocess.Popen[str]) -> None:
    """End Snakemake, which on Ctrl-C cancels its jobs, where it has not ended by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def copy(to: Path) -> Tree:
    """Copy what a run needs; the link ``slurm`` stays a link."""
    for part in PARTS:
        if (ROOT / part).is_dir() and not (ROOT / part).is_symlink():
            shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, to / part, follow_symlinks=False)
    return Tree(to)
