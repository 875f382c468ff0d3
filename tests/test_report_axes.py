"""The tables, figures and page of an ablation suite's axes; a suite without axes has none of them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from suite_tree import SCORES, Tree

from structgan.report import axes, axis_charts, figures, markup, records, style

LINEAR = {"weight-1": [0.40, 0.44], "full": [0.50, 0.54], "weight-50": [0.30, 0.31], "form-b": [0.51, 0.52]}
POINTS = {
    "smoothness.weight": [("1", "weight-1"), ("5", "full"), ("50", "weight-50"), ("500", "weight-500")],
    "gaussian.form": [("jsd", "full"), ("b", "form-b")],
}


def declare(tree: Tree) -> Tree:
    """Axes as a plan has them, and what runs on them logged and cost."""
    for name, points in POINTS.items():
        tree.plan.setdefault("axes", {})[name] = {
            "title": f"title of {name}",
            "file": f"ablation_{name.replace('.', '_')}",
            "monitors": ["sigma_max"] if name == "smoothness.weight" else [],
            "points": {
                "structural": [
                    {"value": value, "variant": variant, "label": value.upper(), "default": variant == "full"}
                    for value, variant in points
                ]
            },
        }
    tree.plan["variants"] |= {variant: {"title": variant} for variant in LINEAR}
    tree.save()
    for place, variant in enumerate(LINEAR):
        for seed in range(2):
            run = f"structural/none/{variant}/seed={seed}"
            tree.edit(
                run, "env.json", lambda env, s=100 * place + seed: env.update(seconds=s, peak_gpu_memory_mb=2048.0)
            )
            tree.edit(
                run,
                "history.json",
                lambda history, place=place: [
                    record["losses"].update(sigma_max=place + record["step"]) for record in history["records"]
                ],
            )
    return tree


def make(root: Path) -> Tree:
    scores = {("structural", "none", variant): values for variant, values in LINEAR.items()}
    return declare(Tree(root, {**scores, ("simclr", "none", "base"): SCORES["simclr", "none", "base"]}))


@pytest.fixture
def swept(tmp_path: Path) -> Tree:
    return make(tmp_path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The same with its figures."""
    made = make(tmp_path_factory.mktemp("drawn"))
    figures.write(made.plan_file, made.figures)
    return made


def draw(tree: Tree, name: str) -> str:
    """One figure of the axes as svg."""
    suite = records.read(tree.plan_file)
    with style.drawing():
        return style.save(axis_charts.figures(suite)[name](suite), tree.figures, name)[0].read_text()


def read(tree: Tree, name: str) -> list[dict[str, str]]:
    tree.rows("representation")
    with (tree.tables / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_each_axis_has_a_table_of_its_values(swept: Tree) -> None:
    rows = read(swept, "ablation_smoothness_weight")
    assert [row["value"] for row in rows] == ["1", "5", "50"]  # 500 was not planned
    assert [row["default"] for row in rows] == ["false", "true", "false"]
    assert [row["variant"] for row in rows] == ["weight-1", "full", "weight-50"]
    first, default, last = rows
    assert float(first["linear_mean"]) == pytest.approx(0.42) and float(first["linear_std"]) == pytest.approx(
        0.04 / math.sqrt(2)
    )
    assert float(last["linear_minus_default"]) == pytest.approx(0.305 - 0.52) and default["linear_minus_default"] == ""
    assert (float(first["seconds_mean"]), float(default["seconds_mean"])) == (0.5, 100.5)
    assert {float(row["memory_mean"]) for row in rows} == {2048.0}
    assert float(first["fid_mean"]) == 20.5
    # 39 records: steps 1 to 39, plus the variant's place
    assert (float(last["sigma_max_mean_mean"]), float(last["sigma_max_max_mean"])) == (22.0, 41.0)
    text = (swept.tables / "ablation_smoothness_weight.md").read_text()
    assert "5 (default)" in text and "**52.0 ± 2.8**" in text and "(−21.5)" in text


def test_a_column_appears_only_where_the_axis_has_its_monitor(swept: Tree) -> None:
    assert not any("sigma" in key for key in read(swept, "ablation_gaussian_form")[0])
    swept.plan["axes"]["gaussian.form"]["monitors"] = ["nothing"]
    swept.save()
    assert {row["nothing_max_mean"] for row in read(swept, "ablation_gaussian_form")} == {""}
    assert "missing" not in (swept.tables / "ablation_gaussian_form.md").read_text()


def test_memory_is_the_process_where_there_is_no_gpu(swept: Tree) -> None:
    for seed in range(2):
        swept.edit(f"structural/none/form-b/seed={seed}", "env.json", lambda env: env.update(peak_gpu_memory_mb=None))
    assert [float(row["memory_mean"]) for row in read(swept, "ablation_gaussian_form")] == [2048.0, 812.5]


def test_a_run_that_is_not_finished_is_missing(swept: Tree) -> None:
    for seed in range(2):
        (swept.root / f"results/runs/demo/digits/structural/none/weight-50/seed={seed}/probe.json").unlink()
    row = read(swept, "ablation_smoothness_weight")[-1]
    assert (row["seeds"], row["linear_mean"], row["seconds_mean"], row["sigma_max_max_mean"]) == ("0", "", "", "")
    assert "missing" in (swept.tables / "ablation_smoothness_weight.md").read_text()
    assert "missing" not in draw(swept, "ablation_smoothness_weight")


def test_figures_name_the_values_and_sensitivity_sorts_the_axes(drawn: Tree) -> None:
    made = {path.name for path in drawn.figures.iterdir()}
    names = ("ablation_smoothness_weight", "ablation_gaussian_form", "sensitivity")
    assert {f"{name}.{kind}" for name in names for kind in ("svg", "png")} <= made
    text = (drawn.figures / "ablation_smoothness_weight.svg").read_text()
    for words in ("title of smoothness.weight", "sigma max, by step", "5 (default)", "Peak memory, MiB", "Training, s"):
        assert words in text
    text = (drawn.figures / "sensitivity.svg").read_text()
    assert "21.5 points" in text and "0.5 points" in text
    wide, narrow = (text.index(f"title of {name}") for name in ("smoothness.weight", "gaussian.form"))
    assert wide < narrow
    assert draw(drawn, "sensitivity") == text


def test_the_page_shows_them(drawn: Tree) -> None:
    text = drawn.page()
    for name in ("ablation_smoothness_weight", "ablation_gaussian_form"):
        assert f'id="figure-{name}"' in text and f'id="table-{name}"' in text
    assert 'id="figure-sensitivity"' in text and "not drawn yet" not in text


def test_a_suite_with_axes_and_no_finished_run_says_so(swept: Tree) -> None:
    for path in swept.root.rglob("probe.json"):
        path.unlink()
    assert "nothing to draw" in draw(swept, "ablation_gaussian_form")
    assert "nothing to compare" in draw(swept, "sensitivity")


def test_a_suite_without_axes_is_as_it_was(tree: Tree) -> None:
    suite = records.read(tree.plan_file)
    assert axes.tables(suite) == axis_charts.figures(suite) == axes.captions(suite) == {}
    assert "sensitivity" not in tree.page()


def test_tex_of_an_axis_is_balanced(swept: Tree) -> None:
    table = axes.tables(records.read(swept.plan_file))["ablation_smoothness_weight"]
    text = markup.to_tex(table)
    assert "(default)" in text and text.count("{") == text.count("}")
