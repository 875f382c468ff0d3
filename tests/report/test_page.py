"""The figures and the page: repeatable, self-contained, escaped; every number leads to its runs; odd suites."""

import html
import itertools
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import synthetic_suite
from matplotlib.text import Text
from PIL import Image
from synthetic_suite import METHODS, SCORES, Tree

from structgan import provenance
from structgan.report import curve_charts, figures, results, style, tables


def test_everything_regenerates_byte_for_byte(whole: Tree, tmp_path: Path) -> None:
    files = [*whole.tables.iterdir(), *whole.figures.iterdir(), whole.html]
    before = {path: path.read_bytes() for path in files}
    assert len(before) == 38 + 17 + 1
    suite = results.read(whole.plan_file)
    with style.drawing():
        for figure in figures.of(suite):
            for path in style.save(figure.draw(suite), tmp_path, figure.name):
                assert path.read_bytes() == before[whole.figures / path.name]
    whole.page()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_figures_say_what_they_show(whole: Tree) -> None:
    text = (whole.figures / "augmentation.svg").read_text()
    for words in ("Structural GAN", "Random encoder", "Supervised (uses labels)", "chance", "crop"):
        assert words in text
    text = (whole.figures / "curves_gflops.svg").read_text()
    for words in (
        "Structural GAN, none, full",
        "Structural GAN, crop, full",
        "SimCLR &lt;b&gt;&amp;\"', none",
        "Plain GAN<",
    ):
        assert words in text
    assert "Random encoder" not in text and "training, images" in (whole.figures / "curves_images.svg").read_text()
    assert "without L_cluster" in (whole.figures / "ablation.svg").read_text()
    assert "d gaussian" in (whole.figures / "training.svg").read_text()
    picture = Image.open(whole.figures / "samples.png").convert("RGB")
    assert (0, 90, 200) in set(picture.get_flattened_data())  # seed 0's color, unblurred


@pytest.mark.parametrize("ys", [[50.0] * 4, [0.0, 100.0], [99.0, 99.5, 100.0], [0.0, 0.0, 7.0, 9.0, 9.5], [3.0] * 20])
def test_names_at_line_ends_keep_their_order_and_do_not_overlap(ys: list[float]) -> None:
    with style.drawing():
        figure, (axes,) = style.panels(1, 1, 5.0, 4.0)
        axes.set(ylim=(0, 100))
        style.label_ends(axes, [(1.0, y, f"name {at}", style.INK) for at, y in enumerate(ys)])
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(one) for one in axes.texts]
        inside = axes.get_window_extent()
    assert [one.get_text() for one in axes.texts] == [f"name {at}" for at in range(len(ys))]
    assert all(one.y1 <= other.y0 for one, other in itertools.pairwise(boxes))
    assert all(inside.y0 <= (one.y0 + one.y1) / 2 <= inside.y1 for one in boxes)
    assert all(one.x0 >= inside.x1 and one.x1 <= figure.bbox.x1 for one in boxes)


def test_sixteen_methods_have_a_row_and_a_color_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {f"method{at}": {**METHODS["simclr"], "title": f"Method {at}"} for at in range(11)}
    monkeypatch.setattr(synthetic_suite, "METHODS", METHODS | more)
    tree = Tree(tmp_path, SCORES | {f"{name}/crop/base": [0.01 * at] for at, name in enumerate(more, 60)})
    suite = tree.read()
    with style.drawing():
        (axes,) = figures.augmentation(suite).axes
        rows = [one.get_text() for one in axes.get_yticklabels()]
        assert not curve_charts.learning(suite).axes[0].get_legend()
    assert rows[-3:] == ["Method 9", "Method 10", "Supervised (uses labels)"] and len(set(rows)) == 16
    palette = style.colors(suite).values()
    assert len(set(palette)) == 16 == len({style.DARK[color] for color in palette})


def test_page_loads_nothing_and_escapes(whole: Tree) -> None:
    text = whole.html.read_text()
    ids = re.findall(r'<[a-z][^>]* id="([^"]*)"', text)
    targets = re.findall(r'<[a-z][^>]* (?:src|href|srcset|action|data)="([^"]*)"', text)
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert not re.search(r"@import|url\((?!#)|https?://", text)
    assert text.count("<script") == 1 and "SimCLR <b>" not in text
    assert "SimCLR &lt;b&gt;&amp;" in text and "&lt;/pre&gt;&lt;script&gt;" in text
    assert len(ids) == len(set(ids)) and {target[1:] for target in targets if target.startswith("#")} <= set(ids)


