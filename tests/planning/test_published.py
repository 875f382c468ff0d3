"""Files of published numbers: one clear line on bad input, the repository's own files, the paper's left to a person."""

import copy

import pytest
import yaml
from refusal import refused

from structgan import config, plan, published, yaml_reader
from structgan.grid import Grid

ROW = {
    "dataset": "cifar10", "method": "SimCLR", "metric": "linear", "value": 0.9, "protocol": "words",
    "source": "somewhere",
    "ours": {"method": "simclr", "augmentation": "simclr", "variant": "base"},
    "tolerance": {"value": 1.0, "unit": "points"},
    "requires": {"epochs": 1000, "batch_size": 512, "probe": "offline", "split": "train→test"},
}  # fmt: skip
PAPER = {**ROW, "value": None, "table": None, "entered_by": None}
FID = {
    **ROW, "metric": "fid", "value": 20.0, "tolerance": {"value": 10, "unit": "percent"},
    "requires": {"epochs": 1000, "batch_size": 512, "extractor": "inception", "n_generated": 50000, "reference": None},
}  # fmt: skip


CIFAR = [{"datasets": ["cifar10"], "methods": ["random"], "augmentations": ["none"], "seeds": [0]}]


@pytest.fixture
def read(base, tmp_path):
    """Reads rows that are written to a file as the suite's references."""

    def rows(*entries, key="references"):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"rows": list(entries)}, allow_unicode=True))
        return plan.Plan({**base, "grid": CIFAR, key: str(tmp_path / "mine.yaml")}).content[key]

    return rows


def test_rows_are_those_of_the_suites_data_sets(read, base):
    assert read(ROW, FID, PAPER, {**ROW, "dataset": "cifar100"}) == [ROW, FID, PAPER]
    assert plan.Plan({**base, "references": None}).content["references"] == []
    mine = {**base["datasets"]["digits_gradient"], "reference": "cifar100"}
    beside = {**base, "datasets": {**base["datasets"], "mine": mine}, "grid": [{**CIFAR[0], "datasets": ["mine"]}]}
    assert {row["dataset"] for row in plan.Plan(beside).content["references"]} == {"cifar100"}


@pytest.mark.parametrize("key", published.KEYS)
def test_a_file_that_does_not_exist_is_named_by_its_key(base, key):
    with refused(f"{key} = nope.yaml: no such file"):
        plan.Plan({**base, "grid": CIFAR, key: "nope.yaml"})


def changed(row, **changes):
    """A copy with dotted keys set, or removed where the value is Ellipsis; a double underscore stands for the dot."""
    made = copy.deepcopy(row)
    for key, value in changes.items():
        *path, last = key.split("__")
        inner = made
        for name in path:
            inner = inner[name]
        inner.pop(last) if value is ... else inner.update({last: value})
    return made


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (changed(ROW, value=90.7), ["rows.0.value = 90.7", "at most 1", "fraction"]),
        (changed(ROW, value=None), ["rows.0.value = null", "only the paper's file"]),
        (changed(ROW, value=float("nan")), ["rows.0.value = nan", "finite"]),
        (changed(ROW, source=...), ["rows.0", "'source' is a required property"]),
        (changed(ROW, metric="top1"), ['rows.0.metric = "top1"', "linear, svm"]),
        (changed(ROW, sorce="x"), ["rows.0", "unknown key 'sorce'", "did you mean 'source'"]),
        (changed(ROW, tolerance=...), ["rows.0", "tolerance"]),
        (changed(ROW, tolerance__unit="sigma"), ['tolerance.unit = "sigma"', "points, percent, absolute"]),
        (changed(ROW, requires__probe="frozen"), ['requires.probe = "frozen"', "online, offline"]),
        (changed(ROW, requires__probe=...), ["rows.0.requires", "'probe' is a required property"]),
        (changed(FID, tolerance__unit="points"), ['tolerance.unit = "points"', "percent, absolute"]),
        (changed(FID, requires__n_generated=...), ["rows.0.requires", "'n_generated' is a required property"]),
        (changed(ROW, ours__method="simcrl"), ["rows.0.ours", "unknown method 'simcrl'", "did you mean 'simclr'"]),
        (changed(ROW, ours__augmentation="corp"), ["rows.0.ours", "unknown augmentation 'corp'", "'crop'"]),
        (changed(ROW, ours__variant="full"), ["rows.0.ours", "unknown variant 'full'", "base"]),
        (changed(PAPER, value=0.9), ["rows.0.entered_by = null", "must be of type string", "who entered the value"]),
        (changed(PAPER, table=...), ["rows.0", "table"]),
    ],
)  # fmt: skip
def test_bad_rows_are_refused(read, row, words):
    with refused("mine.yaml", *words):
        read(row)


def test_an_entered_number_is_read(read):
    entered = {**PAPER, "value": 0.9, "table": "2", "entered_by": "a reader"}
    assert read(entered, key="paper") == [entered]


def test_the_papers_numbers_are_null_or_say_who_entered_them(base):
    rows = yaml_reader.read(config.BASE.with_name("paper.yaml"))["rows"]
    assert rows and all(row["value"] is None or (row["entered_by"] and row["table"]) for row in rows)
    assert {row["dataset"] for row in rows} == {"cifar10", "cifar100", "imagenet10"}
    made = plan.Plan(base, [str(config.BASE)]).content
    assert made["paper"] == rows and made["main"] == "structural"
    keys = [(row["dataset"], row["method"], row["metric"], str(row.get("ours"))) for row in rows]
    assert len(keys) == len(set(keys))


def test_the_main_method_must_exist(base):
    with refused("main: unknown method 'structral', did you mean 'structural'"):
        plan.Plan({**base, "main": "structral"}, [str(config.BASE)])


def test_what_a_reference_requires_is_recorded_by_the_runs_that_it_corresponds_to(base):
    """A setting of another name would turn every verdict into "not recorded by our runs"."""
    seen, grid = 0, Grid(base)
    for key in published.KEYS:
        for row in yaml_reader.read(config.BASE.with_name(f"{key}.yaml"))["rows"]:
            if "ours" in row and row["dataset"] in base["datasets"]:
                found = grid.run(row["dataset"], **row["ours"], seed=0).settings
                for dotted in row.get("requires", {}).get("settings", {}):
                    value = found
                    for part in dotted.split("."):
                        value = value[part]
                    seen += 1
    assert seen > 20
