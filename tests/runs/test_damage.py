"""Flipped, cut and lengthened files of a small real suite: ``verify`` names each, no reader takes its numbers."""

import random
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from tree import Tree

from structgan import evaluate, files, plan, provenance, status, train
from structgan.errors import UserError
from structgan.evaluation import extractor
from structgan.report import results
from structgan.training import checkpoint

TABLES, FIGURES, PAGE = "results/tables/demo", "results/figures/demo", "results/report/demo.html"
GAN = "results/runs/digits_gradient/plain_gan/*/*/*/*"
REFUSED = ("data", "encoder", "generator", "config", "env", "protocol")
"""What an evaluation reads and refuses."""
KINDS = {
    "data": "data/prepared/*.safetensors", "settings": "data/prepared/*.json", "plan": "results/plans/demo/*.json",
    "protocol": "results/protocols/probe-*.json", "extractor": "results/runs/digits_gradient/extractor-*.safetensors",
    "config": f"{GAN}/config.json", "history": f"{GAN}/history.json", "env": f"{GAN}/env.json",
    "state": f"{GAN}/state.safetensors", "encoder": f"{GAN}/encoder.safetensors",
    "generator": f"{GAN}/generator.safetensors", "probe": f"{GAN}/probe-*.json",
    "fidelity": f"{GAN}/fidelity-*.json", "map": f"{GAN}/map-*.json", "samples": f"{GAN}/samples-*.png",
    "csv": f"{TABLES}/representation.csv", "md": f"{TABLES}/representation.md", "tex": f"{TABLES}/representation.tex",
    "seal": f"{TABLES}/made_from-*.json", "svg": f"{FIGURES}/augmentation.svg", "png": f"{FIGURES}/augmentation.png",
    "page": PAGE, "page's seal": "results/report/demo.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def suite(demo, tmp_path_factory) -> Tree:
    """One run, prepared, trained, evaluated, tabled and drawn in this process."""
    tree = Tree(tmp_path_factory.mktemp("suite"))
    grid = [{"datasets": ["digits_gradient"], "methods": ["plain_gan"], "augmentations": ["none"], "seeds": [0]}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree.root)
        made = plan.Plan({**demo, "grid": grid, "references": None, "paper": None})
        (entry,) = made.write()["runs"]
        run, data = Path(entry["run"]), Path(entry["data"])
        assert tree.structgan("prepare", "--settings", data.with_suffix(".json"), "--out", data)[0] == 0
        (network,) = made.inputs(entry, "fidelity")
        extractor.train(data, Path(provenance.protocol_path(made.embedded)), Path(network))
        train.run(run, data)
        for planned in made.protocols.values():
            evaluate.run(run, Path(provenance.protocol_path(planned)))
    assert tree.structgan("table", "--plan", "demo", "--out", TABLES)[0] == 0
    assert tree.structgan("plot", "--plan", "demo", "--out", FIGURES)[0] == 0
    assert report(tree)[0] == 0 and tree.structgan("verify")[0] == 0
    next(tree.root.glob(f"{GAN}/state.previous.safetensors")).unlink()
    return tree


def report(tree: Tree, out: str = PAGE) -> tuple[int, list[str]]:
    return tree.structgan("report", "--plan", "demo", "--tables", TABLES, "--figures", FIGURES, "--out", out)


def damaged(whole: bytes, more: int, chance: random.Random) -> Iterator[bytes]:
    """Bits flipped at both ends, in the header and elsewhere; cut; lengthened. The line break at the end is free."""
    length = len(whole.rstrip(b"\n"))
    header = min(length, 8 + int.from_bytes(whole[:8], "little"))
    yield whole + b"\0"
    for place in {0, length - 1, *(chance.randrange(n) for n in (header, *[header, length] * more))}:
        yield whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
    yield from (whole[:cut] for cut in {length // 2, *[0, 1, 8, length - 1][: 4 * more]})


@pytest.mark.parametrize("more", [0, pytest.param(40, marks=pytest.mark.faults)])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_never_read(suite: Tree, kind: str, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(suite.root)
    (path,) = Path().glob(KINDS[kind])
    before, numbers = path.read_bytes(), results.load("demo")
    (run,), (protocol,) = Path().glob(GAN), Path().glob(KINDS["protocol"])
    try:
        for content in damaged(before, more, random.Random(kind)):
            path.write_bytes(content)
            code, told = suite.structgan("verify")
            assert code == 1 and any(line.startswith(f"{path}: ") for line in told), (content, told)
            code, told = suite.structgan("show", "demo")
            if kind == "plan":
                assert code == 2 and told[-1].startswith(f"structgan: {path}: ")
                continue
            frame = results.load("demo")
            hurt = frame[frame["state"] == "damaged"]
            assert len(frame[frame["state"] != "damaged"].merge(numbers, on=list(frame))) == len(frame) - len(hurt)
            assert hurt["value"].isna().all() and (code == 1) == (len(hurt) > 0)
            assert len(hurt) > 0 or kind not in ("config", "env", "history", "probe", "fidelity", "map", "samples")
            _, (state,) = status.gather(plan.newest("demo"))
            assert (state.name == "damaged") == (len(hurt) > 0)
            if kind in REFUSED:
                refusal(evaluate.run, run, protocol)
            if kind == "extractor":
                refusal(extractor.load, path)
            if kind == "state":
                refusal(checkpoint.States(run, {}).read, path)
            if kind in ("csv", "md", "tex", "svg", "seal") and content.startswith(before):
                code, told = report(suite, "other.html")
                assert code == 2 and told[-1].startswith(f"structgan: {path}: ") and not Path("other.html").exists()
    finally:
        path.write_bytes(before)


def refusal(read, *arguments: object) -> None:
    """A reader raises the one error, in one line."""
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["env", "probe"])
def test_a_record_of_another_shape_is_damaged_even_with_its_own_checksum(
    suite: Tree, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(suite.root)
    (path,) = Path().glob(KINDS[kind])
    whole = path.read_bytes()
    record = files.read_json(path)
    shapes = [
        {"checksums": {**record["checksums"], key: value}} for key in ("files", "inputs") for value in (None, "x")
    ]
    shapes += [{key: value} for key in ("evaluation", "metrics") for value in (None, "x", [])] * (kind == "probe")
    try:
        for change in shapes:
            forged = {**record, **change}
            forged["checksums"] = {**forged["checksums"], "self": provenance.own_checksum(forged)}
            files.write_json(path, forged)
            assert suite.structgan("verify")[0] == suite.structgan("show", "demo")[0] == 1
            assert (results.load("demo")["state"] == "damaged").any()
    finally:
        path.write_bytes(whole)


def test_a_picture_that_is_not_there_costs_no_number_and_is_named(suite: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(suite.root)
    (path,) = Path().glob(KINDS["samples"])
    whole, numbers = path.read_bytes(), results.load("demo")
    path.unlink()
    try:
        read = results.read("demo")
        pd.testing.assert_frame_equal(read.frame, numbers)
        assert all(read.companion(group, "fidelity", "samples.png") is None for group in read.groups)
        code, said = suite.structgan("verify")
        assert code == 1 and any(str(path) in line for line in said)
    finally:
        path.write_bytes(whole)
