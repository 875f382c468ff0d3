"""Runs on two processes through the real command line: what they write, how they stop, go on, and end badly."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import ranks
from run_folder import equal, history, names, tensors, train_until

from structgan import files, sources, train
from structgan.training.preempt import EXIT_CODE

STEPS = 6


def make(make_run, folder, method="structural", **changes):
    """A run that saves, logs and probes out of step, so that a state holds losses that are not yet in a record."""
    curve = {"points": 2, "train": 60, "test": 40}
    training = {"steps": STEPS, "log_every": 2, "save_every": 3, "curve": curve} | changes
    return make_run(method, augmentation="simclr", folder=folder, **training)


def finish(run, data, size=2):
    """Train to the end; the exit codes."""
    return [training.end() for training in ranks.trainings(run, data, size)]


def said(run):
    return run.with_name(f"{run.name}.log").read_text()


def assert_near(run, other):
    """The same to float32, after few steps."""
    for name in ("encoder.safetensors", "generator.safetensors"):
        ours, theirs = tensors(run / name), tensors(other / name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            np.testing.assert_allclose(ours[key].numpy(), value.numpy(), rtol=1e-3, atol=1e-3, err_msg=key)
    for (*at, losses), (*expected, others) in zip(history(run), history(other), strict=True):
        norms = [{name: row.pop(name) for name in list(row) if "gradient" in name} for row in (losses, others)]
        assert at == expected and losses == pytest.approx(others, rel=1e-3, abs=1e-4)
        assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    ours, theirs = (files.read_json(folder / "history.json")["curve"] for folder in (run, other))
    assert [point["step"] for point in ours] == [3, STEPS]
    assert [point["top1"] for point in ours] == pytest.approx([point["top1"] for point in theirs], abs=1 / 20)


@pytest.fixture
def alone(make_run, digits):
    """The run on one process."""
    folder = make(make_run, "alone")
    train.run(folder, digits)
    return folder


@pytest.mark.slow
def test_outputs_are_those_of_one_process_written_once(make_run, digits, alone):
    run = make(make_run, "pair")
    assert finish(run, digits) == [0, 0], said(run)
    assert_near(run, alone)
    assert names(run) == names(alone)
    env = [files.read_json(folder / "env.json") for folder in (run, alone)]
    assert [e["processes"] for e in env] == [2, 1] and env[0]["identity"] == env[1]["identity"]
    assert env[0]["gflops"] == pytest.approx(env[1]["gflops"], rel=0.02)  # spectral norms are computed on each
    assert [e["images"] for e in env] == [16 * STEPS] * 2
    assert said(run).count(f"{STEPS}/{STEPS} steps") == 1
    assert files.read_json(run / "progress.json")["state"] == "done"


@pytest.mark.faults
def test_a_signal_to_one_process_stops_both_at_one_step_and_they_go_on_exactly(make_run, digits):
    whole, run = make(make_run, "whole", steps=9), make(make_run, "run", steps=9)
    assert finish(whole, digits) == [0, 0]
    first, second = ranks.trainings(run, digits)
    state = run / "state.safetensors"
    assert first.until(state.exists), said(run)
    second.send(signal.SIGTERM)
    second.send(signal.SIGTERM)  # the scheduler's and torchrun's
    assert [first.end(), second.end()] == [EXIT_CODE] * 2, said(run)
    told = files.read_json(run / "progress.json")
    assert told["state"] == "stopped" and told["reason"].startswith("SIGTERM") and 0 < told["step"] < 9
    assert finish(run, digits) == [0, 0], said(run)
    assert f"resumed at step {told['step']}" in said(run)
    for name in ("encoder.safetensors", "generator.safetensors", "state.safetensors"):
        assert equal(run / name, whole / name)
    assert (run / "history.json").read_bytes() == (whole / "history.json").read_bytes()


@pytest.mark.faults
@pytest.mark.parametrize("sizes", [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(make_run, digits, alone, sizes):
    run = make(make_run, "run")
    if sizes[0] == 1:
        train_until(run, digits, 4)
    else:
        first, second = ranks.trainings(run, digits)
        assert first.until((run / "state.safetensors").exists), said(run)
        second.send(signal.SIGTERM)
        assert [first.end(), second.end()] == [EXIT_CODE] * 2, said(run)
    assert finish(run, digits, sizes[1]) == [0] * sizes[1], said(run)
    assert "resumed at step" in said(run)
    assert_near(run, alone)


@pytest.mark.slow
def test_numbers_that_are_not_finite_stop_both(make_run, digits):
    settings = {"optimizer": {"discriminator": {"lr": 10.0}, "generator": {"lr": 10.0}}, "ema": 0.0}
    run = make(make_run, "run", settings=settings, steps=60)
    assert finish(run, digits) == [2, 2], said(run)
    assert said(run).count("structgan: ") == said(run).count("structgan process 1: ") == 1
    assert "stopped, the last good state is kept" in said(run) and "Traceback" not in said(run)
    assert files.read_json(run / "progress.json")["state"] == "failed"


def test_a_process_that_is_killed_leaves_no_other_waiting(make_run, digits):
    run = make(make_run, "run", steps=1000)
    first, second = ranks.trainings(run, digits)
    assert first.until((run / "state.safetensors").exists), said(run)
    begin = time.monotonic()
    assert second.kill() and first.end() == 2
    assert time.monotonic() - begin < ranks.LIMIT_S / 2
    assert "process 0 of 2: another process of the run is gone" in said(run) and "Traceback" not in said(run)
    told = files.read_json(run / "progress.json")
    assert told["state"] == "failed" and "another process" in told["reason"]


@pytest.fixture
def torchrun(tmp_path):
    """Starts torchrun as rule train does, in a process group of its own, as a scheduler would."""

    def start(run, data):
        signals = ("--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
        launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *signals, "-m", "--")
        return subprocess.Popen(
            [sys.executable, *launch, "structgan", "train", "--device", "cpu", "--run", str(run), "--data", str(data)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(sources.ROOT), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.mark.faults
def test_a_job_that_is_preempted_goes_on_under_torchrun(make_run, digits, torchrun):
    """All processes of the job get the signal, and the workers get it from torchrun once more."""
    run = make(make_run, "run", method="simclr", steps=80, save_every=20)
    job = torchrun(run, digits)
    while not (run / "state.safetensors").exists():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGTERM)
    said = job.communicate(timeout=ranks.LIMIT_S)[1]
    told = files.read_json(run / "progress.json")
    assert job.returncode and told["state"] == "stopped" and 0 < told["step"] < 80, said
    job = torchrun(run, digits)
    said = job.communicate(timeout=ranks.LIMIT_S)[1]
    assert job.returncode == 0 and said.count(f"resumed at step {told['step']}") == 1, said
    assert files.read_json(run / "env.json")["processes"] == 2
