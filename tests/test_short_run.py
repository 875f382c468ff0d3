"""The short run of a GPU, rehearsed on the CPU: to its end, and killed at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import sys

import pytest
import torch
from click.testing import CliRunner
from forked import CONTEXT, LIMIT_S
from raw_data import pack, picture

from benchmarks.gpu import absorb, curves, short_run
from structgan import files

TINY = {
    "device": "cpu", "image-size": 16, "batch": 8, "speed-batch": 4, "reference-batch": 2, "slice": 0.1, "rounds": 2,
    "check": "structural", "deadline": 600, "check-until": 500, "speed-until": 500, "last": 60,
}  # fmt: skip
OPTIONS = ["--small", *(part for name, value in TINY.items() for part in (f"--{name}", value))]
AT_MOST = {"curve.jsonl", "steps.json", "env.json", "profile.txt", "log.txt", "results.tar", "encoder.0.safetensors"}


def child(arguments, log, crash):
    """The command line in a process of its own, which kills itself at its call number ``crash`` that touches a file."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    calls = 0

    def counted(function):
        def call(*given, **named):
            nonlocal calls
            calls += 1
            if calls == crash:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    torch.set_num_threads(1)
    sys.argv = ["short_run", *map(str, arguments)]
    short_run.main()
    print(f"calls: {calls}")


def run(place, name, crash=0):
    """Its exit code, what it said, and its folder."""
    folder, log = place / name, place / f"{name}.log"
    process = CONTEXT.Process(
        target=child, args=(("--data", place / "mine.tar.xz", "--out", folder, *OPTIONS), log, crash)
    )
    process.start()
    process.join(LIMIT_S)
    return process.exitcode, log.read_text(), folder


def readable(folder):
    """Whole files only, and no more of them than may be brought home; the lines of the curve."""
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
    assert names <= AT_MOST and len(list(folder.iterdir())) <= 8
    for path in folder.glob("*.json"):
        files.read_json(path)
    if (folder / "results.tar").exists():
        assert all(content for content in short_run.members(folder / "results.tar").values())
    if (folder / "encoder.0.safetensors").exists():
        files.load_tensors(folder / "encoder.0.safetensors")
    return absorb.lines(folder / "curve.jsonl")


