"""A real Slurm on this machine for the time of a test: one node, two fake GPUs, partitions ``cpu`` and ``gpu``.

Keys, sockets, state and logs lie in one temporary folder. Only the configuration must be found at a fixed place, since
Snakemake's plug-in drops SLURM_CONF: two links in /etc/slurm, made where nothing else is, gone when the cluster stops.
The daemons end with the process that started them, even one that is killed.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
TEMPLATE = Path(__file__).with_name("slurm.conf")
PREFIX = "structgan-slurm-"
NODE = "node"
CPUS, MEMORY_MB, GPUS = 8, 16000, 2
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "setpriv")

TASK_PROLOG = """#!/bin/sh
echo "$SLURM_JOB_ID $SLURM_JOB_PARTITION ${{CUDA_VISIBLE_DEVICES:-none}}" >> {folder}/tasks.txt
"""


class ClusterError(Exception):
    """The cluster cannot be started here, and why."""


def missing() -> list[str]:
    """The programs that a cluster needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition, asked for twice a second.

    Raises:
        ClusterError: it did not come true within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not so after {seconds:.0f} s")
        time.sleep(0.5)


def call(*command: str) -> str:
    """The output of one of Slurm's commands.

    Raises:
        ClusterError: it failed; its message is kept.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Cluster:
    """The running daemons and what can be asked of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.links: list[Path] = []

    def start(self) -> None:
        """Write the configuration and start munged, slurmctld and slurmd.

        Raises:
            ClusterError: a program is missing, the user is not root, or /etc/slurm belongs to another cluster.
        """
        if missing():
            raise ClusterError(f"not installed: {', '.join(missing())} (Debian: slurm-wlm, munge, util-linux)")
        if os.geteuid():
            raise ClusterError("only root can start slurmd and make device files")
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        values = {
            "folder": self.folder,
            "host": socket.gethostname().split(".")[0],
            "node": NODE,
            "cpus": CPUS,
            "memory": MEMORY_MB,
            "gpus": GPUS,
            "controller_port": free_port(),
            "node_port": free_port(),
        }
        for index in range(GPUS):
            os.mknod(self.folder / f"gpu{index}", 0o020666, os.makedev(1, 3))
        (self.folder / "gres.conf").write_text(f"Name=gpu Count={GPUS} File={self.folder}/gpu[0-{GPUS - 1}]\n")
        (self.folder / "slurm.conf").write_text(TEMPLATE.read_text().format(**values))
        prolog = self.folder / "task-prolog"
        prolog.write_text(TASK_PROLOG.format(**values))
        prolog.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.link()
        munge = [f"--{name}={self.folder}/munge.{end}" for name, end in
                 (("key-file", "key"), ("socket", "socket"), ("log-file", "log"), ("pid-file", "pid"),
                  ("seed-file", "seed"))]  # fmt: skip
        self.launch("munged", "munged", "--foreground", *munge)
        wait((self.folder / "munge.socket").exists, 10, "munged answers")
        self.launch("slurmctld", "slurmctld", "-D")
        self.start_node()

    def link(self) -> None:
        """Put this configuration in force, where none is but that of a test cluster that is no more."""
        CONFIGURATION.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            path = CONFIGURATION / name
            if path.is_symlink() and PREFIX in str(path.readlink()) and not running(path.readlink().parent):
                path.unlink()
            if path.is_symlink() or path.exists():
                raise ClusterError(f"{path} exists: this machine has a cluster of its own, which stays as it is")
            path.symlink_to(self.folder / name)
            self.links.append(path)

    def launch(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], stdout=log, stderr=log, start_new_session=True
            )

    def start_node(self) -> None:
        """Start slurmd, and wait until the node takes jobs."""
        self.launch("slurmd", "slurmd", "-D", "-N", NODE)
        wait(lambda: self.node_state() in ("idle", "mixed", "allocated"), 60, f"node up (logs: {self.folder})")

    def crash_node(self) -> None:
        """Let the node die as by a loss of power: its daemon and every process of its jobs are gone without a word."""
        daemon = self.daemons.pop("slurmd")
        daemon.kill()
        daemon.wait()
        for process in processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        call("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=crash")

    def halt(self, name: str) -> None:
        """Stop one daemon, by force where asking does not help."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """End every job and daemon, and take the configuration away."""
        if "slurmctld" in self.daemons:
            with contextlib.suppress(ClusterError, subprocess.TimeoutExpired):
                call("scancel", "--user", "root")
                wait(lambda: not self.jobs(), 15, "all jobs ended")
        ours = bool(self.daemons)  # else a cluster of others may run here
        for name in reversed(list(self.daemons)):
            self.halt(name)
        for process in processes() if ours else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for path in self.links:
            path.unlink(missing_ok=True)

    def node_state(self) -> str:
        try:
            return call("sinfo", "--noheader", "--nodes", NODE, "--partition", "cpu", "--format", "%T").strip()
        except ClusterError:
            return "unknown"

    def jobs(self, state: str = "pending,running,completing") -> dict[str, str]:
        """Jobs in the given states: id → what for, as ``rule_train_wildcards_…``."""
        lines = call("squeue", "--noheader", "--states", state, "--format", "%i|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, as ``scontrol show job`` names it."""
        words = call("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def tasks(self) -> dict[str, tuple[str, str]]:
        """Of each job that ran a step: its partition and the CUDA_VISIBLE_DEVICES that the step saw."""
        path = self.folder / "tasks.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return {number: (partition, devices) for number, partition, devices in map(str.split, lines)}


def processes() -> list[int]:
    """Processes of the cluster's jobs: what Slurm put above them, and all that carry the cluster's name.

    To be asked only while this cluster is the machine's: any slurmstepd counts.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            above = (folder / "comm").read_text().strip() == "slurmstepd"
            if above or b"SLURM_CLUSTER_NAME=structgan" in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def running(folder: Path) -> bool:
    """Whether a test cluster's controller is alive."""
    try:
        number = int((folder / "slurmctld.pid").read_text())
        return Path(f"/proc/{number}/comm").read_text().strip() == "slurmctld"
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
