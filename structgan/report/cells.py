"""What a table is, before it is written in any format: headings, rows of cells, a caption, notes and references."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from structgan import yaml_reader
from structgan.report.metrics import DASH, Metric, shown
from structgan.report.results import Group, Suite
from structgan.report.rows import marks
from structgan.report.statistics import Statistic

NAMES = {
    "dataset": "Data set", "metric": "Metric", "machine": "Machine", "method": "Method", "augmentation": "Augmentation",
    "variant": "Variant", "value": "Value",
}  # fmt: skip
"""Columns that name a row. The page leaves one out that says the same in every row, except for the method."""


class Heading(NamedTuple):
    """A column: its key in links, its title with the unit, its kind, and its csv columns.

    Kinds are ``word``; ``number``, aligned to the right and sorted as a number; ``long``, which may break into lines;
    ``block``, a word in the title of a block of rows; ``csv``, in the csv file only.
    """

    key: str
    title: str = ""
    kind: str = "word"
    better: int = 0
    csv: tuple[str, ...] = ()


@dataclass
class Cell:
    """A cell: its words, the texts of its csv columns, and whether it stands out.

    Attributes:
        group: the configuration whose runs gave the number; None for somebody else's.
        marks: a sign each, such as ≈; delta: a difference, which is (trend) good, bad or even.
        seeds: ``1/2`` where the mean is over fewer seeds than are planned and no other column says so.
        state: ``missing`` where a run is missing that would give a number; hint: why there is no number.
    """

    words: str = ""
    csv: list[str] = field(default_factory=lambda: [""])
    strong: bool = False
    group: Group | None = None
    statistic: Statistic | None = None
    metric: Metric | None = None
    marks: str = ""
    delta: str = ""
    trend: str = ""
    seeds: str = ""
    state: str = ""
    hint: str = ""

    @property
    def spread(self) -> str:
        """``± 0.8``, where there are two seeds."""
        if not self.statistic or not self.metric or self.statistic.std is None:
            return ""
        return f"± {shown(self.statistic.std, self.metric, self.statistic.mean)}"

    @property
    def text(self) -> str:
        """All of it: ``52.9 ± 0.8≈ (−1.2) [1/2]``."""
        delta, seeds = f" ({self.delta})" if self.delta else "", f" [{self.seeds}]" if self.seeds else ""
        return f"{self.words} {self.spread}".rstrip() + self.marks + delta + seeds


class Row(NamedTuple):
    """A row: the title of its block, its cells by key, its configuration, and whether its method uses labels."""

    block: str
    cells: dict[str, Cell]
    group: Group
    uses_labels: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        section: of the page: tables, statistics or ablation.
        captions: names of its captions in captions.yaml, by default its own.
        references: published numbers as (data set, method, metric, value, protocol, source).
        footnotes: what the marks of whole rows mean.
        empty: what is said in place of rows.
        silent: why it says nothing about this suite, so that the page leaves it out.
    """

    name: str
    title: str
    headings: tuple[Heading, ...]
    rows: list[Row]
    notes: tuple[str, ...] = ()
    section: str = "tables"
    captions: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = ()
    footnotes: tuple[str, ...] = ()
    empty: str = "No run of this kind is planned."
    silent: str = ""

    @property
    def caption(self) -> str:
        """What it shows, in words."""
        return " ".join(captions("tables").get(name, f"{self.title}.") for name in self.captions or (self.name,))


@functools.cache
def captions(kind: str) -> dict[str, str]:
    """The captions of ``tables`` or ``figures`` by name, from captions.yaml."""
    found: dict[str, str] = yaml_reader.read(Path(__file__).with_name("captions.yaml"))[kind]
    return found


def digits(value: float | None) -> str:
    """A number as csv files hold it."""
    return "" if value is None else f"{value:.8g}"


def word(value: object, csv: str | None = None) -> Cell:
    """A text, the same in the csv file unless another is given."""
    return Cell(str(value), [str(value) if csv is None else csv])


def figure(value: float | None, form: Callable[[float], str], group: Group, strong: bool = False) -> Cell:
    """A number of a configuration as ``form`` writes it, a dash where there is none."""
    return word(DASH, "") if value is None else Cell(form(value), [digits(value)], strong, group)


def naming(suite: Suite, group: Group) -> dict[str, Cell]:
    """The cells that name a row."""
    cells = {kind: word(words, getattr(group, kind)) for kind, words in suite.words(group).items()}
    cells["method"].marks = marks(suite, group)
    return cells


def lead(*keys: str, blocks: tuple[str, ...] = ("dataset",)) -> tuple[Heading, ...]:
    """The headings that name a row; ``blocks`` are shown in titles of blocks."""
    return tuple(Heading(key, NAMES[key], "block" if key in blocks else "word") for key in keys)


def numbers(**titles: str) -> tuple[Heading, ...]:
    """Headings of numbers; one without a title is in the csv file only."""
    return tuple(Heading(key, title, "number" if title else "csv") for key, title in titles.items())
