"""The short run of a GPU, rehearsed on the CPU: to its end, killed at random moments, and with parts that fail."""

import random
import signal
from types import SimpleNamespace

import pytest
import rehearsal
import torch
from click.testing import CliRunner
from raw_data import pack, picture

from benchmarks import probes
from benchmarks.gpu import absorb, curves, measure, output, short_run
from structgan import files
from structgan.errors import UserError
from structgan.evaluation import knn
from structgan.evaluation.features import Features


def absorbed(folder, to):
    """What ``absorb`` says; it must succeed."""
    done = CliRunner().invoke(absorb.cli, [str(folder), "--to", str(to)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an archive of real JPEG files."""
    root = tmp_path_factory.mktemp("short")
    names = [f"{s}/{c}/{i}.jpg" for s, n in (("train", 12), ("test", 10)) for c in ("cat", "dog") for i in range(n)]
    pack(root / "mine.tar.xz", {name: picture(i, (16, 16), kind="JPEG") for i, name in enumerate(names)})
    return root


@pytest.fixture(scope="module")
def whole(place):
    """A run that nothing happened to, and how often it brought something to the disk."""
    code, said, folder = rehearsal.run(place, "whole")
    assert code == 0, said
    return folder, int(said.rpartition("calls: ")[2])


@pytest.mark.faults
def test_a_whole_run_leaves_every_part(whole):
    folder, _ = whole
    result, lines = files.read_json(folder / "result.json"), absorb.lines(folder / "curve.jsonl")
    assert result["failed"] == {} and result["not_reached"] == [], result["failed"]
    assert len(list(folder.iterdir())) <= 7
    assert result["checks"]["structural"]["samples_finite"]
    assert [side["method"] for side in result["steps"]] == [*measure.TIMED, *measure.FORMS, "rival"]
    assert all(side["flops"] > 0 and side["share_of_peak"] > 0 for side in result["steps"])
    assert sum(len(side.get("longest", [])) == 30 for side in result["steps"]) == 7
    assert set(result["ratios"]) == set(measure.FORMS) and min(result["ratios"].values()) > 0
    assert [(line["method"], line["augmentation"]) for line in lines] == list(curves.ENTRIES) * 2
    for line in lines:
        assert 0 <= line["linear"] <= 1 and 0 <= line["knn"] <= 1 and line["step"] <= line["planned_steps"]
        assert line["images"] == 16 * line["step"] and line["seconds"] > 0 and line["flops"] > 0
    final = {one["measure"] for one in result["final"] if (one["method"], one["augmentation"]) == curves.ENTRIES[0]}
    assert final >= {"linear", "svm", "knn", "kmeans", "samples", "fidelity"}
    assert (folder / "samples-plain_gan-none.png").read_bytes().startswith(b"\x89PNG")
    encoder, about = files.load_tensors(folder / "encoder-1-of-1.safetensors")
    assert about["method"] == "structural" and all(tensor.dtype == torch.bfloat16 for tensor in encoder.values())


@pytest.mark.faults
def test_what_came_back_becomes_tables_and_figures(whole, tmp_path):
    said = absorbed(whole[0], tmp_path)
    assert "10 rows of curve, 5 rows of summary, 7 rows of steps, 1 rows of checks" in said
    tables, figures = (
        tmp_path / "results/reference/tables/cifar10-gpu",
        tmp_path / "results/reference/figures/cifar10-gpu",
    )
    assert {path.name for path in tables.glob("*.csv")} == {f"{name}.csv" for name in absorb.COLUMNS}
    summary = [[cell.strip() for cell in line.split("|")] for line in (tables / "summary.md").read_text().splitlines()]
    assert any(row[1:3] == ["SimCLR", "SimCLR's full recipe"] and "official" in row for row in summary)
    assert {path.stem for path in figures.iterdir()} == {"accuracy_by_images", "accuracy_by_seconds"}
    copies = tmp_path / "benchmarks/results/gpu"
    assert {path.name for path in copies.iterdir()} == {path.name for path in whole[0].iterdir()} - {
        "encoder-1-of-1.safetensors"
    }


@pytest.mark.faults
@pytest.mark.parametrize("half", [0, 1])
def test_a_kill_at_a_random_moment_leaves_a_result(whole, place, tmp_path, half):
    crash = random.randrange(half * whole[1] // 2, (half + 1) * whole[1] // 2) + 1
    code, said, folder = rehearsal.run(place, f"killed-{half}", crash)
    assert code == -signal.SIGKILL, (crash, said)
    if (folder / "result.json").exists():
        assert files.read_json(folder / "result.json")["failed"] == {}, (crash, said)
        assert absorbed(folder, tmp_path), (crash, said)
    assert half == 0 or files.read_json(folder / "result.json")["steps"], (crash, said)


@pytest.mark.faults
def test_a_line_that_is_cut_off_and_missing_files_are_skipped(whole, tmp_path):
    content, late, early = (whole[0] / "curve.jsonl").read_bytes(), tmp_path / "late", tmp_path / "early"
    for folder in (late, early):
        folder.mkdir()
    for cut in (*random.sample(range(1, len(content)), 20), len(content) // 2):
        (early / "curve.jsonl").write_bytes(content[:cut])
        complete, rest = content[:cut].count(b"\n"), content[:cut].rpartition(b"\n")[2]
        assert len(absorb.lines(early / "curve.jsonl")) == complete + rest.endswith(b"}}"), cut
    assert "rows of summary" in absorbed(early, tmp_path)
    (late / "result.json").write_bytes((whole[0] / "result.json").read_bytes())
    assert "5 rows of summary, 7 rows of steps" in absorbed(late, tmp_path)


@pytest.mark.parametrize(
    ("main", "arguments", "reason"),
    [
        (short_run.cli, "--data no.tar --out new", "no.tar: no such file"),
        (short_run.cli, "--data data --device cpu --out old", "old: has results already"),
        (short_run.cli, "--data data --device cpu --out new --wheels data", "data: no wheels"),
        (short_run.cli, "--data data --out new", "no GPU is visible"),
        (absorb.cli, "data", "data: nothing of a short run"),
        (absorb.cli, "damaged", "curve.jsonl: line 2 is not valid JSON"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, main, arguments, reason):
    for name in ("data", "old", "damaged"):
        (tmp_path / name).mkdir()
    (tmp_path / "old/result.json").write_text("{}")
    (tmp_path / "damaged/curve.jsonl").write_text('{"a": 1}\n{"b\n{"c": 2}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["x", *arguments.split()])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as left:
        short_run.main(main)
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2 and reason in said and len(said.splitlines()) == 1, said


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "BEGIN", output.time.monotonic())
    (tmp_path / "data").mkdir()
    return output.Output(tmp_path / "out", tmp_path, output.Options(tmp_path / "data", "cpu", 570.0, False, ()))


def test_a_part_that_fails_is_recorded_and_the_next_one_runs(out):
    def broken():
        raise ValueError("no such kernel\nfor this device")

    out.found["ceilings"] = {"rates": [1.0, float("nan")]}
    assert out.attempt("first", 1.0, broken) is None and out.attempt("second", 1.0, lambda x: x + 1, 1) == 2
    assert out.attempt("third", 0.0, broken) is None
    result = files.read_json(out.folder / "result.json")
    assert result["failed"] == {"first": "ValueError: no such kernel"} and result["done"] == ["second"]
    assert result["ceilings"] == {"rates": [1.0, None]} and out.found["not_reached"] == ["third"]
    assert "for this device" in (out.folder / "log.txt").read_text()


@pytest.mark.faults
def test_images_that_cannot_be_prepared_are_a_reason(out):
    with pytest.raises(UserError, match="no folder train/<class>/ with images"):
        short_run.wait_for(*short_run.prepare(out), out)


@pytest.mark.parametrize("probe", [1.0, 4.0, 40.0])
def test_slices_are_equal_and_end_where_the_last_part_begins(out, monkeypatch, probe):
    clock, plans = [100.0], {}

    class Entry:
        run = SimpleNamespace(history=SimpleNamespace(records=[{"losses": {}}]))

        def __init__(self, name, augmentation, *_):
            self.title, self.seconds = f"{name}-{augmentation}", 1.0

        def train(self, seconds, to_come):
            clock[0] += seconds + 0.1
            self.seconds += seconds
            plans.setdefault(self.title, []).append((seconds, to_come))

        def record(self):
            return {"seconds": self.seconds}

        def score(self):
            clock[0] += probe
            return {}

    monkeypatch.setattr(out, "now", lambda: clock[0])
    monkeypatch.setattr(curves, "Entry", Entry)
    end = output.CURVES_END * 570
    assert len(curves.race(out, SimpleNamespace(describe=lambda *_: None), None)) == 5
    assert end - 5 * (probe + 15) <= clock[0] <= end + 15 + probe
    lines = absorb.lines(out.folder / "curve.jsonl")
    for first in range(0, len(lines) - 4, 5):
        assert len({round(line["seconds"], 6) for line in lines[first : first + 5]}) == 1
    if probe < 10:  # else the first guess was too far off to plan by
        assert len(lines) % 5 == 0 and len(lines) >= 15
        assert all(planned[-1][0] == pytest.approx(planned[-1][1]) for planned in plans.values())


def test_the_devices_neighbors_are_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    train, queries = (torch.randn(n, 6, generator=generator) for n in (300, 90))
    labels = torch.randint(5, (300,), generator=generator)
    found = probes.nearest(Features(train, labels, queries, labels[:90]), 20, 0.07)
    assert torch.equal(found, knn.predict(train, labels, queries, 20, 0.07))
