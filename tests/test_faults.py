"""Training killed, stopped, damaged and fought over, in real processes: it ends as if nothing had been."""

from __future__ import annotations

import functools
import random
import shutil
import signal

import pytest
from fault_runs import METHODS, OUTPUTS, STEPS, assert_same, make, state_of, told
from forked import Training, crash_at, crash_between_renames, stall
from run_folder import names, progress

from structgan import files, train
from structgan.errors import UserError
from structgan.training import checkpoint, lock
from structgan.training.preempt import EXIT_CODE


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


def test_a_second_interrupt_from_the_keyboard_alone_ends_at_once_and_leaves_whole_files(run, whole, digits):
    training = Training(run, digits, prepare=stall)
    assert training.until(lambda: "stalled" in training.said())
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        training.send(number)
        assert training.until(lambda number=number: f"{number.name}: finishing" in training.said())
        training.process.join(0.5)
        assert training.process.exitcode is None, "a step in progress is not given up"
    training.send(signal.SIGINT)
    assert training.end() == 128 + signal.SIGINT
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


def test_a_finished_run_that_lost_its_outputs_publishes_them_again(run, whole, digits):
    shutil.copytree(whole, run, dirs_exist_ok=True)
    before = {name: (run / name).read_bytes() for name in (*OUTPUTS, "env.json", checkpoint.NEWEST)}
    for name in OUTPUTS:
        (run / name).unlink()
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {STEPS}" in again.said()
    assert {name: (run / name).read_bytes() for name in before} == before


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
