"""What a cluster's queue says of our jobs, where there is a Slurm to ask."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

TIMEOUT_S = 10


def jobs() -> dict[str, str]:
    """State of each pending or running job by its comment, which Snakemake's Slurm executor sets.

    The comment is ``rule_RULE_wildcards_DATASET_METHOD_AUGMENTATION_VARIANT_SEED``, of a run's evaluations together
    ``rule_evaluate_DATASET_METHOD_AUGMENTATION_VARIANT_SEED_fidelity_probe``; only jobs that were submitted from this
    folder count. Empty where there is no Slurm or it does not answer.
    """
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--me", "--noheader", "--states=PENDING,RUNNING", "--format=%T|%Z|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        state, folder, comment = (*line.split("|", 2), "", "")[:3]
        if Path(folder) == Path.cwd() and found.get(comment) != "RUNNING":
            found[comment.strip()] = state
    return found
