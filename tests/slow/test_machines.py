"""Other machines: a tree of another user, a shared one, no home, a full disk, a fast clock, a poor terminal."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree import LOCAL, TINY, Tree

ONE = "one.yaml"
GRID = """suite: {suite}
grid: [{{datasets: [digits_gradient], methods: [random], augmentations: [none], seeds: [{seeds}]}}]
"""
CONFIGS = ("--configfile", *TINY, ONE)
DRY = ("snakemake", *LOCAL, *CONFIGS, "--dry-run", "--quiet")
RUN = ("snakemake", *LOCAL, *CONFIGS, "--quiet", "host", "reason")
TABLE = ("structgan", "table", "--plan", "one", "--out", "results/tables/one")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.getuid() != 0, reason="becomes other users, so needs root")]


def reachable(scratch: Path) -> str:
    """Shell lines that let every user run this Python, in a mount namespace of their own: root's home is closed."""
    prefixes = sorted({Path(sys.prefix), Path(sys.base_prefix)})
    closed = [next((at for at in reversed(each.parents) if not at.stat().st_mode & 0o001), None) for each in prefixes]
    kept = [(prefix, scratch / prefix.name) for prefix, folder in zip(prefixes, closed, strict=True) if folder]
    return "\n".join(
        [
            *(f"mkdir -p {place}; mount --bind {prefix} {place}" for prefix, place in kept),
            *(f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in {*closed} - {None}),
            *(f"mkdir -p {prefix}; mount --bind {place} {prefix}" for prefix, place in kept),
        ]
    )


