"""Slurm's commands as small scripts that run a submitted job at once: what the real plug-in submits, without a cluster.

In place of ``python -m structgan VERB`` the jobs leave empty files, or fail where a test says so.
"""

import json
import os
import sys
from pathlib import Path

SBATCH = """
import json, os, subprocess, sys
from pathlib import Path

folder, words = Path(__file__).parent, sys.argv[1:]
log = folder / "submissions.jsonl"
number = len(log.read_text().splitlines()) + 1 if log.exists() else 1
command = next(word.removeprefix("--wrap=") for word in words if word.startswith("--wrap="))
with log.open("a") as file:
    print(json.dumps(words), file=file)
with (folder / f"{number}.log").open("w") as out:
    values = os.environ | {"SLURM_JOB_ID": str(number)}
    done = subprocess.run(command, shell=True, env=values, stdout=out, stderr=out)
with (folder / "states").open("a") as file:
    print(f"{number}|{'FAILED' if done.returncode else 'COMPLETED'}", file=file)
print(number)
"""
PYTHON = """
import sys
from pathlib import Path

words, folder = sys.argv[3:], Path(__file__).parent
given = dict(zip(words[1::2], words[2::2]))
verb, run = words[0], Path(given.get("--run", "."))
protocol = Path(given.get("--protocol", "")).stem
name = protocol.split("-")[0] if verb == "evaluate" else verb
with (folder / "verbs").open("a") as file:
    print(name, file=file)
if (folder / f"{name}.fails").exists():
    sys.exit(1)
made = {"train": ["encoder.safetensors", "history.json", "env.json"], "evaluate": [f"{protocol}.json"]}.get(verb)
for path in [run / name for name in made] if made else [Path(given["--out"])]:
    path.touch()
"""
TOOLS = {
    "sbatch": f"#!{sys.executable}\n{SBATCH}",
    "python": f"#!{sys.executable}\n{PYTHON}",
    "srun": '#!/bin/sh\nwhile case "$1" in -*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n',
    "squeue": '#!/bin/sh\ncat "$(dirname "$0")/states"\n',
    "scontrol": '#!/bin/sh\necho "MinJobAge = 300 sec"\n',
    "scancel": "#!/bin/sh\n",
    "sacct": "#!/bin/sh\nexit 1\n",
    "sacctmgr": "#!/bin/sh\nexit 1\n",
}


def install(folder: Path) -> Path:
    """Write the commands to a folder, which is to come first in PATH."""
    folder.mkdir()
    for name, text in TOOLS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def submissions(folder: Path) -> list[dict[str, str]]:
    """The options of each submission in their order; ``--comment`` says what for."""
    lines = (folder / "submissions.jsonl").read_text().splitlines()
    return [options(json.loads(line)) for line in lines]


def options(words: list[str]) -> dict[str, str]:
    """``--name value``, ``--name=value`` and ``-n value`` as name to value."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            found[name] = value if equals else following
    return found


def path(folder: Path) -> str:
    """PATH with the folder before everything else."""
    return f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
