"""Parts of the short run of a GPU: what it refuses, what it does where a part fails, and what it measures with."""

from __future__ import annotations

import os
import sys
import tarfile
from types import SimpleNamespace

import click
import pytest
import torch

from benchmarks.gpu import absorb, curves, short_run
from structgan import files, method, train
from structgan.errors import UserError
from structgan.evaluation import knn
from structgan.training import checkpoint


def refused(main, *arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2 and len(said.splitlines()) == 1, said
    return said


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    ask = {"monkeypatch": monkeypatch, "capsys": capsys}
    assert "no.tar: no such file" in refused(short_run.main, "--data", "no.tar", "--out", tmp_path / "x", **ask)
    (tmp_path / "data").mkdir()
    (tmp_path / "env.json").write_text("{}")
    given = ("--data", tmp_path / "data", "--device", "cpu")
    assert "exists already" in refused(short_run.main, *given, "--out", tmp_path, **ask)
    assert "no wheels" in refused(short_run.main, *given, "--out", tmp_path / "x", "--wheels", tmp_path, **ask)
    if not torch.cuda.is_available():
        assert "no GPU is visible" in refused(
            short_run.main, *given[:2], "--device", "cuda", "--out", tmp_path / "y", **ask
        )
    assert "nothing of a short run" in refused(absorb.main, tmp_path / "data", **ask)
    (tmp_path / "curve.jsonl").write_text('{"a": 1}\n{"b\n{"c": 2}\n')
    assert "line 2 is not valid JSON" in refused(absorb.main, tmp_path, **ask)


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(short_run, "age", lambda: 0.0)  # the process of the tests may be older than the deadline
    with click.Context(short_run.cli) as context:
        values = {parameter.name: parameter.get_default(context) for parameter in short_run.cli.params}
    known = {name: values[name] for name in short_run.Options.__dataclass_fields__}
    known |= {"data": tmp_path, "device": "cpu", "check": (), "speed_batch": (4,), "rounds": None}
    return short_run.Output(tmp_path / "out", tmp_path / "scratch", short_run.Options(**known), False)


def test_a_part_that_fails_is_recorded_and_the_next_one_runs(output):
    def broken():
        raise ValueError("no such kernel\nfor this device")

    assert output.attempt("first", broken) is None and output.attempt("second", lambda x: x + 1, 1) == 2
    output.steps["ceilings"] = {"rates": [1.0, float("nan")]}
    output.save()
    assert files.read_json(output.folder / "steps.json")["ceilings"] == {"rates": [1.0, None]}
    env = files.read_json(output.folder / "env.json")
    assert env["failed"] == {"first": "ValueError: no such kernel"} and env["done"] == ["second"]
    assert "for this device" in (output.folder / "log.txt").read_text()


def test_a_gpu_that_answers_no_more_is_left_behind_with_the_part_that_broke_it(output, monkeypatch):
    started, broken = [], []

    def synchronize():
        if broken:
            raise RuntimeError("CUDA error: device-side assert triggered")

    def assertion():
        broken.append(True)
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["short_run", "--data", "x"])
    object.__setattr__(output.options, "device", "cuda")
    output.attempt("good", lambda: None)
    assert not started
    output.attempt("bad", assertion)
    assert started[0][1:] == ["-m", "benchmarks.gpu.short_run", "--data", "x", "--resume"]
    again = short_run.Output(output.folder, output.scratch, output.options, True)
    calls = []
    for name in ("good", "bad", "next"):
        broken.clear()
        again.attempt(name, calls.append, name)
    assert calls == ["next"] and again.env["starts"] == 2


