"""Training killed, stopped, damaged and fought over, in real processes: it ends as if nothing had been."""

import functools
import random
import shutil
import signal

import pytest
from fault_runs import METHODS, OUTPUTS, STEPS, assert_same, make, state_of, told
from forked import Training, crash_at, stall
from run_folder import names, progress

from structgan import files, train
from structgan.errors import UserError
from structgan.training import checkpoint, heartbeat
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
                    training.until(lambda folder=folder: any(folder.glob(f".{checkpoint.NAME}.*.part")))
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


@pytest.mark.slow
def test_killed_at_three_points_a_run_ends_as_if_untouched(make_run, digits, whole_of):
    kill_and_finish("structural", 3, make_run, digits, whole_of("structural"))


@pytest.mark.faults
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_twenty_points_a_run_ends_as_if_untouched(method, make_run, digits, whole_of):
    kill_and_finish(method, 20, make_run, digits, whole_of(method))


@pytest.mark.faults
@pytest.mark.parametrize("call", range(1, 80))
def test_killed_before_any_call_that_touches_the_disk(call, make_run, whole_of, digits):
    """Every fsync, chmod, rename and removal of the first 80: the state is whole at each moment."""
    run, whole = make(make_run, "simclr", "run"), whole_of("simclr")
    ended = Training(run, digits, prepare=functools.partial(crash_at, call)).end()
    assert ended in (0, -signal.SIGKILL)
    path = run / checkpoint.NAME
    assert not path.exists() or state_of(path) > 0
    assert Training(run, digits).end() == 0
    assert_same(run, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(number, run, whole, digits):
    training = Training(run, digits)
    assert training.until((run / checkpoint.NAME).exists)
    training.send(number)
    code = training.end()
    assert code == EXIT_CODE, training.said()
    now = told(run)
    assert now["state"] == "stopped" and now["reason"] == f"{number.name}: saved at step {now['step']} of {STEPS}"
    assert now["step"] == progress(run)[0] < STEPS
    assert "Traceback" not in training.said() and f"{number.name}: finishing" in training.said()
    assert not (run / "encoder.safetensors").exists()
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {now['step']}" in again.said()
    assert_same(run, whole)


@pytest.mark.slow
def test_a_second_interrupt_from_the_keyboard_alone_ends_at_once_and_leaves_whole_files(run, whole, digits):
    training = Training(run, digits, prepare=stall)
    assert training.until(lambda: "stalled" in training.said())
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        training.send(number)
        assert training.until(lambda number=number: f"{number.name}: finishing" in training.said())
        training.process.join(0.5)
        assert training.process.exitcode is None, "a step in progress is not given up"
    training.send(signal.SIGINT)
    assert training.end() == -signal.SIGINT
    assert told(run)["state"] == "running" and state_of(run / checkpoint.NAME) == 2
    assert Training(run, digits).end() == 0
    assert_same(run, whole)


def test_a_signal_before_the_first_step_ends_it(run, digits):
    with heartbeat.lock(run):
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


@pytest.mark.slow
def test_a_lock_that_stays_held_is_one_line(run, digits, monkeypatch, capsys):
    first = Training(run, digits, prepare=stall)
    assert first.until(lambda: "stalled" in first.said())
    before = {name: (run / name).read_bytes() for name in names(run)}
    monkeypatch.setattr(heartbeat, "WAIT_S", 0.3)
    with pytest.raises(
        UserError, match=rf"lock: still held by process {first.process.pid} on \S+ after 0\.3 s"
    ) as caught:
        train.run(run, digits)
    assert "\n" not in str(caught.value) and capsys.readouterr().err.count("\n") == 1
    assert {name: (run / name).read_bytes() for name in names(run)} == before
    assert first.kill()


def test_a_finished_run_that_lost_its_outputs_publishes_them_again(run, whole, digits):
    shutil.copytree(whole, run, dirs_exist_ok=True)
    before = {name: (run / name).read_bytes() for name in (*OUTPUTS, "env.json", checkpoint.NAME)}
    for name in OUTPUTS:
        (run / name).unlink()
    again = Training(run, digits)
    assert again.end() == 0 and f"resumed at step {STEPS}" in again.said()
    assert {name: (run / name).read_bytes() for name in before} == before


def test_progress_and_times_are_told_beside_the_history(whole):
    now, env = told(whole), files.read_json(whole / "env.json")
    assert (now["state"], now["step"], now["steps"], now["gpus"], now["device"]) == ("done", STEPS, STEPS, 0, "cpu")
    assert now["identity"] == env["identity"] and now["seconds"] == env["seconds"] and now["reason"] is None
    assert now["steps_per_second"] == pytest.approx(STEPS / env["seconds"], rel=0.3)
    assert now["started"] <= now["updated"] and {"host", "pid", "job"} <= set(now)
    records = files.read_json(whole / "history.json")["records"]
    assert [set(record) for record in records] == [{"step", "images", "losses"}] * 3
    assert [record["step"] for record in records] == [3, 6, 8]
    assert len(env["curve_seconds"]) == 4 and env["curve_seconds"] == sorted(env["curve_seconds"])
