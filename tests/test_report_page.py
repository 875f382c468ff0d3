"""The figures and the page: repeatable, self-contained, escaped; degenerate suites; a real browser."""

from __future__ import annotations

import html.parser
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from suite_tree import Tree

from structgan.report import figures, highlights, records, tables


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree(tmp_path_factory.mktemp("whole"))
    figures.write(made.plan_file, made.figures)
    made.page()
    return made


def test_everything_regenerates_byte_for_byte(whole: Tree) -> None:
    folders = (whole.tables, whole.figures)
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()} | {
        whole.html: whole.html.read_bytes()
    }
    figures.write(whole.plan_file, whole.figures)
    whole.page()
    assert len(before) == 36 + 11 + 1
    assert all(path.read_bytes() == content for path, content in before.items())


def test_figures_say_what_they_show(whole: Tree) -> None:
    text = (whole.figures / "augmentation.svg").read_text()
    for words in ("Structural GAN", "Random encoder", "Supervised (uses labels)", "chance", "crop"):
        assert words in text
    assert "without L_cluster" in (whole.figures / "ablation.svg").read_text()
    assert "images per second" in (whole.figures / "training.svg").read_text()
    from PIL import Image

    picture = Image.open(whole.figures / "samples.png").convert("RGB")
    assert {(0, 90, 200)} <= set(picture.get_flattened_data())  # seed 0's colour, unblurred