def absorbed(folder, to):
    return CliRunner().invoke(absorb.cli, [str(folder), "--to", str(to)], catch_exceptions=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an archive of real JPEG files."""
    root = tmp_path_factory.mktemp("short")
    names = [f"{s}/{c}/{i}.jpg" for s, n in (("train", 12), ("test", 10)) for c in ("cat", "dog") for i in range(n)]
    pack(root / "mine.tar.xz", {name: picture(i, (16, 16), kind="JPEG") for i, name in enumerate(names)})
    return root


@pytest.fixture(scope="module")
def whole(place):
    """A run that nothing happened to, and how often it touched a file."""
    code, said, folder = run(place, "whole")
    assert code == 0, said
    return folder, int(said.rpartition("calls: ")[2])


@pytest.mark.xdist_group("short_run")
def test_a_whole_run_leaves_every_part(whole):
    folder, _ = whole
    env, steps = (files.read_json(folder / f"{name}.json") for name in ("env", "steps"))
    assert env["failed"] == {} and env["not_reached"] == [], env["failed"]
    assert {path.name for path in folder.iterdir()} == AT_MOST
    assert set(steps["checks"]) == {"structural"} and steps["checks"]["structural"]["samples_finite"]
    sides = [(side["method"], side["precision"], side["batch"]) for side in steps["sides"]]
    assert sides[:4] == [
        *((name, "bfloat16", 4) for name in ("structural", "plain_gan", "simclr")),
        ("reference", "float32", 2),
    ]
    assert sides[4:] == [(name, "float32", 4) for name in ("structural", "plain_gan", "simclr")]
    assert all(side["flops"] > 0 and side["share_of_measured_peak"] > 0 for side in steps["sides"])
    assert (folder / "profile.txt").read_text().count("one step") == 4
    lines = readable(folder)
    assert [(line["method"], line["augmentation"]) for line in lines] == list(curves.ENTRIES) * 2
    for line in lines:
        assert 0 <= line["linear"] <= 1 and 0 <= line["knn"] <= 1 and line["step"] <= line["planned_steps"]
        assert line["images"] == 8 * line["step"] and line["seconds"] > 0 and line["flops"] > 0
    results = short_run.members(folder / "results.tar")
    final = json.loads(results["structural-none/result.json"])["final"]
    assert {"linear", "svm", "knn", "kmeans", "samples", "fidelity"} <= final.keys()
    assert results["plain_gan-none/samples.png"].startswith(b"\x89PNG")
    tensors, about = files.load_tensors(folder / "encoder.0.safetensors")
    assert about["method"] == "structural" and {value.dtype for value in tensors.values()} == {torch.float16}


@pytest.mark.xdist_group("short_run")
def test_what_came_back_becomes_tables_and_figures(whole, tmp_path):
    done = absorbed(whole[0], tmp_path)
    assert done.exit_code == 0 and "10 slices of 5 runs, 7 step times" in done.output
    tables, figures = tmp_path / "results/tables/cifar10-gpu", tmp_path / "results/figures/cifar10-gpu"
    for name in ("curve", "summary", "steps", "checks"):
        text = (tables / f"{name}.md").read_text()
        assert "one seed, " in text and " minutes" in text and "bfloat16" in text and "device" in text
        assert (tables / f"{name}.csv").exists()
    summary = (tables / "summary.md").read_text()
    assert "| SimCLR | SimCLR's full recipe |" in summary and "| official |" in summary
    for name in ("accuracy_by_images", "accuracy_by_seconds"):
        assert (figures / f"{name}.png").stat().st_size > 5000 and (figures / f"{name}.svg").exists()
    assert (figures / "samples_structural-crop.png").exists()
    assert (tmp_path / "benchmarks/results/gpu/steps.json").read_bytes() == (whole[0] / "steps.json").read_bytes()


@pytest.mark.xdist_group("short_run")
@pytest.mark.parametrize("half", range(2))
def test_a_kill_at_a_random_moment_leaves_a_result(whole, place, tmp_path, half):
    """One in each half of the run's writes."""
    crash = random.randrange(half * whole[1] // 2, (half + 1) * whole[1] // 2) + 1
    code, said, folder = run(place, f"killed-{half}", crash)
    assert code == -signal.SIGKILL, (crash, said)
    lines = readable(folder)
    assert all("failed" not in line for line in lines), (crash, said)
    if any((folder / name).exists() for name in absorb.SMALL):
        assert absorbed(folder, tmp_path).exit_code == 0, (crash, said)
    assert half == 0 or (lines and (folder / "steps.json").exists()), (crash, said)


@pytest.mark.xdist_group("short_run")
def test_a_line_that_is_cut_off_and_missing_files_are_passed_over(whole, tmp_path):
    content = (whole[0] / "curve.jsonl").read_bytes()
    for cut in random.sample(range(1, len(content)), 20):
        (tmp_path / "curve.jsonl").write_bytes(content[:cut])
        full, rest = content[:cut].count(b"\n"), content[:cut].rpartition(b"\n")[2]
        read = absorb.lines(tmp_path / "curve.jsonl")
        assert len(read) == full or (len(read) == full + 1 and rest.endswith(b"}")), cut
    (tmp_path / "curve.jsonl").write_bytes(content[: len(content) // 2])
    done = absorbed(tmp_path, tmp_path)
    assert done.exit_code == 0 and "0 step times" in done.output
    (tmp_path / "late").mkdir()
    for name in ("env.json", "results.tar"):
        (tmp_path / "late" / name).write_bytes((whole[0] / name).read_bytes())
    assert "0 slices of 5 runs" in absorbed(tmp_path / "late", tmp_path / "late").output
    assert "unknown; one seed, " in (tmp_path / "results/tables/cifar10-gpu/summary.md").read_text()
