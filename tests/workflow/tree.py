"""A copy of the repository, the tiny suite in it, and the commands that a user types there."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from structgan import cli

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "profiles", "slurm", "structgan", "baselines", "workflow", "tests/tiny.yaml", "pyproject.toml")
TINY = ("workflow/config/demo.yaml", "tests/tiny.yaml")
LOCAL = ("--profile", "workflow/profiles/local", "--cores", "2")
RUNS = 4
"""Of the tiny suite: one of the structural GAN, two of the random encoder, one of SimCLR."""


@dataclass
class Tree:
    """A copy of the repository below ``root``."""

    root: Path

    @classmethod
    def copy(cls, root: Path, *more: str) -> "Tree":
        """Copy what a run needs; links such as ``slurm`` stay links."""
        for part in (*PARTS, *more):
            source, target = ROOT / part, root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target, follow_symlinks=False)
        return cls(root)

    def copied(self, root: Path) -> "Tree":
        """The same tree elsewhere, with the same file times."""
        return type(self)(Path(shutil.copytree(self.root, root, symlinks=True)))

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a command in this tree."""
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(self.root / ".snakemake/cache"),
            "OMP_NUM_THREADS": "1",
        }
        return {key: value for key, value in os.environ.items() if key != "SNAKEMAKE_PROFILE"} | own | variables

    def call(self, *command: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that must end with this exit code."""
        environment = self.environment(**variables)
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == code, f"{command}: {done.stdout[-3000:]}{done.stderr[-5000:]}"
        return done

    def structgan(self, *words: str | Path) -> tuple[int, list[str]]:
        """Exit code and lines of a command, run in this process, since many commands would mostly import."""
        said = io.StringIO()
        with (
            contextlib.chdir(self.root),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            mock.patch.object(sys, "argv", ["structgan", *map(str, words)]),
        ):
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return code, said.getvalue().splitlines()

    def refused(self, *words: str | Path) -> str:
        """The one line with which a command is refused."""
        code, lines = self.structgan(*words)
        assert code == 2 and [line for line in lines if line.startswith("structgan: ")] == lines[-1:], (code, lines)
        return lines[-1]

    def snakemake(self, *words: str, configs: tuple[str, ...] = TINY, code: int = 0, **variables: str) -> str:
        """What Snakemake prints, called by its full name, as from an environment that was not activated."""
        own = {str(Path(sys.executable).parent)} if sys.prefix != sys.base_prefix else set()
        path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder not in own)
        command = [sys.executable, "-m", "snakemake", *LOCAL, *(["--configfile", *configs] if configs else [])]
        done = self.call(*command, *words, code=code, **{"PATH": path, **variables})
        return done.stdout + done.stderr

    def planned(self, *words: str, configs: tuple[str, ...] = TINY) -> dict[str, int]:
        """Jobs of a dry run by rule, without the targets' own and the sum."""
        lines = self.snakemake("--dry-run", *words, configs=configs).splitlines()
        counts: dict[str, int] = {}
        for line in lines[lines.index("Job stats:") + 3 :] if "Job stats:" in lines else []:
            if len(line.split()) != 2:
                break
            rule, count = line.split()
            counts[rule] = int(count)
        return {rule: count for rule, count in counts.items() if rule not in ("all", "runs", "total")}

    def plan(self, suite: str = "tiny") -> dict[str, Any]:
        """The only plan of a suite."""
        (path,) = (self.root / "results/plans" / suite).glob("*.json")
        plan: dict[str, Any] = json.loads(path.read_text())
        return plan

    def edit(self, name: str, old: str, new: str) -> str:
        """Replace text in a file; returns what the file was."""
        before = (self.root / name).read_text()
        assert before.count(old) == 1, name
        (self.root / name).write_text(before.replace(old, new))
        return before
