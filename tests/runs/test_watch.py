"""``structgan watch``: what it shows of trainings and of failed jobs, on a terminal and in a pipe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import planned_tree
import pytest

from structgan import plan, sources, watch

COMMAND = """if True:
    import sys
    print("Error in rule train:", flush=True)
    log = "=" * 20, *(f"line {number}" for number in range(99)), "=" * 20
    print("Logfile train.log:", *log, "the end", sep="\\n", file=sys.stderr)
    sys.exit(3)
    """
LOG = """digits_gradient/structural/none/full/0: 2/6 steps  0.5 step/s  d_hinge 0.75  8 s left
digits_gradient/structural/none/full/0: 3/6 steps  0.5 step/s  d_hinge 0.5  top1 61 %  6 s left
a warning
"""


@pytest.fixture
def training(demo, tmp_path, monkeypatch):
    """The first run of the demo is being trained, the second was killed."""
    monkeypatch.chdir(tmp_path)
    for number, entry in enumerate(plan.Plan(demo, [str(planned_tree.DEMO)]).write()["runs"][:2]):
        run = Path(entry["run"])
        planned_tree.progress(run, entry, step=3, steps_per_second=0.5, **({"pid": 0} if number else {}))
        (run / "train.log").write_text(LOG)
    return "digits_gradient/structural/none/full/seed=0: 3/6 steps  0.5 steps/s  0:00:06 left  d_hinge 0.5  top1 61 %"


def started(*command, **options):
    environment = {**os.environ, "PYTHONPATH": str(sources.ROOT), "COLUMNS": "200", "TERM": "xterm"}
    return subprocess.Popen([sys.executable, "-m", "structgan", "watch", *command], env=environment, **options)


def on_a_terminal(*command):
    ours, theirs = os.openpty()
    process, text = started(*command, stdout=theirs, stderr=theirs), b""
    os.close(theirs)
    while True:
        try:
            text += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            os.close(ours)
            return process.wait(), text.decode()


def in_a_pipe(*command):
    process = started(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text, _ = process.communicate()
    return process.returncode, text


@pytest.mark.parametrize("place", [on_a_terminal, in_a_pipe])
def test_a_line_for_each_training_and_the_end_of_a_failed_jobs_log(training, place):
    code, text = place(sys.executable, "-c", COMMAND)
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()
    assert code == 3 and sum(training in line for line in lines) >= 1 and "full/seed=1" not in text, text
    kept = [line for line in lines if line.startswith("line ")]
    assert kept == [f"line {number}" for number in range(99 - watch.LAST, 99)]
    assert "Error in rule train:" in text and "the end" in text
    assert ("\x1b" in text) == (place is on_a_terminal) and (place is on_a_terminal or "\r" not in text)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (["no-such-command", "--now"], 2, "structgan: no-such-command: No such file"),
    ],
)
def test_the_exit_code_is_the_commands(tmp_path, monkeypatch, command, code, words):
    monkeypatch.chdir(tmp_path)
    ended, text = in_a_pipe(*command)
    assert ended == code and words in text and "Traceback" not in text
