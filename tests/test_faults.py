"""Training killed, stopped, damaged and fought over, in real processes: it ends as if nothing had been."""

from __future__ import annotations

import functools
import json
import random
import shutil
import signal

import pytest
from forked import Training, crash_at, crash_between_renames, log, stall
from run_folder import names, progress, tensors

from structgan import checkpoint, files, lock, sources, train
from structgan.errors import UserError
from structgan.preempt import EXIT_CODE

METHODS = list(sources.methods())
STEPS = 8
OUTPUTS = ("encoder.safetensors", "generator.safetensors", "history.json")


def make(make_run, method, folder):
    """A run that saves and logs out of step, so that a state holds losses that are not yet in a record."""
    return make_run(method, augmentation="simclr", folder=folder, batch_size=8, steps=STEPS, log_every=3, save_every=2)


def assert_same(run, whole):
    """Bit for bit the same weights, state and history; times may differ."""
    for name in OUTPUTS:
        assert (run / name).exists() == (whole / name).exists()
        assert not (whole / name).exists() or (run / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = tensors(run / checkpoint.NEWEST), tensors(whole / checkpoint.NEWEST)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].numpy().tobytes() != theirs[name].numpy().tobytes()] == []
    assert [name for name in names(run) if name.endswith(".part")] == []


def told(run):
    return files.read_json(run / "progress.json")


@pytest.fixture(scope="module")
def untouched():
    """Runs that nothing happened to, by method; trained where they are first asked for, and not to be changed."""
    return {}


@pytest.fixture
def whole_of(untouched, make_run, digits):
    """The untouched run of a method."""

    def get(method):
        if method not in untouched:
            folder = make(make_run, method, "whole")
            training = Training(folder, digits)
            assert training.end() == 0, training.said()
            untouched[method] = folder
        return untouched[method]

    return get


@pytest.fixture
def whole(whole_of):
    return whole_of("structural")


@pytest.fixture
def run(make_run):
    return make(make_run, "structural", "run")


@pytest.fixture
def interrupted(untouched, run, digits):
    """A run with two whole states of its own, killed; a copy of the first such one."""
    if "interrupted" not in untouched:
        training = Training(run, digits)
        assert training.until((run / checkpoint.OLDER).exists) and training.kill()
        newest, older = run / checkpoint.NEWEST, run / checkpoint.OLDER
        newest.exists() or shutil.copy(older, newest)
        assert state_of(newest) >= state_of(older) > 0
        untouched["interrupted"] = run.with_name("interrupted")
        shutil.copytree(run, untouched["interrupted"])
    shutil.copytree(untouched["interrupted"], run, dirs_exist_ok=True)
    log(run).unlink(missing_ok=True)
    return run


def kill_and_finish(method, points, make_run, digits, whole):
    """Kill a method's training ``points`` times, in turn at a random moment and while its state is being written."""
    env = files.read_json(whole / "env.json")
    chance = random.Random(f"{method}, {points}")
    killed, rounds = 0, 0
    while killed < points:
        rounds += 1
        folder = make(make_run, method, f"run{rounds}")
        while True:
            training = Training(folder, digits)
            if killed < points:
                if killed % 2:
                    training.until(lambda folder=folder: any(folder.glob(f".{checkpoint.NEWEST}.*.part")))
                else:
                    training.until(lambda folder=folder: (folder / "progress.json").exists())
                    training.process.join(chance.uniform(0, env["seconds"]))
                if training.kill():
                    killed += 1
                    continue
            assert training.end() == 0, training.said()
            break
        assert_same(folder, whole)
        assert told(folder)["state"] == "done" and told(folder)["step"] == STEPS


@pytest.mark.parametrize("method", METHODS)
def test_killed_at_three_points_a_run_ends_as_if_untouched(method, make_run, digits, whole_of):
    kill_and_finish(method, 3, make_run, digits, whole_of(method))


