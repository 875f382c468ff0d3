"""Tables and figures from what a short run brought home: ``python -m benchmarks.gpu.absorb DIR``.

Writes ``results/reference/tables/cifar10-gpu`` (csv, md) and ``results/reference/figures/cifar10-gpu``, and copies the
files themselves, all but the weights, to ``benchmarks/results/gpu``. A run that was killed leaves less: a last line
that is cut off is skipped, and what is missing is left out.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks import settings
from benchmarks.gpu.short_run import main
from structgan.errors import UserError
from structgan.files import read_json, write_text
from structgan.report import style

SUITE = "cifar10-gpu"
RUN = ["method", "augmentation"]
FINAL = {
    "linear": "linear.top1", "knn": "knn.top1", "svm": "svm.top1", "kmeans": "kmeans.accuracy", "FID": "fidelity.fid",
    "IS": "fidelity.is",
}  # fmt: skip
"""Column to the official measure and its metric."""
COLUMNS = {
    "curve": [*RUN, "slice", "images", "seconds", "flops", "linear", "knn", "precision"],
    "summary": [*RUN, "images", "seconds", *FINAL, "probe", "precision"],
    "steps": ["method", "precision", "batch", "seconds", "images_per_s", "flops_per_s", "share_of_peak", "peak_mb"],
    "checks": ["method", "three steps, save, reload"],
}
NOTE = "Accuracies and shares in [0, 1]; CIFAR-10 (JPEG): re-encoded images. FID with the embedded extractor."


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; the last one may be cut off.

    Raises:
        UserError: another line is damaged.
    """
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    found = []
    for number, text in enumerate(texts, 1):
        try:
            found += [json.loads(text)] if text else []
        except json.JSONDecodeError as error:
            if number < len(texts):
                raise UserError(f"{path}: line {number} is not valid JSON ({error})") from error
    return found


def tables(curve: list[dict[str, Any]], result: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Every table that has rows. A run's row in the summary has the official measures where there was time for them."""
    runs = {tuple(line[key] for key in RUN): {**line, "probe": "curve"} for line in curve}
    for one in result.get("final", []):
        row = runs.setdefault(tuple(one[key] for key in RUN), one)
        found = {f"{one['measure']}.{key}": value for key, value in one["metrics"].items()}
        row |= {column: found[path] for column, path in FINAL.items() if path in found}
        row |= {"probe": "official"} if one["measure"] == "linear" else {}
    checks = dict.fromkeys(result.get("checks", {}), "passed")
    others = result.get("failed", {}) | dict.fromkeys(result.get("not_reached", []), "not reached")
    checks |= {what.removeprefix("check "): why for what, why in others.items() if what.startswith("check ")}
    found = {
        "curve": curve,
        "summary": list(runs.values()),
        "steps": result.get("steps", []),
        "checks": [dict(zip(COLUMNS["checks"], item, strict=True)) for item in checks.items()],
    }
    return {name: pd.DataFrame(rows).reindex(columns=COLUMNS[name]) for name, rows in found.items() if rows}


def draw(folder: Path, curve: pd.DataFrame, title: str) -> None:
    """Accuracy of the linear probe against images seen and against seconds of training."""
    with style.drawing():
        import matplotlib.pyplot as plt

        for column, label in {"images": "images seen", "seconds": "seconds of training on the device"}.items():
            figure, axis = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
            for index, (run, part) in enumerate(curve.groupby(RUN, sort=False)):
                look: dict[str, Any] = {"color": style.COLORS[index], "marker": style.MARKERS[index]}
                axis.plot(part[column], 100 * part["linear"], label=", ".join(map(str, run)), **look)
            axis.set(xlabel=label, ylabel="linear probe, %", title=title)
            axis.legend()
            style.save(figure, folder, f"accuracy_by_{column}")


@click.command("absorb", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--to", default=".", type=click.Path(path_type=Path), help="The repository [default: this folder].")
def cli(folder: Path, to: Path) -> None:
    """Turn what a short run wrote into DIR into tables and figures."""
    measured = folder / "result.json"
    if not (measured.exists() or (folder / "curve.jsonl").exists()):
        raise UserError(f"{folder}: nothing of a short run in it (needed: result.json or curve.jsonl)")
    result = read_json(measured) if measured.exists() else {}
    found = tables(lines(folder / "curve.jsonl"), result)
    hardware = result.get("environment", {}).get("hardware", {})
    device = hardware.get("gpu") or hardware.get("cpu") or "unknown device"
    title = f"{device}; one seed, {result.get('seconds', 0) / 60:.1f} minutes"
    titles, out = settings.read(), to / "results" / "reference" / "tables" / SUITE
    for name, table in found.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False))
        for key in set(RUN) & set(table):
            table[key] = table[key].replace({kind: block["title"] for kind, block in titles[f"{key}s"].items()})
        cells = table.astype(object).where(table.notna(), None)
        text = cells.to_markdown(index=False, floatfmt=",.4g", missingval="—")
        write_text(out / f"{name}.md", f"{text}\n\n{title}. {NOTE}\n")
    if "curve" in found:
        draw(to / "results" / "reference" / "figures" / SUITE, found["curve"], title)
    shutil.copytree(
        folder,
        to / "benchmarks" / "results" / "gpu",
        ignore=shutil.ignore_patterns("*.safetensors"),
        dirs_exist_ok=True,
    )
    click.echo(f"{out}: {', '.join(f'{len(table)} rows of {name}' for name, table in found.items())}")


if __name__ == "__main__":
    main(cli)
