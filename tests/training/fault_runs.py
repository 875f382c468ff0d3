"""Small runs to be killed, stopped and damaged, the untouched ones they must equal, and what tells them apart."""

import json

import pytest
from forked import Training
from run_folder import names, tensors

from structgan import files, sources
from structgan.training import checkpoint

METHODS = list(sources.methods())
STEPS = 8
CURVE = {"points": 8, "train": 40, "test": 20}
OUTPUTS = ("encoder.safetensors", "generator.safetensors", "history.json")


def make(make_run, method, folder):
    """A run that saves, logs and probes out of step, so that a state holds losses that are not yet in a record."""
    settings = {"batch_size": 8, "steps": STEPS, "log_every": 3, "save_every": 2, "curve": CURVE}
    return make_run(method, augmentation="simclr", folder=folder, **settings)


def assert_same(run, whole):
    """Bit for bit the same weights, state and history; times may differ."""
    for name in OUTPUTS:
        assert (run / name).exists() == (whole / name).exists()
        assert not (whole / name).exists() or (run / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = tensors(run / checkpoint.NAME), tensors(whole / checkpoint.NAME)
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


def state_of(path):
    """The step of a state file whose checksum holds."""
    values, metadata = files.load_tensors(path)
    assert metadata["sha256"] == checkpoint.checksum(values, metadata)
    return dict(dict(json.loads(metadata["tree"])["__dict__"])["loop"]["__dict__"])["step"]
