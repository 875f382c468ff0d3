"""Tables and figures from what a short run brought home: ``python -m benchmarks.gpu.absorb DIR``.

Writes ``results/tables/cifar10-gpu`` (csv, md), ``results/figures/cifar10-gpu`` and, as they are, the small files in
``benchmarks/results/gpu``. A run that was killed leaves less: a last line that is cut off is passed over, and what is
missing is left out.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks import settings
from benchmarks.gpu.short_run import members
from structgan.errors import UserError
from structgan.files import read_json, replacing, write_text

SUITE = "cifar10-gpu"
SMALL = ("curve.jsonl", "steps.json", "env.json", "profile.txt")
PERCENT = ("linear", "knn", "svm", "kmeans", "share of measured peak")
DIGITS = {
    "seconds": 3,
    "training seconds": 1,
    "FID": 2,
    "IS": 2,
    "PFLOP": 1,
    "TFLOP/s": 1,
    "images/s": 0,
    "peak MiB": 0,
}
FINAL = {
    "linear": ("linear", "top1"),
    "svm": ("svm", "top1"),
    "knn": ("knn", "top1"),
    "kmeans": ("kmeans", "accuracy"),
    "FID": ("fidelity", "fid"),
    "IS": ("fidelity", "is"),
}
"""Column to the measure, and its number in ``result.json``."""
Row = dict[str, Any]


class Found:
    """What is in a folder that was brought home.

    Attributes:
        curve: its whole lines.
        steps, env: the JSON files, empty where they are missing.
        results: files in results.tar by name.
        precision: of training.

    Raises:
        UserError: there is no such folder, or nothing in it, or a JSON file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not any((folder / name).exists() for name in SMALL):
            raise UserError(f"{folder}: nothing of a short run in it (needed: one of {', '.join(SMALL)})")
        self.curve = longest(lines(folder / "curve.jsonl"))
        self.steps, self.env = (
            read_json(path) if (path := folder / name).exists() else {} for name in ("steps.json", "env.json")
        )
        self.results = members(folder / "results.tar")
        known = [self.env.get("seconds", 0.0), *(line.get("process_seconds", 0.0) for line in self.curve)]
        minutes = f"{max(known) / 60:.1f} minutes" if max(known) else "minutes unknown"
        self.precision = self.env.get("precision", {}).get("step")
        hardware = self.env.get("hardware", {})
        self.common = {
            "device": hardware.get("gpu") or hardware.get("cpu") or "unknown",
            "note": f"one seed, {minutes}",
        }


def lines(path: Path) -> list[Row]:
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


def longest(written: list[Row]) -> list[Row]:
    """The lines of each run's longest training: after a fault of the GPU the process and its runs start again."""
    trainings: dict[tuple[str, str], dict[int, list[Row]]] = {}
    for line in written:
        starts = trainings.setdefault((line["method"], line["augmentation"]), {})
        starts.setdefault(line.get("start", 1), []).append(line)
    kept = [max(starts.values(), key=len) for starts in trainings.values()]
    return [line for line in written if any(line in one for one in kept)]


def curve(found: Found) -> list[Row]:
    """A row for each slice that was probed."""
    return [
        {
            "method": line["method"],
            "augmentation": line["augmentation"],
            "slice": line["slice"],
            "images": line["images"],
            "training seconds": line["seconds"],
            "PFLOP": line["flops"] / 1e15,
            "linear": line["linear"],
            "knn": line["knn"],
            "precision": line["precision"],
            **found.common,
        }
        for line in found.curve
        if "linear" in line
    ]


def summary(found: Found) -> list[Row]:
    """A row for each run: the official measures where the time sufficed, else the last probe of its curve."""
    rows: dict[tuple[str, str], Row] = {}
    for line in found.curve:
        key = line["method"], line["augmentation"]
        if "linear" in line:
            kept = {name: line[name] for name in ("images", "seconds", "linear", "knn", "precision")}
            rows[key] = {"method": key[0], "augmentation": key[1], **kept, "probe": "curve"}
        elif key in rows and "failed" in line:
            rows[key]["probe"] = "curve, then failed"
    for name, content in found.results.items():
        if name.endswith("/result.json"):  # of a run that was measured at the end and never before
            record = json.loads(content)
            kept = {key: record[key] for key in ("method", "augmentation", "images", "seconds")}
            rows.setdefault((record["method"], record["augmentation"]), kept | {"precision": found.precision})
    for row in rows.values():
        name = f"{row['method']}-{row['augmentation']}/result.json"
        final = json.loads(found.results[name])["final"] if name in found.results else {}
        for column, (measure, number) in FINAL.items():
            if measure in final:
                row[column] = final[measure]["metrics"][number]
        row["probe"] = "official" if "linear" in final else row.get("probe")
    order = ("method", "augmentation", "images", "training seconds", *FINAL, "probe", "precision")
    return [
        {name: row.get("seconds" if name == "training seconds" else name) for name in order} | found.common
        for row in rows.values()
    ]


