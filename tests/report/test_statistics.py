"""Intervals, paired tests and ties, against closed forms, the library and values worked out by hand."""

import math
from pathlib import Path

import pytest
from scipy import stats
from synthetic_suite import Tree

from structgan.report.statistics import Paired, Statistic, holm, interval, paired, pooled_std, summarize, tied

FIRST, SECOND = [0.50, 0.54, 0.49], [0.45, 0.52, 0.41]
T_2 = 4.302652729696142  # t(0.975, 2), from a table of Student's distribution


def statistic(values: list[float]) -> Statistic:
    found = summarize(values)
    assert found is not None
    return found


def test_pooled_deviation_and_ties() -> None:
    one, two = statistic([1.0, 3.0]), statistic([3.0, 4.0, 5.0])
    assert pooled_std(one, two) == pytest.approx(math.sqrt((1 * 2.0 + 2 * 1.0) / 3))
    assert not tied(one, two)  # 2 apart, pooled 1.155
    assert tied(Statistic(3.0, 1.5, 2), two)
    assert not tied(Statistic(1.0, None, 1), Statistic(1.001, None, 1))
    assert summarize([math.nan]) is None


def test_interval_is_students() -> None:
    mean = sum(FIRST) / 3
    half = T_2 * math.sqrt(sum((value - mean) ** 2 for value in FIRST) / 2) / math.sqrt(3)
    assert interval(statistic(FIRST)) == pytest.approx((mean - half, mean + half))
    library = stats.t.interval(0.95, 2, loc=mean, scale=stats.sem(FIRST))
    assert interval(statistic(FIRST)) == pytest.approx(library)
    assert interval(statistic([0.3, 0.3])) == (0.3, 0.3) and interval(statistic([0.3])) == (None, None)


def test_paired_test_is_the_one_sample_test_of_the_differences() -> None:
    found = paired(dict(enumerate(FIRST)), dict(enumerate(SECOND)))
    differences = [one - two for one, two in zip(FIRST, SECOND, strict=True)]
    mean = sum(differences) / 3
    error = math.sqrt(sum((value - mean) ** 2 for value in differences) / 2) / math.sqrt(3)
    assert (found.n, found.difference) == (3, pytest.approx(mean))
    assert (found.low, found.high) == pytest.approx((mean - T_2 * error, mean + T_2 * error))
    assert found.p == pytest.approx(2 * stats.t.sf(mean / error, 2))
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue)


def test_only_seeds_that_both_have_are_paired() -> None:
    one, two = {0: 0.50, 1: 0.54, 2: 0.49, 7: 0.9, 8: 0.9}, {2: 0.41, 0: 0.45, 1: 0.52, 8: math.nan, 9: 0.1}
    assert paired(one, two) == paired(dict(enumerate(FIRST)), dict(enumerate(SECOND)))
    assert paired({0: 0.5, 1: 0.6}, {1: 0.4, 2: 0.5}) == Paired(1, note="fewer than 2 shared seeds")


@pytest.mark.parametrize("second", [[0.28, 0.30], [0.52, 0.54]])
def test_equal_differences_are_no_test(second: list[float]) -> None:
    """0.52 − 0.28 and 0.54 − 0.30 differ by a rounding, which a t-test would call certain."""
    found = paired({0: 0.52, 1: 0.54}, dict(enumerate(second)))
    assert found.p is None and found.low is None and found.difference == pytest.approx(0.52 - second[0])


