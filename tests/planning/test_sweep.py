"""Axes of an ablation: how a list of values becomes variants, what is refused, what the suites plan."""

import pytest
from refusal import refused

from structgan import config, distributed, plan, sources
from structgan.grid import Grid

FOLDER = sources.ROOT / "workflow/config"
GRID = (
    "grid: [{datasets: [digits_gradient], methods: [structural], augmentations: [none], variants: [%s], seeds: [0]}]\n"
)


def swept(user_file, text, method="structural"):
    """The grid of a configuration with a sweep."""
    file = user_file(f"methods: {{{method}: {{sweep: {{{text}}}}}}}\n")
    return Grid(config.load([file]), [str(config.BASE), str(file)])


def settings(grid, variant, method="structural"):
    return grid.run("digits_gradient", method, "none", variant, 0).settings


def points(grid, name):
    shown = [point.shown for point in grid.axes["structural"][name].points]
    return [(point["value"], point["variant"], point["default"]) for point in shown]


def test_each_value_but_the_default_is_a_variant_that_changes_one_setting(user_file):
    made = swept(user_file, "cluster.k: [8, 1, 2]")
    assert [
        (point.shown["value"], point.variant, point.default) for point in made.axes["structural"]["cluster.k"].points
    ] == [
        ("1", "full", True),
        ("2", "cluster.k-2", False),
        ("8", "cluster.k-8", False),
    ]
    full = settings(made, "full")
    assert settings(made, "cluster.k-8") == config.merge(full, {"method": {"cluster": {"k": 8}}}) != full


def test_an_axis_of_two_settings_is_their_product(user_file):
    made = swept(user_file, "sizes: {values: {cluster.k: [1, 2], cluster.bank: [1024, 10240]}, title: k and bank}")
    assert [
        (point.shown["value"], point.variant, point.default) for point in made.axes["structural"]["sizes"].points
    ] == [
        ("1, 1024", "cluster.bank-1024", False),
        ("1, 10240", "full", True),
        ("2, 1024", "cluster.k-2_cluster.bank-1024", False),
        ("2, 10240", "cluster.k-2", False),
    ]
    changed = settings(made, "cluster.k-2_cluster.bank-1024")["method"]["cluster"]
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
    block = {"datasets": ["digits_gradient"], "methods": ["structural"], "augmentations": ["none"], "seeds": [0]}
    made.config["grid"] = [{**block, "variants": [key, "no_cluster"]}]
    assert [cell[3] for cell in made.cells()] == [*names, "no_cluster"]


def test_a_method_without_full_shares_base(user_file):
    made = swept(user_file, "temperature: [0.1, 0.2], training.batch_size: [64]", "simclr")
    assert [point.variant for point in made.axes["simclr"]["temperature"].points] == ["temperature-0.1", "base"]
    found = settings(made, "training.batch_size-64", "simclr")["training"]
    assert found == {**made.config["training"], "batch_size": 64}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster.bnak: [1]", ["sweep.cluster.bnak", "unknown setting 'bnak'", "did you mean 'bank'"]),
        ("clster.bank: [1]", ["unknown setting 'clster'", "did you mean 'cluster'"]),
        ("cluster: [1]", ["sweep.cluster: cluster is not a single value"]),
        ("discriminator.blocks: [1]", ["sweep.discriminator.blocks", "is not a single value"]),
        ("smoothness.weight: [-1]", ["sweep.smoothness.weight = -1", "must be at least 0"]),
        ("gaussian.form: [jds]", ['sweep.gaussian.form = "jds"', "jsd, bhattacharyya, wasserstein"]),
        ("training.batch_size: [1]", ["sweep.training.batch_size = 1", "must be at least 2"]),
        ("cluster.k: [2, 4, 2.0]", ["sweep.cluster.k = [2, 4, 2]", "2 is named twice"]),
        ("smoothness.weight: [.inf]", ["sweep.smoothness.weight", "finite"]),
        ("hinge.weight: {title: w}", ["sweep.hinge.weight: must have either values", "or variants"]),
        ("cluster.k: {values: [1], variants: [full]}", ["must have either values"]),
        ("x: {variants: [no_clster]}", ["unknown variant 'no_clster'", "did you mean 'no_cluster'"]),
        ("no_cluster: {variants: [full]}", ["'no_cluster' is a variant already"]),
        ('gaussian.form: ["../jsd"]', ["sweep.gaussian.form", "'../jsd' cannot name a folder"]),
        ("cluster.k: {valeus: [1]}", ["sweep.cluster.k", "'valeus'", "did you mean 'values'"]),
        ("cluster.k: 3", ["sweep.cluster.k = 3", "array, object"]),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(user_file, text, words):
    with refused("mine.yaml", *words):
        swept(user_file, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GRID % "cluster.kk", "unknown variant 'cluster.kk', did you mean 'cluster.k'"),
        ("datasets: {digits_gradient: {training: {batch_size: 64}}}\n" + GRID % "training.batch_size",
         "mine.yaml: grid: training.batch_size of structural is 64 on digits"),
    ],
)  # fmt: skip
def test_an_axis_that_does_not_fit_the_grid_is_refused(user_file, text, words):
    with refused(words):
        plan.Plan(config.load([file := user_file(text)]), [str(file)])


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


def test_the_ablations_of_the_paper_are_planned():
    file = str(FOLDER / "ablations.yaml")
    planned = plan.Plan(config.load([file]), [file])
    axes = planned.content["axes"]
    assert len(axes) == 11 and {run.dataset for run in planned.runs} == {"cifar10"}
    assert len(planned.runs) == 3 * (1 + sum(len(axis["points"]["structural"]) - 1 for axis in axes.values()))
    assert {run.settings["method"]["cluster"]["bank"] for run in planned.runs} == {0, 1024, 2560, 10240, 50000}
    own = config.load([])["methods"]["structural"]["settings"]
    assert all(run.settings["method"] == own for run in planned.runs if run.variant == "full")


def test_the_small_ablations_fit_their_batches_and_banks():
    files = [str(FOLDER / name) for name in ("demo.yaml", "field.yaml", "ablations-small.yaml")]
    planned = plan.Plan(config.load(files), files)
    assert len(planned.content["axes"]) == 9 and len(planned.runs) <= 90
    for run in planned.runs:
        training, method = run.settings["training"], run.settings["method"]
        assert distributed.group_size(training["batch_size"], method["per_process"]) <= 128 and training["steps"] >= 176


def test_every_method_has_the_same_few_updates_under_every_regime():
    files = [str(FOLDER / name) for name in ("demo.yaml", "field.yaml", "regimes.yaml")]
    planned = plan.Plan(config.load(files), files)
    steps = {run.method: run.settings["training"]["steps"] for run in planned.runs}
    assert steps == {name: 0 if name == "random" else 60 for name in sources.methods()}
