"""Axes of an ablation: how a list of values becomes variants, what is refused, what the suites plan."""

from __future__ import annotations

import json

import pytest

from structgan import config, distributed, plan, sources
from structgan.errors import UserError
from structgan.grid import Grid

FOLDER = sources.ROOT / "workflow/config"
SMALL = [str(FOLDER / name) for name in ("demo.yaml", "ablations-small.yaml")]
GRID = "grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [%s], seeds: [0]}]\n"


def swept(user_file, text):
    """The configuration with a sweep of the structural GAN."""
    file = user_file(f"methods: {{structural: {{sweep: {{{text}}}}}}}\n")
    return Grid(config.load([file]), [str(config.BASE), str(file)])


def test_each_value_but_the_default_is_a_variant_that_changes_one_setting(user_file):
    made = swept(user_file, "cluster.k: [8, 1, 2]")
    axis = made.axes["structural"]["cluster.k"]
    assert [(point.value, point.variant, point.default) for point in axis.points] == [
        ("1", "full", True),
        ("2", "cluster.k-2", False),
        ("8", "cluster.k-8", False),
    ]
    full, other = (settings(made, "structural", name) for name in ("full", "cluster.k-8"))
    assert (full["method"]["cluster"].pop("k"), other["method"]["cluster"].pop("k")) == (1, 8)
    assert full == other


def settings(made, method, variant):
    return json.loads(json.dumps(made.run("digits", method, "none", variant, 0).settings))


def test_an_axis_of_two_settings_is_their_product(user_file):
    made = swept(user_file, "sizes: {values: {cluster.k: [1, 2], cluster.bank: [1024, 10240]}, title: k and bank}")
    points = made.axes["structural"]["sizes"].points
    assert [(point.value, point.variant, point.default) for point in points] == [
        ("1, 1024", "cluster.bank-1024", False),
        ("1, 10240", "full", True),
        ("2, 1024", "cluster.k-2_cluster.bank-1024", False),
        ("2, 10240", "cluster.k-2", False),
    ]
    changed = settings(made, "structural", "cluster.k-2_cluster.bank-1024")["method"]["cluster"]
    assert (changed["k"], changed["bank"]) == (2, 1024)


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
    assert [point.variant for point in made.axes["structural"][key].points] == names
    block = {"datasets": ["digits"], "methods": ["structural"], "augmentations": ["none"], "seeds": [0]}
    made.config["grid"] = [{**block, "variants": [key, "no_cluster"]}]
    assert [cell[3] for cell in made.cells()] == [*names, "no_cluster"]


def test_a_method_without_full_shares_base(user_file):
    made = Grid(config.load([user_file("methods: {simclr: {sweep: {temperature: [0.1, 0.2]}}}\n")]))
    assert [point.variant for point in made.axes["simclr"]["temperature"].points] == ["temperature-0.1", "base"]
    made = Grid(config.load([user_file("methods: {simclr: {sweep: {training.batch_size: [64]}}}\n")]))
    found = settings(made, "simclr", "training.batch_size-64")["training"]
    assert found == {**made.config["training"], "batch_size": 64}


BAD = {
    "no such setting": ("cluster.bnak: [1]", ["sweep.cluster.bnak", "unknown setting 'bnak'", "did you mean 'bank'"]),
    "no such block": ("clster.bank: [1]", ["unknown setting 'clster'", "did you mean 'cluster'"]),
    "a block": ("cluster: [1]", ["sweep.cluster: cluster is not a single value"]),
    "a list": ("discriminator.blocks: [1]", ["sweep.discriminator.blocks", "is not a single value"]),
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
    "no name of a folder": ('gaussian.form: ["../jsd"]', ["sweep.gaussian.form", "'../jsd' cannot name a folder"]),
    "unknown key": ("cluster.k: {valeus: [1]}", ["sweep.cluster.k.valeus", "did you mean 'values'"]),
    "half a product": ("x: {values: {cluster.k: [2], cluster.bnak: [1]}}", ["sweep.x", "'bnak'", "'bank'"]),
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
        plan.Plan(config.load([file]), [str(file)])


def test_a_data_set_that_changes_the_default_of_an_axis_is_refused(user_file):
    text = "datasets: {digits: {training: {batch_size: 64}}}\n" + GRID % "training.batch_size"
    file = user_file(text)
    with pytest.raises(UserError, match=r"mine\.yaml: grid: training\.batch_size of structural is 64 on digits"):
        plan.Plan(config.load([file]), [str(file)])


def test_the_plan_tells_the_axes_that_the_grid_names(user_file, base):
    file = user_file(GRID % "cluster.update_every, terms")
    planned = plan.Plan(config.load([file]), [str(file)])
    made = planned.content
    assert list(made["axes"]) == ["cluster.update_every", "terms"]
    axis = made["axes"]["cluster.update_every"]
    assert axis["file"] == "ablation_cluster_update_every" and axis["title"] != axis["file"]
    assert axis["points"]["structural"][:2] == [
        {"value": "1", "variant": "full", "label": "1", "default": True},
        {"value": "4", "variant": "cluster.update_every-4", "label": "4", "default": False},
    ]
    assert len(planned.runs) == 1 + 2 + 5  # full once
    assert made["variants"]["cluster.update_every-4"]["title"].endswith(": 4")
    assert "axes" not in plan.Plan(base).content
    json.dumps(made)


def test_the_ablations_of_the_paper_are_planned():
    file = str(FOLDER / "ablations.yaml")
    planned = plan.Plan(config.load([file]), [file])
    axes = planned.content["axes"]
    assert len(axes) == 11 and {run.dataset for run in planned.runs} == {"cifar10"}
    new = {name: len(axis["points"]["structural"]) - 1 for name, axis in axes.items()}
    assert new["smoothness.weight"] == 4 and new["cluster.bank"] == 4
    assert len(planned.runs) == 3 * (1 + sum(new.values()))
    assert {run.settings["method"]["cluster"]["bank"] for run in planned.runs} == {0, 1024, 2560, 10240, 50000}
    own = config.load([])["methods"]["structural"]["settings"]
    assert all(run.settings["method"] == own for run in planned.runs if run.variant == "full")


def test_the_small_ablations_fit_their_batches_and_banks():
    planned = plan.Plan(config.load(SMALL), SMALL)
    assert len(planned.content["axes"]) == 11 and len(planned.runs) <= 60
    for run in planned.runs:
        assert (
            distributed.group_size(run.settings["training"]["batch_size"], run.settings["method"]["per_process"]) <= 128
        )
        assert run.settings["training"]["steps"] == 100
