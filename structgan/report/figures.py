"""The figures of a suite on the disk."""

from __future__ import annotations

from pathlib import Path

from structgan.report import axis_charts, charts, grids, protocols, records, style

FIGURES = {
    "augmentation": charts.augmentation,
    "ablation": charts.ablation,
    "training": grids.training,
    "samples": grids.samples,
    "features": grids.features,
}

# A hundred dots an inch: a sample's pixel is then a whole number of the figure's.
DPI = {"samples": 100}


def write(plan_file: str | Path, out_dir: str | Path, include_stale: bool = False) -> list[Path]:
    """Write every figure as svg and png; one without data says so, so that the set of files never changes.

    Args:
        plan_file: results/runs/<suite>/plan.json.
        out_dir: results/figures/<suite>.
        include_stale: draw runs of another identity too.

    Returns:
        The files: augmentation, ablation, training, samples, features, where the suite has axes one for each and
        sensitivity, each as svg and png, and made_from.json. The same runs and the same version of Matplotlib give the
        same bytes.

    Raises:
        UserError: two protocols would meet in one figure, or a file is damaged.
    """
    suite = records.read(plan_file, include_stale)
    protocols.check(suite)
    paths: list[Path] = []
    with style.drawing():
        for name, draw in (FIGURES | axis_charts.figures(suite)).items():
            paths += style.save(draw(suite), Path(out_dir), name, DPI.get(name, 144))
    return [*paths, records.sign(suite, Path(out_dir), paths)]