def sides(found: Found) -> list[Row]:
    """A row for each step that was timed."""
    return [
        {
            "step of": side["method"],
            "precision": side["precision"],
            "batch": side["batch"],
            "seconds": side["seconds"],
            "images/s": side["images_per_s"],
            "TFLOP/s": side["flops_per_s"] / 1e12 if "flops_per_s" in side else None,
            "share of measured peak": side.get("share_of_measured_peak"),
            "peak MiB": side.get("peak_mb"),
            **found.common,
        }
        for side in found.steps.get("sides", [])
    ]


def checks(found: Found) -> list[Row]:
    """A row for each method: whether three steps, a save and a reload went well."""
    rows = dict.fromkeys(found.steps.get("checks", {}), "passed")
    rows |= {
        name.removeprefix("check "): why
        for name, why in found.env.get("failed", {}).items()
        if name.startswith("check ")
    }
    rows |= {
        name.removeprefix("check "): "not reached"
        for name in found.env.get("not_reached", [])
        if name.startswith("check ")
    }
    batch = {"precision": "bfloat16", **found.common}
    return [{"method": name, "three steps, save, reload": text, **batch} for name, text in rows.items()]


def shown(column: str, value: Any, titles: Mapping[str, Mapping[str, str]]) -> str:
    """A cell of a Markdown table; a method and a regime may have one name and have titles of their own."""
    if column in titles:
        return titles[column].get(value, str(value))
    if value is None:
        return "—"
    if column in PERCENT:
        return f"{100 * value:.1f}"
    if isinstance(value, float):
        return f"{value:,.{DIGITS.get(column, 3)}f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")


def write(folder: Path, name: str, rows: list[Row], titles: Mapping[str, Mapping[str, str]]) -> None:
    """Write a table as csv and md; the latter has titles, by column, in place of the names of methods and regimes."""
    if not rows:
        return
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / f"{name}.csv", stream.getvalue())
    cells: list[Iterable[str]] = [rows[0], ["---"] * len(rows[0])]
    cells += [[shown(column, value, titles) for column, value in row.items()] for row in rows]
    text = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    note = "Accuracies and shares in %; CIFAR-10 (JPEG): re-encoded images. FID with the embedded extractor."
    write_text(folder / f"{name}.md", f"{text}\n\n{rows[0]['device']}; {rows[0]['note']}. {note}\n")


def draw(folder: Path, rows: list[Row], titles: Mapping[str, Mapping[str, str]]) -> None:
    """Accuracy of the linear probe against images seen and against seconds of training."""
    from structgan.report import style

    axes = {"images": "images seen", "training seconds": "seconds of training on the device"}
    runs = list(dict.fromkeys((row["method"], row["augmentation"]) for row in rows))
    with style.drawing():
        import matplotlib.pyplot as plt

        for column, label in axes.items():
            figure, axis = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
            for index, run in enumerate(runs):
                own = [row for row in rows if (row["method"], row["augmentation"]) == run]
                points = [row[column] for row in own], [100 * row["linear"] for row in own]
                look: dict[str, Any] = {
                    "color": style.COLORS[index % 8],
                    "marker": style.MARKERS[index % 8],
                    "markersize": 4,
                }
                name = ", ".join(
                    shown(kind, key, titles) for kind, key in zip(("method", "augmentation"), run, strict=True)
                )
                axis.plot(*points, label=name, **look)
            axis.set(xlabel=label, ylabel="linear probe, %")
            if rows:
                axis.set_title(f"{rows[0]['device']}, {rows[0]['precision']}; {rows[0]['note']}")
                axis.legend()
            style.save(figure, folder, f"accuracy_by_{column.rpartition(' ')[2]}")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--to", default=".", type=click.Path(path_type=Path), help="The repository [default: this folder].")
def cli(folder: Path, to: Path) -> None:
    """Turn what a short run wrote into DIR into tables and figures."""
    found, paper = Found(folder), settings.read()
    names = {
        part: {name: str(block["title"]) for name, block in paper[part].items()}
        for part in ("methods", "augmentations")
    }
    titles = {"method": names["methods"], "augmentation": names["augmentations"], "step of": names["methods"]}
    tables, figures = to / "results" / "tables" / SUITE, to / "results" / "figures" / SUITE
    slices = curve(found)
    for name, rows in (
        ("curve", slices),
        ("summary", summary(found)),
        ("steps", sides(found)),
        ("checks", checks(found)),
    ):
        write(tables, name, rows, titles)
    if slices:
        draw(figures, slices, titles)
    copies = {to / "benchmarks" / "results" / "gpu" / name: folder / name for name in SMALL}
    contents = {path: source.read_bytes() for path, source in copies.items() if source.exists()}
    for name, content in found.results.items():
        run, _, file = name.partition("/")
        contents |= {figures / f"samples_{run}.png": content} if file == "samples.png" else {}
    for path, content in contents.items():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    click.echo(f"{tables}: {len(slices)} slices of {len(summary(found))} runs, {len(sides(found))} step times")


def main() -> None:
    """Run the command line; an error that the user can fix is one line and exit code 2."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"absorb: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