WILD = r"[ours] 5$ or 6$ $_$ $\foo$ [a](b) ![c][d] <b>&amp; ~~x~~ {v2} %s #_^ \ end"


@pytest.fixture
def wild(tree: Tree) -> Tree:
    """A suite whose titles would be markup in every format."""
    for section in ("datasets", "methods", "augmentations", "variants"):
        for name, entry in tree.plan[section].items():
            entry["title"] = f"{WILD} {name}"
    tree.plan |= {"title": WILD, "note": WILD}
    return tree


@pytest.mark.slow
def test_every_table_compiles_in_latex(wild: Tree, tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex") or pytest.skip("no pdflatex on this machine")
    wild.page()
    files = sorted(wild.tables.glob("*.tex"))
    rules = "".join(rf"\let\{name}rule\hline" for name in ("top", "mid", "bottom"))  # booktabs, without the package
    inputs = "".join(rf"\input{{{path}}}\clearpage" for path in files)
    document = rf"\documentclass{{article}}{rules}\begin{{document}}{inputs}\end{{document}}"
    command = [compiler, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", document]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(files) > 10 and any(tmp_path.glob("*.pdf"))


@pytest.mark.slow
def test_titles_are_written_and_drawn_as_they_stand(wild: Tree) -> None:
    """No link, formula, markup or command in any format, at the start of a row of LaTeX either."""
    tree, text = wild, wild.page(drawn=True)
    assert html.escape(WILD, quote=False) in text
    drawn = (tree.figures / "augmentation.svg").read_text()
    ElementTree.fromstring(drawn)
    assert html.escape(WILD, quote=False) in drawn
    table = (tree.tables / "representation.md").read_text()
    assert r"## [ours] 5\$ or 6\$ \$\_\$ \$\\foo\$ [a\](b) ![c\][d] &lt;b>\&amp; \~\~x\~\~ {v2}" in table
    latex = (tree.tables / "representation.tex").read_text()
    assert r"{[}ours] 5\$ or 6\$ \$\_\$ \$\textbackslash{}foo\$" in latex
    assert not re.search(r"^\s*[\[*]", latex, re.MULTILINE)


def test_every_number_leads_to_its_runs(whole: Tree) -> None:
    text = whole.html.read_text()
    cells = re.findall(r'<td class="n[^"]*" data-v="([^"]*)"[^>]*>(<a href="#(source-\d+)">)?', text)
    linked = [anchor for value, _, anchor in cells if "." in value]
    titles = dict(re.findall(r'<details class="source" id="(source-\d+)"><summary>(.*?) <span', text))
    assert len(linked) > 50 and set(linked) <= set(titles)
    row = next(row for row in text.split("<tr data-order=") if ">Structural GAN<" in row)
    first = re.search(r'href="#(source-\d+)"', row)
    assert first and titles[first.group(1)].startswith("Digits 16×16, Structural GAN")


def test_a_run_tells_its_tree_and_its_submissions(tree: Tree) -> None:
    env = tree["structural/none/full/0"]["env"]
    env["submissions"] = [{**env["submissions"][0], "host": host} for host in ("node7", "node8")]
    env["peak_gpu_memory_mb"] = 4321.0
    text = tree.page()
    row = next(row for row in text.split("<tr>") if "node7, node8" in row)
    assert '<td class="n">2</td>' in row and '<td class="n">4321</td>' in row and "dirty" not in row
    assert "2023-11-14 22:13" in row and f'title="{"c0ffee" * 6}"' in row
    dirty = sum(run["seed"] == 1 for run in tree.runs.values())
    assert text.count(">dirty</span>") == dirty and f"<b>{dirty}</b> trained with uncommitted changes" in text
    assert "tf32 matmul no" in text and "at commit" not in text


def test_runs_of_one_clean_commit_name_it_and_a_missing_number_leads_to_its_command(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"structural/none/full": [0.5]})
    assert "In the repository at commit <code>c0ffeec0ff</code>" in tree.page()
    tree["structural/none/full/0"].update(env=None, probe=None, fidelity=None)
    text = tree.page()
    assert re.search(r'<a href="#source-0"><span class="missing">missing</span></a>', text)


def test_page_gives_the_command_and_where_numbers_come_from(whole: Tree) -> None:
    text = whole.html.read_text()
    paths = [provenance.run_path(whole.config(whole[f"structural/none/full/{seed}"])) for seed in (0, 1)]
    marks = {name: found["identity"][:8] for name, found in whole.plan["evaluations"].items()}
    made = " ".join(f"{path}/{name}-{mark}.json" for path in paths for name, mark in marks.items())
    assert f"snakemake --profile workflow/profiles/local --configfile a.yaml -- {made}<" in text
    assert whole.config(whole["structural/none/full/0"])["identity"] in text and "prefers-color-scheme: dark" in text
    assert "sees none" in text and "solo-learn README" in text


def test_a_run_that_depends_on_another_leads_to_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"structural/none/full": [0.5], "simclr/none/base": [0.1]})
    tree["simclr/none/base/0"]["upstream"] = "structural/none/full/0"
    text = tree.page()
    assert '<a href="#source-0">Digits 16×16, Structural GAN, none, full</a>' in text.split('id="source-1"')[1]