class Loads(html.parser.HTMLParser):
    """Collects every attribute that makes a browser load something, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.scripts = 0
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.targets += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "data") and value
        ]


def test_page_loads_nothing_and_escapes(whole: Tree) -> None:
    text = whole.html.read_text()
    found = Loads()
    found.feed(text)
    assert all(target.startswith(("#", "data:")) for target in found.targets)
    assert not re.search(r"@import|url\((?!#)|https?://", text)
    assert found.scripts == 1 and "<script>alert" not in text and "SimCLR <b>" not in text
    assert "SimCLR &lt;b&gt;&amp;" in text and "&lt;/pre&gt;&lt;script&gt;" in text
    assert len(found.ids) == len(set(found.ids))
    anchors = {target[1:] for target in found.targets if target.startswith("#")}
    assert anchors <= set(found.ids)


def commands(text: str) -> list[str]:
    """The lines that the page offers for pasting, in its order: two blocks for each configuration."""
    return [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)]


def test_every_number_leads_to_its_runs(whole: Tree) -> None:
    """Each cell that has a number, or that waits for one, links the configuration whose runs it stands for."""
    text = whole.html.read_text()
    cells = re.findall(r'<td class="n[^"]*" data-v="([^"]*)"[^>]*>(<a href="#(source-\d+)">)?', text)
    numbers = [(value, anchor) for value, _, anchor in cells if value]
    assert len(numbers) > 50
    linked = [anchor for value, anchor in numbers if "." in value]
    assert all(linked)
    titles = dict(re.findall(r'<details class="source" id="(source-\d+)"><summary>(.*?) <span', text))
    assert set(linked) <= set(titles) and "Structural GAN, none, full" in " ".join(titles.values())
    row = next(row for row in text.split("<tr data-order=") if ">Structural GAN<" in row and "50.00" not in row)
    first = re.search(r'href="#(source-\d+)"', row)
    assert first and titles[first.group(1)].startswith("Digits 16×16, Structural GAN")


def test_a_run_tells_its_tree_and_its_submissions(tree: Tree) -> None:
    def twice(env: dict[str, Any]) -> None:
        env["submissions"] = [{**env["submissions"][0], "host": host} for host in ("node7", "node8")]
        env["peak_gpu_memory_mb"] = 4321.0

    tree.edit("structural/none/full/seed=0", "env.json", twice)
    text = tree.page()
    row = next(row for row in text.split("<tr>") if "node7, node8" in row)
    assert '<td class="n">2</td>' in row and '<td class="n">4321</td>' in row and "dirty" not in row
    assert "2023-11-14 22:13" in row and f'title="{"c0ffee" * 6}"' in row
    assert text.count(">dirty</span>") == sum(cell["seed"] == 1 for cell in tree.plan["cells"])
    assert f"<b>{text.count('>dirty</span>')}</b> from a tree that no commit holds" in text
    assert "tf32 matmul no" in text and "at commit" not in text


def test_runs_of_one_clean_commit_name_it_with_the_command(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("simclr", "none", "base"): [0.1]})
    assert "In the repository at commit <code>c0ffeec0ff</code>" in tree.page()


def test_a_missing_number_leads_to_the_command_that_makes_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("structural", "none", "full"): [0.5]})
    shutil.rmtree(tmp_path / "results/runs/demo/digits")
    text = tree.page()
    assert re.search(r'<a href="#source-0"><span class="missing">missing</span></a>', text)
    assert "structural/none/full/seed=0/probe.json" in commands(text)[0]


def test_page_tells_where_numbers_come_from(whole: Tree) -> None:
    text = whole.html.read_text()
    run = "results/runs/demo/digits/structural/none/full/seed=0"
    assert f"id-{run}" in text and "c0ffee" in text and "prefers-color-scheme: dark" in text
    results = f"{run}/probe.json {run}/fidelity.json {run[:-1]}1/probe.json {run[:-1]}1/fidelity.json"
    assert f"snakemake --profile workflow/profiles/local --configfile a.yaml -- {results}\n" in commands(text)[0] + "\n"
    train, probe, fidelity = commands(text)[1].splitlines()
    given = f"--run {run} --data data/prepared/digits.safetensors"
    assert train == f"python -m structgan train {given}"
    assert probe == f"python -m structgan probe {given} --protocol results/runs/demo/protocol/probe.json"
    assert fidelity.startswith(
        f"python -m structgan fidelity {given} --protocol results/runs/demo/protocol/fidelity.json"
    )
    assert "sees none" in text and "solo-learn README" in text


def test_a_run_that_depends_on_another_leads_to_it_and_is_made_after_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("structural", "none", "full"): [0.5, 0.6], ("simclr", "none", "base"): [0.1, 0.2]})
    gans = {cell["seed"]: cell for cell in tree.plan["cells"] if cell["method"] == "structural"}
    for cell in tree.plan["cells"]:
        if cell["method"] == "simclr":
            cell["upstream"] = {key: gans[cell["seed"]][key] for key in ("run", "identity")}
    tree.save()
    text = tree.page()
    parts = dict(re.findall(r'<details class="source" id="(source-\d+)">(.*?)</details>', text, re.DOTALL))
    found = {
        name: re.findall(r'same seed of <a href="#(source-\d+)">([^<]*)</a>', part) for name, part in parts.items()
    }
    (source,) = (name for name in found if found[name])
    ((above, title),) = found[source]
    assert "SimCLR" in parts[source] and title == "Digits 16×16, Structural GAN, none, full" and title in parts[above]
    first, second, _ = commands(parts[source])[1].splitlines()
    assert "train --run results/runs/demo/digits/structural/none/full/seed=0 --data data/prepared/digits" in first
    assert "train --run results/runs/demo/digits/simclr/none/base/seed=0 --data data/prepared/digits" in second


def test_headline_is_computed(tree: Tree) -> None:
    (headline,) = highlights.headlines(records.read(tree.plan_file))
    assert "reaches 52.0 % linear top-1" in headline.sentence and "chance is 10.0 %" in headline.sentence
    assert [card.figure for card in headline.cards] == ["52.0 %", "+41.0", "+23.0", "+26.0", "20.50"]


@pytest.mark.parametrize("case", ["nothing finished", "empty plan", "no generator", "two data sets"])
def test_degenerate_suites(tmp_path: Path, case: str) -> None:
    scores = {("simclr", "none", "base"): [0.1]} if case == "no generator" else {("structural", "none", "full"): [0.5]}
    tree = Tree(tmp_path, scores)
    if case == "nothing finished":
        shutil.rmtree(tmp_path / "results/runs/demo/digits")
    if case == "empty plan":
        tree.plan |= {"cells": [], "not_applicable": []}
    if case == "two data sets":
        tree.plan["datasets"]["letters"] = {"title": "Letters"}
        for cell in list(tree.plan["cells"]):
            run = cell["run"].replace("/digits/", "/letters/")
            shutil.copytree(tmp_path / cell["run"], tmp_path / run)
            tree.plan["cells"].append({**cell, "dataset": "letters", "run": run})
            tree.edit(
                f"../letters/{run.split('/letters/')[1]}", "probe.json", lambda v: v["dataset"].update(content_hash="x")
            )
            tree.edit(
                f"../letters/{run.split('/letters/')[1]}",
                "fidelity.json",
                lambda v: v["dataset"].update(content_hash="x"),
            )
    tree.save()
    assert len(figures.write(tree.plan_file, tree.figures)) == 11
    text = tree.page()
    assert ("No number yet" in text) == (case in ("nothing finished", "empty plan", "no generator"))
    assert ("Letters" in text) == (case == "two data sets")
    tables.print_summary(tree.plan_file, tree.tables)


def test_five_hundred_rows(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("structural", "none", "full"): [0.5]})
    template = tree.plan["cells"][0]
    for index in range(500):
        tree.plan["variants"][f"v{index}"] = {"title": f"variant {index}"}
        tree.plan["cells"].append({**template, "variant": f"v{index}", "run": f"{template['run']}/v{index}"})
    tree.save()
    assert len(tree.rows("representation")) == 501
    assert tree.page().count("<tr data-order=") >= 501


def test_statistics_verdicts_and_cost_stand_on_the_page(tree: Tree) -> None:
    """With their captions and downloads; a published number leads to no run of ours, and its words run nowhere."""
    words = "<script>alert(2)</script>"
    ours = {"method": "structural", "augmentation": "none", "variant": "full"}
    number = {"dataset": "digits", "method": words, "metric": "linear", "value": 0.53, "source": words, "ours": ours}
    tolerance = {"value": 2, "unit": "points"}
    tree.plan["references"] = [{**number, "tolerance": tolerance, "requires": {"probe": "offline"}}]
    tree.edit("plain_gan/none/base/seed=1", "env.json", lambda value: value.update(threads=7))
    tree.save()
    text = tree.page()
    for name in ("statistics", "comparisons", "verdicts", "cost"):
        part = text[text.index(f'<article class="table" id="table-{name}">') :].split("</article>")[0]
        assert part.count('class="get"') == 3 and "How to read this table" in part
        assert ">Data set<" not in part  # one data set: no column for it
    assert "<b>reproduced</b>" in text and '<td class="foreign-number n" data-v="0.53">53.0</td>' in text
    assert "alert(2)" in text and "<script>alert(2)" not in text
    assert "Student&#39;s t interval" in text and "an exact sign or wilcoxon test" in text.lower()
    assert ">Machine<" in text and "Machine 2: device cpu, threads 7" in text
