"""A state whose bytes are no longer those that were written is named, and the one before it used."""

from __future__ import annotations

import signal

import pytest
from fault_runs import assert_same, state_of
from forked import Training, crash_between_renames

from structgan.training import checkpoint


def flip(raw):
    index = int(len(raw) * 0.9)
    return raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]


DAMAGE = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "metadata": lambda raw: raw.replace(b"d_hinge", b"d_hings", 1),
    "tensor": flip,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_named_and_the_older_one_used(damage, interrupted, whole, digits):
    newest, older = interrupted / checkpoint.NEWEST, interrupted / checkpoint.OLDER
    step = state_of(older)
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    again = Training(interrupted, digits)
    assert again.end() == 0
    (line,) = (line for line in again.said().splitlines() if "damaged" in line)
    assert line.startswith(f"warning: {newest}: ") and line.endswith(older.name)
    assert f"resumed at step {step}" in again.said()
    assert_same(interrupted, whole)


def test_a_damaged_state_never_takes_the_place_of_the_good_one(interrupted, whole, digits):
    """Killed at the rename right after a damaged state was passed over: the good one is still there."""
    step = state_of(interrupted / checkpoint.OLDER)
    (interrupted / checkpoint.NEWEST).write_bytes(b"")
    crashed = Training(interrupted, digits, prepare=crash_between_renames)
    assert crashed.end() == -signal.SIGKILL and f"resumed at step {step}" in crashed.said()
    assert state_of(interrupted / checkpoint.OLDER) == step
    assert Training(interrupted, digits).end() == 0
    assert_same(interrupted, whole)


def test_two_damaged_states_start_afresh(interrupted, whole, digits):
    for name in (checkpoint.NEWEST, checkpoint.OLDER):
        (interrupted / name).write_bytes(b"x" * 100)
    again = Training(interrupted, digits)
    assert again.end() == 0
    line = next(line for line in again.said().splitlines() if line.startswith("starting afresh: "))
    assert line.count(": truncated or damaged (") == 2 and "resumed" not in again.said()
    assert_same(interrupted, whole)
