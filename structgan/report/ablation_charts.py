"""The figures of an ablation: a chart of each axis, and the axes side by side."""

import functools
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns

from structgan.report import ablations
from structgan.report.results import Suite
from structgan.report.style import GRID, HALO, INK, SMALL, colors, empty, panels


def numbers(suite: Suite, axis: Mapping[str, Any], metrics: int) -> pd.DataFrame:
    """Every seed's number of an axis, a row each; ``y`` is in the unit of the metric's title."""
    columns = list(ablations.columns(suite, axis).values())[:metrics]
    rows = [
        (family.title(suite), family.method, metric.evaluation, metric.title,
         point["label"] + " (default)" * point["default"], bool(point["default"]), metric.scale * number)
        for family in ablations.families(suite, axis)
        for metric in columns
        for point in family.points
        for number in suite.values(family.group(point), metric).values()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["family", "method", "evaluation", "metric", "value", "default", "y"]).dropna()


def axis(suite: Suite, axis: Mapping[str, Any]) -> Any:
    """A row of panels for each data set, method and augmentation: probe, FID, seconds and memory of each value.

    Mean ± std, seeds as dots, the default's mean dotted. Where the values are numbers, a line joins the means.
    """
    frame = numbers(suite, axis, 4)
    if frame.empty:
        return empty("Nothing to draw: no value is finished.")
    values = pd.Series([point["value"] for points in axis["points"].values() for point in points])
    joined = "-" if pd.to_numeric(values, errors="coerce").notna().all() else "none"
    look = {"linewidth": 1.6, "markersize": 6.5, "markerfacecolor": HALO, "linestyle": joined}
    bars = {"errorbar": "sd", "err_kws": {"linewidth": 1.4, "zorder": 1}}
    groups = frame.groupby(["family", "method", "evaluation", "metric"], sort=False)
    columns = frame["metric"].nunique()
    figure, grid = panels(len(groups), columns, 10.6 / columns, 0.24 * frame["value"].nunique() + 1.0)
    for axes, ((family, method, evaluation, metric), part) in zip(grid, groups, strict=True):
        color = colors(suite)[str(method)]
        sns.pointplot(part, x="y", y="value", color=color, ax=axes, **look, **bars)
        sns.stripplot(part, x="y", y="value", color=color, jitter=False, size=3, alpha=0.6, ax=axes)
        axes.axvline(part.loc[part["default"], "y"].mean(), color=color, linewidth=1.0, linestyle=":", zorder=0.9)
        if evaluation == "training":
            axes.set_xlim(0, 1.1 * part["y"].max())
        first = axes.get_subplotspec().is_first_col()
        axes.set_title(f"{family}\n{metric}" if first else metric, fontsize=SMALL, fontweight="normal")
        axes.set(xlabel="", ylabel="")
        axes.tick_params(axis="y", labelleft=first)
    return figure


def sensitivity(suite: Suite) -> Any:
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std.

    The number of values is beside each range: of equal effects the axis with more values has the wider one.
    """
    parts = [numbers(suite, {**axis, "columns": ["linear"]}, 1).assign(axis=axis["title"]) for axis in suite.axes]
    seeds = pd.concat(parts, ignore_index=True)
    keys = ["family", "method", "axis"]
    means = seeds.groupby([*keys, "value", "default"], sort=False)["y"].mean().reset_index().sort_values("y")
    means["width"] = means.groupby(keys)["y"].transform(lambda y: y.max() - y.min())
    means["count"] = means.groupby(keys)["y"].transform("size")
    means = means[means["count"] > 1].copy()
    if means.empty:
        return empty("No axis with two finished values yet: nothing to compare.")
    ends = means.groupby(keys)["value"].transform(lambda values: f"{values.iloc[0]} … {values.iloc[-1]}")
    width, count = means["width"].map("{:.1f}".format), means["count"].astype(str)
    span = width + " points, " + count + " values: " + ends
    means["axis"] += "\n" + span.map(functools.partial(textwrap.fill, width=44))
    families = means.sort_values("width", ascending=False, kind="stable").groupby("family", sort=False)
    figure, grid = panels(len(families), 1, 9.0, 0.5 * means["axis"].nunique() + 1)
    for axes, (family, rows) in zip(grid, families, strict=True):
        color = colors(suite)[rows["method"].iloc[0]]
        band = {"errorbar": ("pi", 100), "err_kws": {"alpha": 0.3, "linewidth": 7}, "linestyle": "none", "marker": ""}
        sns.pointplot(rows, x="y", y="axis", color=color, ax=axes, **band)
        axes.plot("y", "axis", "o", data=rows, color=color, markerfacecolor=HALO)
        axes.plot("y", "axis", "o", data=rows[rows["default"]], color=color)
        default = seeds[(seeds["family"] == family) & seeds["default"]].groupby("axis")["y"]
        for mean, half in zip(default.mean()[:1], default.std()[:1].fillna(0), strict=True):  # equal on each axis
            axes.axvline(mean, color=INK, linewidth=1.0, linestyle=":", zorder=1)
            axes.axvspan(mean - half, mean + half, color=GRID, alpha=0.6, linewidth=0, zorder=0.5)
        words = f"{suite.metric('linear').title}\ndotted: default, band: ± its deviation over seeds"
        axes.set(title=family, xlabel=words, ylabel="", ylim=(rows["axis"].nunique() - 0.5, -0.5))
    return figure
