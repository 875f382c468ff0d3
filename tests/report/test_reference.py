"""The tables in git are what the records in git give, and the words of their figures can be read."""

import itertools
import tarfile

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from structgan import plan
from structgan.report import figures, results, style, tables
from structgan.sources import ROOT

REFERENCE = ROOT / "results/reference"


@pytest.fixture(params=sorted((REFERENCE / "records").glob("*.tar.xz")), ids=lambda path: path.name)
def suite(request, tmp_path, monkeypatch):
    """The name of a suite whose records are in the current folder."""
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return request.param.name.partition(".")[0]


def test_the_records_give_the_tables_to_the_byte(suite, tmp_path):
    tables.write(plan.newest(suite), "made")
    made, kept = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (tmp_path / "made", REFERENCE / "tables" / suite)
    )
    assert made == kept and len(made) > 10


def test_words_lie_within_their_figure_and_do_not_meet(suite):
    read = results.read(suite)
    narrow = [one for one in figures.of(read) if one.name.startswith(("ablation", "features", "sensitivity"))]
    with style.drawing():
        for drawn in narrow:
            figure = drawn.draw(read)
            figure.draw_without_rendering()
            axes = [one for one in figure.axes if one.get_visible()]
            titles = [one.get_window_extent() for panel in axes for one in panel.findobj(Text) if is_title(one)]
            across = [panel.xaxis.label.get_window_extent() for panel in axes if panel.get_xlabel()]
            assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in titles + across)
            for axis in [axis for panel in axes for axis in (panel.xaxis, panel.yaxis)]:
                assert not meet([one.get_window_extent() for one in axis.get_ticklabels() if one.get_visible()])
            assert drawn.name.startswith("ablation") or not meet(titles)  # an ablation's first is higher
            plt.close(figure)


def meet(boxes: list[Bbox]) -> bool:
    return any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2) if one.width and other.width)


def is_title(one: Text) -> bool:
    return one.axes is not None and bool(one.get_text()) and one.get_text() == one.axes.get_title("left")