class Shared(Tree):
    """A tree in which other users type commands; ``said`` is the exit code and what is printed."""

    def said(
        self, *command: str, user: int = 0, group: int = 0, mask: str = "022", **variables: str
    ) -> tuple[int, str]:
        line = ["sh", "-c", f'umask {mask}; exec "$@"', "sh", sys.executable, "-m", *command]
        if user:
            rights = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all"]
            opened = f'set -e; {reachable(self.root.parent / "python")}\nexec "$@"'
            line = ["unshare", "--mount", "sh", "-c", opened, "sh", *rights, *line]
        own = {"HOME": f"/home/of-nobody-{user}", "XDG_CACHE_HOME": str(self.root.parent / f"cache-{user}")}
        environment = self.environment(**{**own, **variables})
        done = subprocess.run(line, cwd=self.root, env=environment, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout + done.stderr

    def one_line(self, *command: str, **who: int | str) -> str:
        code, said = self.said(*command, **who)
        assert code == 2 and "Traceback" not in said and said.count("structgan: ") == 1, said
        return said[said.index("structgan: ") :].splitlines()[0]

    def run(self) -> str:
        return str(next(self.root.glob("results/runs/*/*/*/*/*/*/config.json")).parent.relative_to(self.root))


@pytest.fixture(scope="module")
def made() -> Iterator[Shared]:
    """One run of a random encoder, with its tables and page, where every user may go: not below pytest's folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        tree = Shared.copy(Path(folder, "tree"))
        (tree.root / ONE).write_text(GRID.format(suite="one", seeds="0"))
        assert tree.said(*RUN)[0] == 0
        yield tree


@pytest.fixture
def tree(made: Shared) -> Iterator[Shared]:
    with tempfile.TemporaryDirectory(dir=made.root.parent) as folder:
        Path(folder).chmod(0o777)
        yield Shared(Path(made.copied(Path(folder, "tree")).root))


@pytest.mark.parametrize(
    "owner", [pytest.param(0, id="another's"), pytest.param(1001, id="own, read-only", marks=pytest.mark.faults)]
)
def test_who_may_only_read_looks_and_is_refused_in_one_line(tree: Shared, owner: int) -> None:
    if owner:
        tree.call("chown", "-R", str(owner), ".")
        tree.call("chmod", "-R", "a-w", "results", ".snakemake")
    who = {"user": 1001, "group": 1001}
    for words in (("verify",), ("status",), ("gc", "--yes"), ("show", "one"), ("configure", *CONFIGS)):
        code, said = tree.said("structgan", *words, **who)
        assert code == 0 and "Traceback" not in said, said
    for command in (TABLE, ("structgan", "rm", "--yes", tree.run()), DRY, RUN):
        assert "may not be written" in (line := tree.one_line(*command, **who)) or "ermission denied" in line
    train = (
        "structgan",
        "train",
        "--run",
        tree.run(),
        "--data",
        str(next(tree.root.glob("data/prepared/*.safetensors"))),
    )
    assert "cannot be written: Permission denied" in tree.one_line(*train, **who)


@pytest.mark.parametrize("mask", [pytest.param("002", marks=pytest.mark.faults), "022"])
def test_two_users_share_a_checkout(tree: Shared, mask: str) -> None:
    """With a group's rights to write they add to one suite; without, an error tells the second user who owns it."""
    tree.call("chown", "-R", "1001:2000", ".")
    tree.call("sh", "-c", "find . -type d -exec chmod g+rwxs {} +; chmod -R g+rw .")
    (tree.root / ONE).write_text(GRID.format(suite="one", seeds="0, 1"))
    code, said = tree.said(*RUN, user=1001, group=2000, mask=mask)
    assert code == 0, said
    (tree.root / ONE).write_text(GRID.format(suite="one", seeds="0, 1, 2"))
    second = {"user": 1002, "group": 2000, "mask": mask}
    if mask == "022":
        assert tree.one_line(*RUN, **second)
    else:
        code, said = tree.said(*RUN, **second)
        assert code == 0, said
        assert tree.said("structgan", "verify", **second)[0] == 0
        assert len(list(tree.root.glob("results/runs/*/*/*/*/*/*/probe-*.json"))) == 3


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tree: Shared, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    results = tree.root / "results"
    tree.call("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk))
    try:
        shutil.copytree(results, disk / "results")
        shutil.rmtree(disk / "results/tables")
        shutil.rmtree(results)
        results.symlink_to(disk / "results")
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/full"], capture_output=True, check=False)
        before = {path: path.read_bytes() for path in (disk / "results/runs").rglob("*") if path.is_file()}
        assert "no space left" in tree.one_line(*TABLE)
        run = Path(tree.root, tree.run())
        (run / "encoder.safetensors").unlink()
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/more"], capture_output=True, check=False)
        train = ("--run", str(run), "--data", str(next(tree.root.glob("data/prepared/*.safetensors"))))
        assert "no space left" in tree.one_line("structgan", "train", *train)
        kept = {path: path.read_bytes() for path in (disk / "results/runs").rglob("*") if path.is_file()}
        assert {path for path in before if kept.get(path) != before[path]} <= {
            disk / run.relative_to(tree.root) / name for name in ("encoder.safetensors", "progress.json", "lock")
        }
    finally:
        tree.call("umount", str(disk))


def test_files_of_a_fast_clock_plan_nothing(tree: Shared) -> None:
    """Results and a plan from tomorrow: nothing is made again, and the suite planned now is the newest."""
    tomorrow = time.time() + 86400
    for path in tree.root.glob("results/**/*.json"):
        os.utime(path, (tomorrow, tomorrow))
    assert tree.planned(configs=(*TINY, ONE)) == {}
    (tree.root / ONE).write_text(GRID.format(suite="one", seeds="0, 1"))
    tree.planned(configs=(*TINY, ONE))
    assert "2 runs" in tree.said("structgan", "status")[1]


def test_a_poor_terminal_and_a_suite_without_results(tree: Shared) -> None:
    code, said = tree.said("structgan", "show", "one", PYTHONIOENCODING="latin-1")
    assert code == 0 and "Random encoder" in said and "?" in said
    (tree.root / ONE).write_text(GRID.format(suite="two", seeds="7"))
    tree.planned(configs=(*TINY, ONE))
    code, said = tree.said("structgan", "show", "two")
    assert code == 1 and "1 of 1 runs are not finished" in said and "Traceback" not in said


def test_the_reason_of_a_failed_job_is_on_the_terminal_and_below_the_tables(tree: Shared) -> None:
    (tree.root / ONE).write_text(GRID.format(suite="one", seeds="7"))
    (data,) = tree.root.glob("data/prepared/*.safetensors")
    data.write_bytes(data.read_bytes()[:-1])
    code, said = tree.said(*RUN)
    assert code == 1 and f"structgan: {data.relative_to(tree.root)}: truncated or damaged" in said, said
    assert " ".join(TABLE) in said and tree.said(*TABLE)[0] == 1
    assert "truncated or damaged" in (tree.root / "results/tables/one/representation.md").read_text()
