"""Axes of an ablation: how a list of values becomes variants, what is refused, what the suites plan."""

from __future__ import annotations

import json

import pytest

from structgan import config, parallel, plan, sources, sweep
from structgan.errors import UserError

FOLDER = sources.ROOT / "workflow/config"
SMALL = [str(FOLDER / name) for name in ("demo.yaml", "ablations-small.yaml")]
GRID = "grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [%s], seeds: [0]}]\n"


def swept(user_file, text):
    """The configuration with a sweep of the structural GAN."""
    return config.load([user_file(f"methods: {{structural: {{sweep: {{{text}}}}}}}\n")])


def test_each_value_but_the_default_is_a_variant_that_changes_one_setting(user_file):
    made = swept(user_file, "cluster.k: [8, 1, 2]")
    axis = sweep.axis(made, "structural", "cluster.k")
    assert [(point.value, point.variant, point.default) for point in axis.points] == [
        (1, "full", True),
        (2, "cluster.k-2", False),
        (8, "cluster.k-8", False),
    ]
    cell = {"dataset": "digits", "method": "structural", "augmentation": "none", "variant": "full"}
    full, other = (config.resolve(made, {**cell, "variant": name}) for name in ("full", "cluster.k-8"))
    assert (full["method"]["cluster"].pop("k"), other["method"]["cluster"].pop("k")) == (1, 8)
    assert full == other


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("smoothness.weight: [50, 0.5]", ["smoothness.weight-0.5", "full", "smoothness.weight-50"]),  # default added
        ("smoothness.weight: [5, 50.0]", ["full", "smoothness.weight-50"]),  # 5 is 5.0
        ("gaussian.form: [wasserstein]", ["full", "gaussian.form-wasserstein"]),
        ("per_process: [64, null]", ["full", "per_process-64", "per_process-null"]),
        ("cluster.skip_best_for_generated: [false]", ["full", "cluster.skip_best_for_generated-false"]),
        ("training.batch_size: {values: [512, 128]}", ["training.batch_size-128", "full"]),
        ("both: {variants: [wasserstein, no_cluster]}", ["full", "wasserstein", "no_cluster"]),
    ],
)
def test_names_are_stable_and_the_default_is_shared(user_file, text, names):
    made, key = swept(user_file, text), text.split(":")[0]
    assert [point.variant for point in sweep.axis(made, "structural", key).points] == names
    assert list(sweep.spread(made, "structural", [key, "no_cluster"])) == [*names, "no_cluster"]


def test_a_method_without_full_shares_base(user_file):
    made = config.load([user_file("methods: {simclr: {sweep: {temperature: [0.1, 0.2]}}}\n")])
    points = sweep.axis(made, "simclr", "temperature").points
    assert [point.variant for point in points] == ["temperature-0.1", "base"]
    training = config.load([user_file("methods: {simclr: {sweep: {training.batch_size: [64]}}}\n")])
    cell = {"dataset": "digits", "method": "simclr", "augmentation": "none", "variant": "training.batch_size-64"}
    assert config.resolve(training, cell)["training"] == {**training["training"], "batch_size": 64}