@pytest.mark.parametrize("probe", [1.0, 4.0, 40.0])
def test_slices_are_equal_and_end_where_the_last_part_begins(output, monkeypatch, probe):
    clock, plans = [100.0], {}

    class Entry:
        def __init__(self, name, augmentation, *_):
            self.method, self.augmentation, self.title = name, augmentation, f"{name}-{augmentation}"
            self.seconds, self.slices, self.run = 1.0, 0, SimpleNamespace(step=0)

        def train(self, seconds, to_come):
            clock[0] += seconds + 0.1
            self.seconds, self.slices = self.seconds + seconds, self.slices + 1
            plans.setdefault(self.title, []).append((seconds, to_come))

        def record(self):
            return {"method": self.method, "augmentation": self.augmentation, "seconds": self.seconds}

        def score(self, _):
            clock[0] += probe
            return {"linear": 0.5, "knn": 0.5}

    monkeypatch.setattr(output, "now", lambda: clock[0])
    monkeypatch.setattr(curves, "Entry", Entry)
    monkeypatch.setattr(curves, "bring_encoder", lambda *_: None)
    entries = curves.race(output, SimpleNamespace(describe=lambda *_: None), None)
    assert len(entries) == 5 and 500 - 5 * (probe + 15) <= clock[0] <= 500 + 15 + probe
    lines = absorb.lines(output.folder / "curve.jsonl")
    for first in range(0, len(lines) - 4, 5):
        assert len({round(line["seconds"], 6) for line in lines[first : first + 5]}) == 1
    if probe < 10:  # else the first guess was too far off to plan by
        assert len(lines) % 5 == 0 and len(lines) >= 15
        assert all(planned[-1][0] == pytest.approx(planned[-1][1]) for planned in plans.values())


def test_images_that_cannot_be_prepared_are_a_reason(output):
    output.scratch.mkdir()
    target, child = short_run.prepare(output)  # an empty folder
    with pytest.raises(UserError, match="no folder train/<class>/ with images"):
        short_run.wait_for(target, child, output)


def test_the_clock_starts_with_the_process():
    assert 0 < short_run.age() < 3600


def test_the_devices_neighbors_are_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    train_, queries = (torch.randn(n, 6, generator=generator) for n in (300, 90))
    labels = torch.randint(5, (300,), generator=generator)
    expected = knn.predict(train_, labels, queries, 20, 0.07)
    assert torch.equal(curves.nearest(train_, labels, queries, 20, 0.07, 5), expected)


def test_an_encoder_over_the_limit_is_cut_into_files_that_fit(output, monkeypatch):
    class Entry:
        method, augmentation = "structural", "none"

        class run:
            step = 7

            class method:
                encoder = torch.nn.Sequential(*[torch.nn.Linear(100, 10, bias=False) for _ in range(5)])

    monkeypatch.setattr(curves, "PIECE", 5000)
    curves.bring_encoder(output, Entry)
    parts = [files.load_tensors(path) for path in sorted(output.folder.glob("encoder.*"))]
    assert [len(tensors) for tensors, _ in parts] == [2, 2, 1] and all(about["pieces"] == "3" for _, about in parts)
    merged = {name: value.float() for tensors, _ in parts for name, value in tensors.items()}
    torch.testing.assert_close(merged, dict(Entry.run.method.encoder.state_dict()), rtol=1e-3, atol=1e-4)


def test_the_state_of_a_gpu_run_can_be_read_without_one(make_run, digits):
    """A CUDA generator's state has 16 bytes: the weights are of use on a CPU, going on from there is refused."""
    run = train.Run(make_run("structural"), digits, "cpu")
    run.method.train()
    run.update()
    sixteen = torch.zeros(16, dtype=torch.uint8)
    loop = {"step": 1, "rng_method": sixteen, "rng_process": {"cuda": sixteen}}
    run.states.save(run.method, loop)
    state = run.states.find()
    assert torch.equal(state["loop"]["rng_method"], sixteen)
    fresh = method.build(run.config, 10)
    fresh.load_state_dict(state["networks"])
    images = torch.zeros(2, 3, 16, 16)
    assert torch.equal(fresh.eval().encode(images), run.method.eval().encode(images))
    with pytest.raises(UserError, match="another kind of device than this, 'cpu'"):
        checkpoint.apply(state, fresh)


def test_results_are_a_plain_tar(output):
    output.keep("a/one.json", b"1")
    output.keep("b.txt", b"two")
    with tarfile.open(output.folder / "results.tar") as archive:
        assert archive.getnames() == ["a/one.json", "b.txt"]
    assert short_run.members(output.folder / "results.tar") == {"a/one.json": b"1", "b.txt": b"two"}


def test_of_runs_that_began_anew_the_longest_training_counts():
    def line(method, start, index):
        return {"method": method, "augmentation": "none", "start": start, "slice": index}

    first = [line("simclr", 1, 1), line("structural", 1, 1), line("structural", 1, 2)]
    second = [line("simclr", 2, 1), line("simclr", 2, 2), line("structural", 2, 1)]
    assert absorb.longest(first + second) == [first[1], first[2], second[0], second[1]]
