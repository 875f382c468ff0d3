"""No path leads from an edited, damaged, swapped or missing file to a published number; each is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_whole_run import copy_of, finished, runs_of  # noqa: F401
from workflow_tree import planned

pytestmark = pytest.mark.xdist_group("whole run")


class House:
    """A finished tiny suite that may be harmed, with its files by short names."""

    def __init__(self, tree: Path) -> None:
        self.tree, entries = tree, runs_of(tree)
        self.gan = next(entry for entry in entries if entry["variant"] == "full")
        self.first, self.second = (entry for entry in entries if entry["method"] == "random")
        self.run = tree / self.gan["run"]
        self.probe, self.fidelity = (self.run / self.gan["evaluations"][name] for name in ("probe", "fidelity"))
        self.data = tree / self.gan["data"]
        (self.extractor,) = (tree / "results/runs/digits").glob("extractor-*.safetensors")
        self.table = tree / "results/tables/tiny/representation.csv"
        self.page = tree / "results/report/tiny.html"

    def protocol(self, name: str) -> Path:
        return self.tree / "results/protocols" / self.gan["evaluations"][name]


@pytest.fixture
def house(finished: Path, tmp_path: Path) -> House:  # noqa: F811
    return House(copy_of(finished, tmp_path))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap(house: House) -> None:
    paths = [house.tree / entry["run"] / entry["evaluations"]["probe"] for entry in (house.first, house.second)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)


HARMS: dict[str, tuple[Callable[[House], object], str]] = {
    "edited number": (lambda h: edit(h.probe, lambda r: r["metrics"]["linear"].update(top1=0.999)), "probe"),
    "edited fidelity": (lambda h: edit(h.fidelity, lambda r: r["metrics"].update(fid=0.1)), "fidelity"),
    "no checksums": (lambda h: edit(h.probe, lambda r: r.pop("checksums")), "probe"),
    "edited history": (lambda h: edit(h.run / "history.json", lambda r: r["records"].pop()), "history.json"),
    "edited env": (lambda h: edit(h.run / "env.json", lambda r: r.update(seconds=1)), "env.json"),
    "edited config": (lambda h: edit(h.run / "config.json", lambda r: r.update(seed=7)), "config.json"),
    "swapped probes": (swap, "probe"),
    "cut short": (lambda h: h.probe.write_text(h.probe.read_text()[:200]), "probe"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_result_never_reaches_a_table(house: House, command, refusal, harm: str) -> None:
    act, word = HARMS[harm]
    before = house.table.read_bytes()
    act(house)
    line = refusal(
        command("-m", "structgan", "table", "--plan", "tiny", "--out", "results/tables/tiny", cwd=house.tree)
    )
    assert word in line and house.table.read_bytes() == before
    told = command("-m", "structgan", "verify", cwd=house.tree)
    assert told.returncode == 1 and any(word in name.split(": ")[0] for name in told.stdout.splitlines()), told.stdout
    status = command("-m", "structgan", "status", cwd=house.tree)
    assert "damaged" in status.stdout or harm == "edited history"


LOSSES = ("encoder", "generator", "config", "extractor", "data", "table", "page cut", "table edited")


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_missing_or_changed_is_named(house: House, command, loss: str) -> None:
    networks = {name: house.run / f"{name}.safetensors" for name in ("encoder", "generator")}
    path = {"config": house.run / "config.json", **networks, "page cut": house.page}.get(loss)
    path = path or {"extractor": house.extractor, "data": house.data}.get(loss, house.table)
    if loss == "page cut":
        path.write_text(path.read_text()[:-2000])
    elif loss == "table edited":
        path.write_text(path.read_text() + "\n")
    else:
        path.unlink()
    told = command("-m", "structgan", "verify", cwd=house.tree)
    assert told.returncode == 1
    assert str(path.relative_to(house.tree)) in [line.split(": ")[0] for line in told.stdout.splitlines()], told.stdout


def test_a_job_refuses_what_is_not_as_planned(house: House, command, refusal) -> None:
    """An edited configuration, damaged weights, the prepared file of another data set."""
    evaluate = ("evaluate", "--run", house.run, "--protocol", house.protocol("probe"), "--device", "cpu")
    train = ("train", "--run", house.run, "--data", house.data, "--device", "cpu")
    whole = {
        path: path.read_bytes() for path in house.run.iterdir() if path.name in ("config.json", "encoder.safetensors")
    }
    edit(house.run / "config.json", lambda record: record["settings"]["training"].update(steps=5))
    for verb in (evaluate, train):
        assert "config.json: edited" in refusal(command("-m", "structgan", *verb, cwd=house.tree))
    (house.run / "config.json").write_bytes(whole[house.run / "config.json"])
    flip(house.run / "encoder.safetensors")
    assert "encoder.safetensors: edited" in refusal(command("-m", "structgan", *evaluate, cwd=house.tree))
    other = house.tree / "other.json"
    settings = json.loads(house.data.with_suffix(".json").read_text())
    kept = {key: value for key, value in settings.items() if key not in ("identity", "sources")}
    other.write_text(json.dumps({**kept, "seed": 5}))
    prepared = house.tree / "other.safetensors"
    done = command("-m", "structgan", "prepare", "--settings", other, "--out", prepared, cwd=house.tree)
    assert done.returncode == 0, done.stderr
    shutil.copy2(prepared, house.data)
    for verb in (evaluate, train):
        refusal(command("-m", "structgan", *verb, cwd=house.tree))


def test_what_verify_deletes_is_made_again(house: House, command) -> None:
    edit(house.probe, lambda record: record["metrics"]["linear"].update(top1=0.999))
    flip(house.run / "encoder.safetensors")
    assert "train" not in planned(house.tree)
    assert command("-m", "structgan", "verify", "--delete", cwd=house.tree).returncode == 1
    counts = planned(house.tree, "--", "runs")
    assert (counts["train"], counts["evaluate"]) == (1, 1)