def test_holm_by_hand() -> None:
    """5·0.01, then 4·0.02, then 3·0.022, which may not fall below what came before; the one not made is counted."""
    assert holm([0.02, 0.9, None, 0.01, 0.022]) == pytest.approx([0.08, 1.0, None, 0.05, 0.08])
    assert holm([0.02, 0.9, 0.01, 0.022]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([0.03]) == [0.03] and holm([None]) == [None] and holm([]) == []


def test_every_mean_of_the_tables_has_its_interval(tree: Tree) -> None:
    found = tree.table("statistics")
    assert ",".join(found[0]) == "dataset,metric,method,augmentation,variant,n,mean,std,ci_low,ci_high"
    metrics = {line["metric"] for line in found if line["method"] == "structural"}
    assert (
        ",".join(sorted(metrics)) == "fid,is,kid,kmeans,knn,linear,linear_10pct,linear_1pct,precision,recall,rise,svm"
    )
    assert not any(line["method"] == "simclr" and line["metric"] == "fid" for line in found)
    (line,) = [row for row in found if list(row.values())[1:5] == ["linear", "structural", "none", "full"]]
    half = 12.706204736 * (0.04 / math.sqrt(2)) / math.sqrt(2)
    assert [float(line["ci_low"]), float(line["ci_high"])] == pytest.approx([0.52 - half, 0.52 + half])


def test_the_rise_of_a_curve_has_its_interval(tree: Tree) -> None:
    for run, top1 in zip(tree.of("plain_gan/none/base"), ([0.3, 0.40, 0.42], [0.3, 0.40, 0.405]), strict=True):
        run["history"]["curve"] = [{"step": 2**at, "images": 8, "top1": value} for at, value in enumerate(top1)]
    (line,) = [row for row in tree.table("statistics") if (row["metric"], row["method"]) == ("rise", "plain_gan")]
    half = 12.706204736 * (0.015 / math.sqrt(2)) / math.sqrt(2)
    assert [float(line[key]) for key in ("n", "mean", "ci_low")] == pytest.approx([2, 0.0125, 0.0125 - half], rel=1e-6)


def test_one_seed_has_no_interval_and_no_test(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"structural/none/full": [0.5], "simclr/none/base": [0.2, 0.3]})
    (line,) = [row for row in tree.table("statistics") if (row["method"], row["metric"]) == ("structural", "linear")]
    assert [line[key] for key in ("n", "mean", "std", "ci_low", "ci_high")] == ["1", "0.5", "", "", ""]
    (line, _) = tree.table("comparisons")
    assert [line[key] for key in ("shared_seeds", "difference", "ci_low", "ci_high", "p", "p_holm")] == ["1", *[""] * 5]


def test_rows_are_compared_with_the_main_row_of_their_augmentation(tree: Tree) -> None:
    """Holm counts the tests of a block: the other methods' on a metric; the main method's variants have their own."""
    rows = tree.table("comparisons")
    found = {tuple(row[key] for key in ("metric", "method", "augmentation", "variant")): row for row in rows}
    crop, none = found["linear", "simclr", "crop", "base"], found["linear", "simclr", "none", "base"]
    assert (crop["against_method"], crop["against_augmentation"]) == ("structural", "crop")
    assert float(crop["difference"]) == pytest.approx(0.55 - 0.56) and float(none["difference"]) == pytest.approx(-0.41)
    assert float(none["p"]) == pytest.approx(stats.ttest_rel([0.10, 0.12], [0.50, 0.54]).pvalue)
    assert (crop["tied"], none["tied"]) == ("yes", "no")
    assert not any(key[1:] == ("structural", "none", "full") for key in found)
    assert {key[1] for key in found if key[0] == "fid"} == {"structural", "plain_gan"}
    others = [row for key, row in found.items() if key[0] == "linear" and key[1] != "structural"]
    assert len(others) == 5
    corrected = holm([float(row["p"]) for row in others])
    assert [float(row["p_holm"]) for row in others] == pytest.approx(corrected, rel=1e-6)
    own = found["linear", "structural", "none", "no_cluster"]
    assert own["p"] == own["p_holm"] and "variants of Structural GAN" in tree.text("comparisons.md")


def test_the_main_method_is_the_plans(tree: Tree) -> None:
    tree.plan["main"] = "plain_gan"
    found = tree.table("comparisons")
    assert {row["against_method"] for row in found} == {"plain_gan"}
    assert {row["against_augmentation"] for row in found if row["augmentation"] == "crop"} == {"none"}
    tree.plan["main"] = "absent"
    assert tree.table("comparisons") == [] and {row["relative"] for row in tree.table("cost")} == {""}
    assert "No row shares a data set with a row of absent" in tree.text("comparisons.md")


def test_rows_of_two_data_sets_never_meet(tree: Tree) -> None:
    """Not even where both have one title: they are compared and corrected apart."""
    tree.plan["datasets"]["letters"] = tree.plan["datasets"]["digits_gradient"]
    for name, run in list(tree.runs.items()):
        tree.add(name, run["probe"]["metrics"]["linear"]["top1"], dataset="letters")
    found = [row for row in tree.table("comparisons") if (row["metric"], row["variant"]) == ("linear", "base")]
    assert [row["dataset"] for row in found] == ["digits_gradient"] * 5 + ["letters"] * 5
    assert [row["p_holm"] for row in found[:5]] == [row["p_holm"] for row in found[5:]]
    assert float(found[0]["p_holm"]) == pytest.approx(5 * float(found[0]["p"]), rel=1e-6)
