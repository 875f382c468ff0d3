"""The tables, figures and page of an ablation's axes; a suite without axes has none of them."""

import math
from pathlib import Path

import pytest
from synthetic_suite import SCORES, Tree

from structgan.report import figures, style

LINEAR = {"weight-1": [0.40, 0.44], "full": [0.50, 0.54], "weight-50": [0.30, 0.31], "form-b": [0.51, 0.52]}
POINTS = {
    "smoothness.weight": [("1", "weight-1"), ("5", "full"), ("50", "weight-50"), ("500", "weight-500")],
    "gaussian.form": [("jsd", "full"), ("b", "form-b")],
}


@pytest.fixture
def swept(tmp_path: Path) -> Tree:
    """Axes as a plan has them, and what runs on them logged and cost."""
    scores = {f"structural/none/{variant}": seeds for variant, seeds in LINEAR.items()}
    tree = Tree(tmp_path, scores | {"simclr/none/base": SCORES["simclr/none/base"]})
    for name, points in POINTS.items():
        listed = [{"value": v, "variant": name, "label": v.upper(), "default": name == "full"} for v, name in points]
        monitors = ["sigma_max"] if name == "smoothness.weight" else []
        axis = {"title": f"title of {name}", "file": f"ablation_{name.replace('.', '_')}", "monitors": monitors}
        tree.plan.setdefault("axes", {})[name] = {**axis, "points": {"structural": listed}}
    tree.plan["variants"] |= {variant: {"title": variant} for variant in LINEAR}
    for place, variant in enumerate(LINEAR):
        for seed, run in enumerate(tree.of(f"structural/none/{variant}")):
            run["env"] |= {"seconds": 100 * place + seed, "peak_gpu_memory_mb": 2048.0}
            for record in run["history"]["records"]:
                record["losses"]["sigma_max"] = place + record["step"]
    return tree


def draw(tree: Tree, name: str) -> str:
    """One figure as svg."""
    suite = tree.read()
    (figure,) = (one for one in figures.of(suite) if one.name == name)
    with style.drawing():
        return style.save(figure.draw(suite), tree.figures, name)[0].read_text()


def test_each_axis_has_a_table_of_its_values(swept: Tree) -> None:
    first, default, last = rows = swept.table("ablation_smoothness_weight")
    assert [row["value"] for row in rows] == ["1", "5", "50"]  # 500 is not planned
    assert [row["default"] for row in rows] == ["false", "true", "false"]
    assert [row["variant"] for row in rows] == ["weight-1", "full", "weight-50"]
    linear = float(first["linear_mean"]), float(first["linear_std"])
    assert linear == pytest.approx((0.42, 0.04 / math.sqrt(2)))
    assert float(last["linear_minus_default"]) == pytest.approx(0.305 - 0.52) and default["linear_minus_default"] == ""
    assert (float(first["seconds_mean"]), float(default["seconds_mean"])) == (0.5, 100.5)
    assert {row["seconds_minus_default"] for row in rows} == {""}  # other load on the machine is in them
    assert {float(row["memory_mean"]) for row in rows} == {2048.0} and float(first["fid_mean"]) == 20.5
    # 39 records: steps 1 to 39, plus the variant's place
    assert (float(last["sigma_max_mean_mean"]), float(last["sigma_max_max_mean"])) == (22.0, 41.0)
    text = swept.text("ablation_smoothness_weight.md")
    assert "5 (default)" in text and "**52.0 ± 2.8**" in text and "(−21.5)" in text
    assert not any("sigma" in key for key in swept.table("ablation_gaussian_form")[0])
    frame = swept.read().frame
    assert not set(frame["metric"]) & {"memory", "sigma_max_mean"}  # what only these tables show


def test_a_monitor_that_nothing_logged_is_empty_and_memory_may_be_the_process(swept: Tree) -> None:
    swept.plan["axes"]["gaussian.form"]["monitors"] = ["nothing"]
    for run in swept.of("structural/none/form-b"):
        run["env"]["peak_gpu_memory_mb"] = None
    rows = swept.table("ablation_gaussian_form")
    assert {row["nothing_max_mean"] for row in rows} == {""}
    assert "missing" not in swept.text("ablation_gaussian_form.md")
    assert [float(row["memory_mean"]) for row in rows] == [2048.0, 812.5]


def test_a_default_that_is_not_finished_is_missing_and_the_others_are_drawn(swept: Tree) -> None:
    for run in swept.of("structural/none/full"):
        run.update(env=None, probe=None, fidelity=None)
    row = swept.table("ablation_smoothness_weight")[1]
    assert (row["seeds"], row["linear_mean"], row["seconds_mean"], row["sigma_max_max_mean"]) == ("0", "", "", "")
    assert swept.text("ablation_smoothness_weight.md").count("missing") >= 6
    assert "11.5 points, 2 values: 50 … 1" in draw(swept, "sensitivity")


def test_figures_name_the_values_and_sensitivity_sorts_the_axes(swept: Tree) -> None:
    text = draw(swept, "ablation_smoothness_weight")
    for words in ("Linear probe, top-1 %", "5 (default)", "Peak memory, MiB", "Training, s"):
        assert words in text
    text = draw(swept, "sensitivity")
    assert "21.5 points, 3 values: 50 … 5 (default)" in text and "0.5 points, 2 values: B … JSD (default)" in text
    assert text.index("title of smoothness.weight") < text.index("title of gaussian.form")
    page = swept.page()
    for name in ("ablation_smoothness_weight", "ablation_gaussian_form"):
        assert f'id="figure-{name}"' in page and f'id="table-{name}"' in page
    assert 'id="figure-sensitivity"' in page


def test_a_suite_with_axes_and_no_finished_run_says_so(swept: Tree) -> None:
    for run in swept.runs.values():
        run.update(env=None, probe=None, fidelity=None)
    assert "Nothing to draw" in draw(swept, "ablation_gaussian_form")
    assert "nothing to compare" in draw(swept, "sensitivity")


def test_a_suite_without_axes_has_none(whole: Tree) -> None:
    assert "sensitivity" not in whole.html.read_text()
    assert not [path for path in whole.tables.iterdir() if path.name.startswith("ablation_")]
