"""One whole run of the DAG with real Snakemake: what it leaves, what is made again, and what is done to its files.

No path leads from an edited, damaged, swapped or missing file to a published number; each is named.
"""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tree import Tree

REPRESENTATION = (
    "dataset,method,augmentation,variant,seeds,linear_mean,linear_std,svm_mean,svm_std,"
    "kmeans_mean,kmeans_std,knn_mean,knn_std"
)
GENERATION = "dataset,method,augmentation,variant,seeds,fid_mean,fid_std,is_mean,is_std,extractor"


pytestmark = pytest.mark.slow  # make demo is another whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Tests copy it before they change anything."""
    tree = Tree.copy(tmp_path_factory.mktemp("tiny"))
    tree.snakemake()
    return tree


def test_one_command_goes_from_data_to_tables_figures_and_page(finished: Tree) -> None:
    tables = finished.root / "results/tables/tiny"
    header, *lines = (tables / "representation.csv").read_text().splitlines()
    assert header == REPRESENTATION
    assert sorted(line.split(",")[1:5] for line in lines) == [
        ["random", "none", "base", "2"],
        ["simclr", "simclr", "base", "1"],
        ["structural", "none", "full", "1"],
    ]
    header, *lines = (tables / "generation.csv").read_text().splitlines()
    assert header == GENERATION
    (structural,) = (line for line in lines if ",structural," in line)
    assert structural.endswith(",embedded")
    for name in ("representation", "generation", "augmentation"):
        for kind in ("csv", "md", "tex"):
            assert (tables / f"{name}.{kind}").stat().st_size > 0
    for name in ("augmentation", "training", "samples", "features"):
        assert (finished.root / f"results/figures/tiny/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "an untrained encoder sees no augmentation" in (finished.root / "results/report/tiny.html").read_text()


def test_numbers_of_the_table_are_those_of_the_runs(finished: Tree) -> None:
    entries = [entry for entry in finished.plan()["runs"] if entry["method"] == "random"]
    probes = [finished.root / entry["run"] / entry["evaluations"]["probe"] for entry in entries]
    values = [json.loads(path.read_text())["metrics"]["linear"]["top1"] for path in probes]
    table = (finished.root / "results/tables/tiny/representation.csv").read_text().splitlines()
    row = next(line for line in table if ",random," in line).split(",")
    assert len(values) == 2 and float(row[5]) == pytest.approx(sum(values) / 2, abs=1e-6)


def test_every_run_holds_what_the_design_promises(finished: Tree) -> None:
    for entry in finished.plan()["runs"]:
        run = finished.root / entry["run"]
        names = ["config.json", "encoder.safetensors", "history.json", "env.json", "train.log"]
        names += [*entry["evaluations"].values(), *["generator.safetensors"] * (entry["method"] == "structural")]
        assert [name for name in names if not (run / name).exists()] == []
        assert json.loads((run / "env.json").read_text())["identity"] == entry["identity"]


def test_a_finished_suite_plans_nothing_and_is_whole(finished: Tree) -> None:
    assert finished.planned() == {}
    code, said = finished.structgan("verify")
    assert code == 0 and said[-1].endswith("files verified"), said


@pytest.mark.faults
def test_a_run_that_lost_its_outputs_publishes_them_again_and_a_deleted_one_is_trained(
    finished: Tree, tmp_path: Path
) -> None:
    tree = finished.copied(tmp_path / "tree")
    (entry,) = (entry for entry in tree.plan()["runs"] if entry["variant"] == "full")
    run = tree.root / entry["run"]
    before = {name: (run / name).read_bytes() for name in ("encoder.safetensors", "history.json")}
    (run / "encoder.safetensors").unlink()
    for resumed in (True, False):
        tree.snakemake("--", f"{entry['run']}/encoder.safetensors")
        assert ("resumed at step 6" in (run / "train.log").read_text()) == resumed
        assert {name: (run / name).read_bytes() for name in before} == before
        shutil.rmtree(run)


@pytest.mark.faults
def test_the_pages_command_makes_a_run_again_when_pasted(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copied(tmp_path / "tree")
    page = (tree.root / "results/report/tiny.html").read_text()
    blocks = [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    (command,) = (block for block in blocks if "/random/none/" in block)
    entry = next(entry for entry in tree.plan()["runs"] if entry["method"] == "random" and entry["seed"] == 0)
    folder, probe = tree.root / entry["run"], entry["evaluations"]["probe"]
    whole = json.loads((folder / probe).read_text())
    for path in folder.iterdir():
        if path.name != "config.json":
            path.unlink()
    tree.call("bash", "-ec", command)
    again = json.loads((folder / probe).read_text())
    timed = {"seconds": 0, "checksums": {}}  # the checksum is of the seconds too
    assert {**again, **timed} == {**whole, **timed}
    assert json.loads((folder / "env.json").read_text())["identity"] == whole["identity"]


class House:
    """A finished tiny suite that may be harmed, with its files by short names."""

    def __init__(self, suite: Tree) -> None:
        self.suite, self.tree, entries = suite, suite.root, suite.plan()["runs"]
        tree = self.tree
        self.gan = next(entry for entry in entries if entry["variant"] == "full")
        self.first, self.second = (entry for entry in entries if entry["method"] == "random")
        self.run = tree / self.gan["run"]
        self.probe, self.fidelity = (self.run / self.gan["evaluations"][name] for name in ("probe", "fidelity"))
        self.data = tree / self.gan["data"]
        (self.extractor,) = (tree / "results/runs/digits_gradient").glob("extractor-*.safetensors")
        self.table = tree / "results/tables/tiny/representation.csv"
        self.page = tree / "results/report/tiny.html"

    def protocol(self, name: str) -> Path:
        return self.tree / "results/protocols" / self.gan["evaluations"][name]


@pytest.fixture
def house(finished: Tree, tmp_path: Path) -> House:
    return House(finished.copied(tmp_path / "tree"))


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
    "edited map": (lambda h: edit(next(h.run.glob("map-*")), lambda r: r["points"].pop()), "map-"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_result_never_reaches_a_table(house: House, harm: str) -> None:
    act, word = HARMS[harm]
    act(house)
    code, told = house.suite.structgan("verify")
    assert code == 1 and any(word in line.split(": ")[0] for line in told), told
    assert any("damaged" in line for line in house.suite.structgan("status")[1])
    code, told = house.suite.structgan("table", "--plan", "tiny", "--out", "results/tables/tiny")
    assert code == 1 and any("damaged, not counted: " in line and word in line for line in told), told
    assert ",damaged," in house.table.with_name("results.csv").read_text()
    assert "0.999" not in house.table.read_text() + house.table.with_name("results.csv").read_text()


LOSSES = ("encoder", "generator", "config", "extractor", "data", "table", "page cut", "table edited")


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_missing_or_changed_is_named(house: House, loss: str) -> None:
    networks = {name: house.run / f"{name}.safetensors" for name in ("encoder", "generator")}
    path = {"config": house.run / "config.json", **networks, "page cut": house.page}.get(loss)
    path = path or {"extractor": house.extractor, "data": house.data}.get(loss, house.table)
    if loss == "page cut":
        path.write_text(path.read_text()[:-2000])
    elif loss == "table edited":
        path.write_text(path.read_text() + "\n")
    else:
        path.unlink()
    code, told = house.suite.structgan("verify")
    assert code == 1 and str(path.relative_to(house.tree)) in [line.split(": ")[0] for line in told], told


def test_a_job_refuses_what_is_not_as_planned(house: House) -> None:
    """An edited configuration, damaged weights, the prepared file of another data set."""
    evaluate = ("evaluate", "--run", house.run, "--protocol", house.protocol("probe"), "--device", "cpu")
    train = ("train", "--run", house.run, "--data", house.data, "--device", "cpu")
    config, encoder = house.run / "config.json", house.run / "encoder.safetensors"
    whole = config.read_bytes()
    edit(config, lambda record: record["settings"]["training"].update(steps=5))
    for verb in (evaluate, train):
        assert "config.json: edited" in house.suite.refused(*verb)
    config.write_bytes(whole)
    flip(encoder)
    assert "encoder.safetensors: edited" in house.suite.refused(*evaluate)
    settings = json.loads(house.data.with_suffix(".json").read_text())
    kept = {key: value for key, value in settings.items() if key not in ("identity", "sources")}
    (house.tree / "other.json").write_text(json.dumps({**kept, "seed": 5}))
    code, said = house.suite.structgan("prepare", "--settings", "other.json", "--out", "other.safetensors")
    assert code == 0, said
    shutil.copy2(house.tree / "other.safetensors", house.data)
    for verb in (evaluate, train):
        house.suite.refused(*verb)


def test_what_verify_deletes_is_made_again(house: House) -> None:
    edit(house.probe, lambda record: record["metrics"]["linear"].update(top1=0.999))
    flip(house.run / "encoder.safetensors")
    assert house.suite.structgan("verify", "--delete")[0] == 1
    counts = house.suite.planned("--", "runs")
    assert (counts["train"], counts["evaluate"]) == (1, 1)