@pytest.mark.faults
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_twenty_points_a_run_ends_as_if_untouched(method, make_run, digits, whole_of):
    kill_and_finish(method, 20, make_run, digits, whole_of(method))


def state_of(path):
    """The step of a state file whose checksum holds."""
    values, metadata = files.load_tensors(path)
    assert metadata["sha256"] == checkpoint.checksum(values, metadata)
    return dict(dict(json.loads(metadata["tree"])["__dict__"])["loop"]["__dict__"])["step"]


def test_killed_between_the_two_renames_the_older_state_is_the_newest(run, whole, digits):
    assert Training(run, digits, prepare=crash_between_renames).end() == -signal.SIGKILL
    left = [name for name in names(run) if name.startswith(".")]
    assert not (run / checkpoint.NEWEST).exists() and len(left) == 1
    step = state_of(run / checkpoint.OLDER)
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {step}" in again.said()
    assert_same(run, whole)


@pytest.mark.faults
@pytest.mark.parametrize("call", range(1, 80))
def test_killed_before_any_call_that_touches_the_disk(call, make_run, whole_of, digits):
    """Every fsync, chmod, rename and removal of the first 80: all that lies under a name of a state is whole."""
    run, whole = make(make_run, "simclr", "run"), whole_of("simclr")
    ended = Training(run, digits, prepare=functools.partial(crash_at, call)).end()
    assert ended in (0, -signal.SIGKILL)
    for path in (run / checkpoint.NEWEST, run / checkpoint.OLDER):
        assert not path.exists() or state_of(path) > 0
    assert Training(run, digits).end() == 0
    assert_same(run, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(number, run, whole, digits):
    training = Training(run, digits)
    assert training.until((run / checkpoint.NEWEST).exists)
    training.send(number)
    code = training.end()
    assert code == EXIT_CODE, training.said()
    now = told(run)
    assert now["state"] == "stopped" and now["reason"] == f"{number.name}: saved at step {now['step']} of {STEPS}"
    assert now["step"] == progress(run)[0] < STEPS
    assert "Traceback" not in training.said() and f"{number.name}: finishing" in training.said()
    assert not (run / "encoder.safetensors").exists() and (run / "lock").read_text() == ""
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {now['step']}" in again.said()
    assert_same(run, whole)


def test_a_second_signal_ends_at_once_and_leaves_whole_files(run, whole, digits):
    training = Training(run, digits, prepare=stall)
    assert training.until(lambda: "stalled" in training.said())
    training.send(signal.SIGTERM)
    assert training.until(lambda: "SIGTERM: finishing" in training.said())
    training.process.join(0.5)
    assert training.process.exitcode is None, "a step in progress is not given up"
    training.send(signal.SIGTERM)
    assert training.end() == 128 + signal.SIGTERM
    assert told(run)["state"] == "running" and state_of(run / checkpoint.NEWEST) == 2
    assert Training(run, digits).end() == 0
    assert_same(run, whole)


def test_a_signal_before_the_first_step_ends_it(run, digits):
    with lock.held(run):
        training = Training(run, digits)
        assert training.until(lambda: "waiting" in training.said())
        training.send(signal.SIGTERM)
        assert training.end() == EXIT_CODE
    assert names(run) == ["config.json", "lock"]


def test_a_second_process_waits_for_the_first_and_goes_on_from_its_state(run, whole, digits):
    first = Training(run, digits, prepare=stall)
    assert first.until(lambda: "stalled" in first.said())
    second = Training(run, digits)
    assert second.until(lambda: f"held by process {first.process.pid} on " in second.said())
    assert second.said().count("waiting up to 60 s") == 1 and second.process.exitcode is None
    assert first.kill() and second.end() == 0, second.said()
    assert "resumed at step 2" in second.said()
    assert_same(run, whole)


def test_a_lock_that_stays_held_is_one_line(run, digits, monkeypatch, capsys):
    first = Training(run, digits, prepare=stall)
    assert first.until(lambda: "stalled" in first.said())
    before = {name: (run / name).read_bytes() for name in names(run)}
    monkeypatch.setattr(lock, "WAIT_S", 0.3)
    with pytest.raises(
        UserError, match=rf"lock: still held by process {first.process.pid} on \S+ after 0\.3 s"
    ) as caught:
        train.run(run, digits)
    assert "\n" not in str(caught.value) and capsys.readouterr().err.count("\n") == 1
    assert {name: (run / name).read_bytes() for name in names(run)} == before
    assert first.kill()


def flip(place):
    def damage(raw):
        index = int(len(raw) * place)
        return raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]

    return damage


