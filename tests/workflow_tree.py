"""A copy of the repository's tree to run real Snakemake in, and the tiny suite of tests/tiny.yaml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "profiles", "structgan", "baselines", "workflow", "tests/tiny.yaml", "pyproject.toml")
TINY = ("workflow/config/demo.yaml", "tests/tiny.yaml")


def copy_tree(target: Path) -> Path:
    for part in PARTS:
        source, copy = ROOT / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    return target


def surroundings(tree: Path, **variables: str) -> dict[str, str]:
    """The environment of a command on the copy of the tree."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tree),
        "XDG_CACHE_HOME": str(tree / ".cache"),
        **variables,
    }


def unactivated() -> str:
    """PATH without the virtual environment that the tests run in, where they do."""
    folders = os.environ["PATH"].split(os.pathsep)
    own = {Path(sys.executable).parent} if sys.prefix != sys.base_prefix else set()
    return os.pathsep.join(folder for folder in folders if Path(folder) not in own)


def snakemake(
    tree: Path, *arguments: str, configs: tuple[str, ...] = TINY, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Snakemake by its full name, as from an environment that was not activated."""
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local", "--cores", "2"]
    command += ["--configfile", *configs] if configs else []
    return subprocess.run(
        [*command, *arguments],
        cwd=tree,
        env=surroundings(tree, **{"PATH": unactivated(), **variables}),
        capture_output=True,
        text=True,
        timeout=900,
    )


def planned(tree: Path, *arguments: str, configs: tuple[str, ...] = TINY) -> dict[str, int]:
    """Jobs of a dry run by rule."""
    done = snakemake(tree, "--dry-run", *arguments, configs=configs)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    counts: dict[str, int] = {}
    for line in lines[lines.index("Job stats:") + 3 :] if "Job stats:" in lines else []:
        if len(line.split()) != 2:
            break
        rule, count = line.split()
        counts[rule] = int(count)
    return counts
