"""Claims of a plan: between real processes, given up when the process ends however it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from structgan.identity import claims

HOLD = (
    "import sys; from structgan.identity import claims; "
    "print(claims.claim(sys.argv[1], shared=sys.argv[2] == 'shared'), flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """Starts a process that claims a file and holds it until it is ended."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, "it", mode],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "None\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    for path in list(claims.held):
        claims.held.pop(path).close()


def test_a_claim_names_its_holder_and_ends_with_it(holder):
    process = holder("alone")
    for shared in (False, True):
        assert claims.claim("it", shared).startswith(f"process {process.pid} on ")
    process.kill()
    process.communicate()
    assert claims.claim("it") is None
    assert claims.claim("it") is None  # it is this process's own


def test_readers_share_a_claim_and_keep_a_writer_out(holder):
    process = holder("shared")
    assert claims.claim("it", shared=True) is None
    assert claims.claim("it") is not None
    process.kill()
    process.communicate()
    assert claims.claim("it") is None