DAMAGE = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[: len(raw) // 2],
    "metadata": lambda raw: raw.replace(b"d_hinge", b"d_hings", 1),
    "tensor": flip(0.9),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_named_and_the_older_one_used(damage, interrupted, whole, digits):
    newest, older = interrupted / checkpoint.NEWEST, interrupted / checkpoint.OLDER
    step = state_of(older)
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    again = Training(interrupted, digits)
    assert again.end() == 0
    lines = [line for line in again.said().splitlines() if "damaged" in line]
    assert len(lines) == 1 and lines[0].startswith(f"warning: {newest}: ") and lines[0].endswith(older.name)
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


def test_a_finished_run_is_trained_again_only_where_that_is_asked_for(run, whole, digits):
    shutil.copytree(whole, run, dirs_exist_ok=True)
    before = {name: (run / name).read_bytes() for name in (*OUTPUTS, "env.json", checkpoint.NEWEST)}
    for name in OUTPUTS:
        (run / name).unlink()
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {STEPS}" in again.said()
    assert {name: (run / name).read_bytes() for name in before} == before

    stopped = Training(run, digits, "--fresh")
    assert stopped.until(lambda: told(run)["state"] == "running" and state_changed(run, before))
    assert "trained again from the first step" in stopped.said() and stopped.kill()
    retried = Training(run, digits, "--fresh")
    assert retried.end() == 0 and retried.said().count("trained again") == 1
    assert {name: (run / name).read_bytes() for name in OUTPUTS} == {name: before[name] for name in OUTPUTS}


def state_changed(folder, before):
    return (folder / checkpoint.NEWEST).read_bytes() != before[checkpoint.NEWEST]


def test_a_run_that_fails_says_why(make_run, digits):
    folder = make_run("structural", batch_size=201)
    failed = Training(folder, digits)
    assert failed.end() == 2
    assert told(folder)["state"] == "failed" and "training.batch_size = 201" in told(folder)["reason"]
    assert "\n" not in told(folder)["reason"]


def test_the_heartbeat_says_how_far_a_run_is(whole):
    now, env = told(whole), files.read_json(whole / "env.json")
    assert set(now) == {
        *("identity", "state", "step", "steps", "steps_per_second", "seconds", "started", "updated"),
        *("host", "pid", "job", "device", "gpus", "reason"),
    }
    assert (now["state"], now["step"], now["steps"], now["gpus"], now["device"]) == ("done", STEPS, STEPS, 0, "cpu")
    assert now["identity"] == env["identity"] and now["seconds"] == env["seconds"]
    assert now["steps_per_second"] == pytest.approx(STEPS / env["seconds"], rel=0.3)
    assert now["started"] <= now["updated"] and now["reason"] is None


def test_history_has_no_times_and_the_environment_has_them(whole):
    records = files.read_json(whole / "history.json")["records"]
    assert [set(record) for record in records] == [{"step", "images", "losses"}] * 3
    pace = files.read_json(whole / "env.json")["pace"]
    assert [step for step, _ in pace] == [3, 6, 8] == [record["step"] for record in records]
    assert 0 < pace[0][1] < pace[1][1] < pace[2][1]
