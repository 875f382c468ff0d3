"""The table of a suite that chooses settings."""

from pathlib import Path

import pytest
from synthetic_suite import Tree

TRIALS = {
    "structural/none/full": [0.50],
    "structural/none/no_cluster": [0.40],
    "simclr/none/base": [0.12],
    "random/none/base": [0.26],
}
ON_NOISE = {"structural/none/full": 0.30, "structural/none/no_cluster": 0.48, "simclr/none/base": 0.20}


@pytest.fixture
def trials(tmp_path: Path) -> Tree:
    """Two trials of the structural GAN on two data sets; the untrained encoder is not finished on the second."""
    tree = Tree(tmp_path, TRIALS)
    tree.plan["datasets"]["noise"] = {"title": "On noise"}
    for row, top1 in ON_NOISE.items():
        tree.add(f"{row}/0", top1, "noise")
    tree.add("random/none/base/0", 0.99, "noise")
    tree["noise/random/none/base/0"]["probe"] = None
    return tree


def test_the_best_mean_over_data_sets_is_marked_among_a_methods_trials(trials: Tree) -> None:
    trials.plan["selected_by"] = "linear"
    full, other, simclr, random = trials.table("selection")
    assert [row["variant"] for row in (full, other)] == ["full", "no_cluster"]
    assert [float(row["mean"]) for row in (full, other, simclr)] == pytest.approx([0.40, 0.44, 0.16])
    assert (float(full["digits_gradient_mean"]), float(full["noise_mean"])) == (0.50, 0.30)
    assert random["digits_gradient_mean"] == "0.26" and random["noise_mean"] == random["mean"] == ""
    text = trials.text("selection.md")
    assert text.count("**") == 2 * 2  # of the structural GAN's two trials, and of SimCLR's only one
    assert "**44.0**" in text and "**16.0**" in text and "Structural GAN, augmentation: none (2 trials)" in text


def test_trials_are_in_the_order_of_the_values(trials: Tree) -> None:
    points = [{"variant": name, "value": name, "label": name, "default": False} for name in ("no_cluster", "full")]
    axis = {"title": "terms", "file": "ablation_terms", "monitors": [], "points": {"structural": points}}
    trials.plan |= {"selected_by": "linear", "axes": {"terms": axis}}
    rows = [row for row in trials.table("selection") if row["method"] == "structural"]
    assert [row["variant"] for row in rows] == ["no_cluster", "full"]


def test_a_trial_that_lost_a_seed_is_not_the_best(trials: Tree) -> None:
    trials.plan["selected_by"] = "linear"
    for name in [name for name in trials.runs if name.endswith("structural/none/no_cluster/0")]:
        lost = trials.add(name.removeprefix("noise/")[:-1] + "1", 0.99, trials[name]["names"]["dataset"])
        lost["probe"] = None
    full, other, *_ = trials.table("selection")
    assert (full["mean"], other["mean"]) == ("0.4", "")
    assert "48.0 [1/2]" in trials.text("selection.md") and "**40.0**" in trials.text("selection.md")


def test_no_other_suite_has_this_table(trials: Tree) -> None:
    assert trials.table("representation") and "selection" not in trials.made