BAD = {
    "no such setting": ("cluster.bnak: [1]", ["sweep.cluster.bnak", "unknown setting 'bnak'", "did you mean 'bank'"]),
    "no such block": ("clster.bank: [1]", ["unknown setting 'clster'", "did you mean 'cluster'"]),
    "a block": ("cluster: [1]", ["sweep.cluster: is no single value"]),
    "a list": ("discriminator.blocks: [1]", ["sweep.discriminator.blocks: is no single value"]),
    "out of range": ("smoothness.weight: [-1]", ["sweep.smoothness.weight = -1", "must be at least 0"]),
    "wrong type": ("cluster.k: [many]", ['sweep.cluster.k = "many"', "integer"]),
    "not in the set": ("gaussian.form: [jds]", ['sweep.gaussian.form = "jds"', "jsd, bhattacharyya, wasserstein"]),
    "training": ("training.batch_size: [1]", ["sweep.training.batch_size = 1", "must be at least 2"]),
    "twice": ("cluster.k: [2, 4, 2.0]", ["sweep.cluster.k = [2, 4, 2]", "2 is named twice"]),
    "infinite": ("smoothness.weight: [.inf]", ["sweep.smoothness.weight", "finite"]),
    "no values": ("hinge.weight: {title: w}", ["sweep.hinge.weight: must have either values", "or variants"]),
    "both": ("cluster.k: {values: [1], variants: [full]}", ["must have either values"]),
    "no such variant": ("x: {variants: [no_clster]}", ["unknown variant 'no_clster'", "did you mean 'no_cluster'"]),
    "a variant's name": ("no_cluster: {variants: [full]}", ["'no_cluster' is a variant already"]),
    "no name of a folder": ('gaussian.form: ["../jsd"]', ["sweep.gaussian.form: '../jsd' is no name of a folder"]),
    "unknown key": ("cluster.k: {valeus: [1]}", ["sweep.cluster.k.valeus", "did you mean 'values'"]),
    "a mapping": ("cluster.k: 3", ["sweep.cluster.k = 3", "array, object"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_sweep_that_makes_no_sense_is_one_line(user_file, case):
    text, words = BAD[case]
    with pytest.raises(UserError) as caught:
        swept(user_file, text)
    line = str(caught.value)
    assert "\n" not in line and "mine.yaml" in line, line
    for word in words:
        assert word in line


def test_an_axis_that_the_method_lacks_is_refused_by_name(user_file):
    file = user_file(GRID % "cluster.kk")
    with pytest.raises(UserError, match=r"unknown variant 'cluster\.kk', did you mean 'cluster\.k'"):
        plan.make(config.load([file]), [str(file)])


def test_a_data_set_that_changes_the_default_of_an_axis_is_refused(user_file):
    text = "datasets: {digits: {training: {batch_size: 64}}}\n" + GRID % "training.batch_size"
    file = user_file(text)
    with pytest.raises(UserError, match=r"mine\.yaml: grid: training\.batch_size of structural is 64 on digits"):
        plan.make(config.load([file]), [str(file)])


def test_the_plan_tells_the_axes_that_the_grid_names(user_file, base):
    file = user_file(GRID % "cluster.update_every, terms")
    made, runs = plan.make(config.load([file]), [str(file)])
    assert list(made["axes"]) == ["cluster.update_every", "terms"]
    axis = made["axes"]["cluster.update_every"]
    assert axis["file"] == "ablation_cluster_update_every" and axis["title"] != axis["file"]
    assert axis["points"]["structural"][:2] == [
        {"value": "1", "variant": "full", "label": "1", "default": True},
        {"value": "4", "variant": "cluster.update_every-4", "label": "4", "default": False},
    ]
    assert len(runs) == 1 + 2 + 5  # full once
    assert made["variants"]["cluster.update_every-4"]["title"].endswith(": 4")
    assert "axes" not in plan.make(base, [])[0]
    json.dumps(made)


def test_the_ablations_of_the_paper_are_planned():
    file = str(FOLDER / "ablations.yaml")
    made, runs = plan.make(config.load([file]), [file])
    assert len(made["axes"]) == 11 and {cell["dataset"] for cell in made["cells"]} == {"cifar10"}
    new = {name: len(axis["points"]["structural"]) - 1 for name, axis in made["axes"].items()}
    assert new["smoothness.weight"] == 4 and new["cluster.bank"] == 4
    assert len(runs) == 3 * (1 + sum(new.values()))
    banks = {run["config"]["settings"]["method"]["cluster"]["bank"] for run in runs}
    assert banks == {0, 1024, 2560, 10240, 50000}
    full = [run["config"] for run in runs if run["config"]["variant"] == "full"]
    assert all(run["settings"]["method"] == config.load([])["methods"]["structural"]["settings"] for run in full)


def test_the_small_ablations_fit_their_batches_and_banks():
    made, runs = plan.make(config.load(SMALL), SMALL)
    assert len(made["axes"]) == 11 and len(runs) <= 60
    for run in runs:
        settings = run["config"]["settings"]
        assert parallel.group_size(settings["training"]["batch_size"], settings["method"]["per_process"]) <= 128
        assert settings["training"]["steps"] == 100
