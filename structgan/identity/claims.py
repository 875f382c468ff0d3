"""Who may rewrite a plan: the planning process claims its suite and data sets for as long as it lives.

Snakemake's own lock comes after its rules are read, when a second one would already have rewritten the plan beneath the
first. These are advisory locks of the system: a killed process leaves none behind. Imports no torch.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

FOLDER = Path(".snakemake/claims")
"""Beside Snakemake's own locks: no result's folder holds a file that changes with every process."""
held: dict[Path, IO[str]] = {}
"""The open lock files of this process; closing one would give it up."""


def claim(name: str, shared: bool = False) -> str | None:
    """Hold the lock of a name until this process ends, alone or shared with others that only read.

    Returns:
        None where it is held now, else who holds it, in words. A file system without locks lets everyone pass.
    """
    file = (FOLDER / name).absolute()
    if file not in held:
        file.parent.mkdir(parents=True, exist_ok=True)
        held[file] = file.open("a+", encoding="utf-8")
    try:
        fcntl.flock(held[file], (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        held[file].seek(0)
        return held.pop(file).read().strip() or "unknown"
    except OSError:
        return None
    held[file].truncate(0)
    held[file].write(f"process {os.getpid()} on {socket.gethostname()}")
    held[file].flush()
    return None
