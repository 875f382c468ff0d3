"""The campaign's table: what each entry has cost so far and what it scores, from the small files alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.gpu.entries import RESULTS, Entry, standing
from structgan.errors import UserError
from structgan.files import write_text
from structgan.identity.standing import optional

TITLES = {
    "entry": "entry",
    "epochs": "epochs",
    "images": "images seen",
    "gpu_minutes": "GPU-minutes",
    "images_per_second": "images/s",
    "precision": "precision",
    "warm_restarts": "warm restarts",
    "linear": "linear probe",
    "svm": "SVM",
    "knn": "kNN",
    "kmeans": "k-means",
    "fid": "FID (embedded)",
    "is": "IS (embedded)",
    "steps": "steps",
    "planned_steps": "of",
    "device": "device",
    "commit": "commit",
}
PERCENT = ("linear", "svm", "knn", "kmeans")
DECIMALS = {"epochs": 1, "gpu_minutes": 1, "images_per_second": 0, "fid": 2, "is": 2, **dict.fromkeys(PERCENT, 1)}
SCORES = {"linear": "top1", "svm": "top1", "knn": "top1", "kmeans": "accuracy"}
NOTE = """
Linear probe, SVM, kNN and k-means: accuracy in % on the test split, of the frozen encoder as it stood after these
epochs of training. FID and IS use the embedded extractor and compare rows of this table only. GPU-minutes are those of
training steps; preparation and evaluation are not among them. A warm restart goes on from 16-bit weights (averages,
where there are any), without the optimisers' moments and the memory bank (`warm_restart` in each env.json). A dash: not
measured, or nothing to measure. A row with fewer steps than planned is on its way, and no result of the suite yet.
"""


def row(entry: Entry) -> dict[str, Any] | None:
    """An entry's row, accuracies in [0, 1]; None where nothing was absorbed yet."""
    about = standing(entry)
    if about is None:
        return None
    probe, fidelity = (optional(entry.results / f"{kind}.json") for kind in ("probe", "fidelity"))
    found = {key: about.get(key) for key in TITLES}
    for name, score in SCORES.items():
        found[name] = probe.get("metrics", {}).get(name, {}).get(score)
    found |= {name: fidelity.get("metrics", {}).get(name) for name in ("fid", "is")}
    differs = sorted({key for restart in about["restarts"] for key in restart["differs"]})
    found["warm_restarts"] = f"{len(about['restarts'])}" + (
        f" (once with other {', '.join(differs)})" if differs else ""
    )
    found["commit"] = f"{(about.get('commit') or 'unknown')[:7]}{'+' if about.get('dirty') else ''}"
    return found


def one_protocol(entries: Iterable[Entry]) -> None:
    """That all numbers of a column were measured alike.

    Raises:
        UserError: two entries were measured under different protocols, on different images, or with different
            extractors.
    """
    seen: dict[str, tuple[Any, str]] = {}
    for entry in entries:
        for kind in ("probe", "fidelity"):
            found = optional(entry.results / f"{kind}.json")
            if not found:
                continue
            extractor = found["protocol"].get("extractor_sha256") if kind == "fidelity" else None
            mark = (found["evaluation"]["protocol"], found["dataset"]["content_hash"], extractor)
            first, name = seen.setdefault(kind, (mark, entry.name))
            if first != mark:
                parts = ("protocol", "images", "extractor")
                what = next(part for part, a, b in zip(parts, first, mark, strict=True) if a != b)
                raise UserError(
                    f"{kind}: '{entry.name}' was measured with other {what} than '{name}'; measure it again with"
                    f" train {entry.name} --minutes 0"
                )


def shown(name: str, value: Any) -> str:
    """A cell of the Markdown table."""
    if value is None:
        return "—"
    if name in DECIMALS:
        return f"{100 * value if name in PERCENT else value:,.{DECIMALS[name]}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(entries: Iterable[Entry], root: Path = RESULTS) -> Path:
    """Write table.md and table.csv of a suite beside its entries' files; returns the former.

    Raises:
        UserError: nothing was absorbed yet, or two rows do not compare.
    """
    found = list(entries)
    one_protocol(found)
    rows = [made for made in map(row, found) if made is not None]
    if not rows:
        raise UserError(f"{root}: nothing absorbed yet; train an entry and absorb what it wrote")
    lines = [list(TITLES.values()), ["---"] * len(TITLES)]
    lines += [[shown(name, value) for name, value in made.items()] for made in rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    folder = root / found[0].suite
    write_text(folder / "table.md", f"{text}\n{NOTE}")
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(TITLES), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "table.csv", stream.getvalue())
    return folder / "table.md"