def test_headline_is_computed(whole: Tree) -> None:
    part = whole.html.read_text().split('<section id="result"')[1].split("<figure")[0]
    part = html.unescape(part).replace("\u00a0", " ").replace("\u2011", "-")
    assert "Structural GAN reaches 52.0 % linear top-1, against SimCLR" in part and "chance is 10.0 %" in part
    assert re.findall('class="figure">(.*?)</span>', part) == ["52.0 %", "+41.0", "+23.0", "+26.0", "20.50"]
    assert "points over Plain GAN (29.0 %); 95 % interval " in part and "FID, Plain GAN 25.50" in part
    row = next(row for row in whole.table("comparisons") if (row["metric"], row["method"]) == ("linear", "plain_gan"))
    low, high = (f"{-100 * float(row[key]):+.1f}".replace("-", "−") for key in ("ci_high", "ci_low"))
    assert f"95 % interval {low} to {high}<" in part


@pytest.mark.parametrize("case", ["nothing finished", "empty plan", "no generator", "two data sets"])
def test_odd_suites(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree = Tree(tmp_path, {"simclr/none/base": [0.1]} if case == "no generator" else {"structural/none/full": [0.5]})
    if case == "nothing finished":
        tree["structural/none/full/0"].update(env=None, probe=None, fidelity=None)
    if case == "empty plan":
        tree.runs, tree.plan["not_applicable"] = {}, []
    if case == "two data sets":
        tree.plan["datasets"]["letters"] = {"title": "Letters"}
        tree.add("structural/none/full/0", 0.5, dataset="letters")
        for name in ("probe", "fidelity"):
            tree["letters/structural/none/full/0"][name]["dataset"]["content_hash"] = "x"
    text = tree.page(drawn=case != "no generator")
    if case != "no generator":
        assert len(list(tree.figures.iterdir())) == 17 == len(figures.FIGURES) * 2 + 1
    assert ("No number yet" in text) == (case in ("nothing finished", "empty plan", "no generator"))
    assert ("Letters" in text) == (case == "two data sets")
    tables.show(tree.plan_file)
    assert "Linear %" in capsys.readouterr().out


def test_tables_that_say_nothing_are_named_in_one_line(whole: Tree) -> None:
    """Two seeds are too few for intervals and tests; no run kept what the release measures. The files are there."""
    text = whole.html.read_text()
    line = re.search(r"Left out, because they say nothing about this suite: (.*?)</p>", text)
    assert line
    for name, words in (("statistics", "fewer than 3 seeds"), ("comparisons", "fewer than 3 shared seeds"),
                        ("reproduction", "no published number"), ("release", "nothing was measured")):  # fmt: skip
        assert f'id="table-{name}"' not in text and words in line[1] and f'download="{name}.csv"' in line[1]
        assert (whole.tables / f"{name}.md").exists()
