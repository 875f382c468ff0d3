"""Tables, figures and the page, from small trees of run files that are written here."""

from __future__ import annotations

import csv
import html.parser
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from structgan.errors import UserError
from structgan.report import cells, figures, highlights, layouts, markup, page, records, tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
METHODS = {
    "structural": {"title": "Structural GAN", "kind": "method", "uses_labels": False, "samples": True},
    "simclr": {"title": "SimCLR <b>&\"'", "kind": "baseline", "uses_labels": False, "samples": False},
    "plain_gan": {"title": "Plain GAN", "kind": "baseline", "uses_labels": False, "samples": True},
    "random": {"title": "Random encoder", "kind": "reference", "uses_labels": False, "samples": False},
    "supervised": {"title": "Supervised", "kind": "reference", "uses_labels": True, "samples": False},
}
SCORES = {  # linear top-1 per seed
    ("structural", "none", "full"): [0.50, 0.54],
    ("structural", "none", "no_cluster"): [0.40, 0.42],
    ("structural", "crop", "full"): [0.55, 0.57],
    ("simclr", "none", "base"): [0.10, 0.12],
    ("simclr", "crop", "base"): [0.545, 0.555],
    ("plain_gan", "none", "base"): [0.28, 0.30],
    ("random", "none", "base"): [0.26, 0.26],
    ("supervised", "none", "base"): [0.90, 0.92],
}
LEAD = "dataset,method,augmentation,variant,seeds,"


class Tree:
    """A suite in a temporary folder: ``results/runs/demo`` under ``root``."""

    def __init__(self, root: Path, scores: dict[tuple[str, str, str], list[float]] = SCORES) -> None:
        self.root, self.plan_file = root, root / "results/runs/demo/plan.json"
        self.tables, self.figures, self.html = root / "tables", root / "figures", root / "demo.html"
        variants = {"full": "full", "base": "base", "no_cluster": "without L_cluster"}
        self.plan: dict[str, Any] = {
            "suite": "demo", "title": "Demo <script>alert(1)</script>", "note": "a & b", "configfiles": ["a.yaml"],
            "protocol": {"few_labels": {"fractions": [0.01, 0.1]}},
            "datasets": {"digits": {"title": "Digits 16×16"}}, "methods": METHODS,
            "augmentations": {"none": {"title": "none"}, "crop": {"title": "crop"}},
            "variants": {key: {"title": title} for key, title in variants.items()}, "cells": [],
            "not_applicable": [
                {"dataset": "digits", "method": "random", "augmentation": "crop", "variant": "base",
                 "reason": "sees none"},
            ],
            "references": [
                {"dataset": "cifar10", "method": "SimCLR", "metric": "linear", "value": 0.9074, "protocol": "online",
                 "source": "solo-learn README"},
                {"dataset": "cifar10", "method": "SNGAN", "metric": "fid", "value": 16.77, "protocol": "50k",
                 "source": "mimicry"},
            ],
        }  # fmt: skip
        for (method, augmentation, variant), values in scores.items():
            for seed, value in enumerate(values):
                run = f"results/runs/demo/digits/{method}/{augmentation}/{variant}/seed={seed}"
                cell = {
                    "dataset": "digits",
                    "method": method,
                    "augmentation": augmentation,
                    "variant": variant,
                    "seed": seed,
                }
                self.plan["cells"].append({**cell, "run": run, "identity": f"id-{run}"})
                self.write_run(run, method, value, seed)
        self.save()

    def save(self) -> None:
        self.plan_file.parent.mkdir(parents=True, exist_ok=True)
        self.plan_file.write_text(json.dumps(self.plan))

    def write_run(self, run: str, method: str, top1: float, seed: int) -> None:
        from PIL import Image

        folder = self.root / run
        folder.mkdir(parents=True)
        data = {"name": "digits", "content_hash": "aa", "classes": 10, "note": ""}
        metrics = {
            "linear": {"top1": top1, "converged": True}, "svm": {"top1": top1 - 0.01, "converged": True},
            "kmeans": {"accuracy": top1 / 2, "nmi": 0.2, "inertia": 1.0}, "knn": {"top1": top1 - 0.05},
            "linear_1pct": {"top1": top1 / 4, "labels": 60}, "linear_10pct": {"top1": top1 / 3, "labels": 600},
        }  # fmt: skip
        points = [[math.cos(i) + seed, math.sin(3 * i)] for i in range(40)]
        probe = {
            "identity": f"id-{run}", "encoder": {"sha256": "ee" * 32, "features": "backbone", "dim": 64},
            "dataset": data,
            "metrics": metrics, "protocol": {"linear": {"split": "train→test", "C": 1.0, "n_train": 600}, "seed": seed},
            "map": {"kind": "tsne", "split": "test", "points": points, "labels": [i % 10 for i in range(40)],
                    "classes": [str(i) for i in range(10)]},
        }  # fmt: skip
        records_ = [
            {"step": s, "images": 8 * s, "seconds": 0.1 * s, "losses": {"d_gaussian": 1 / s, "g_gaussian": -1 / s}}
            for s in range(1, 40)
        ]
        env = {"seconds": 12.0, "images_per_second": 80.0, "device": "cpu", "git": {"commit": "c0ffee", "dirty": False}}
        self.put(folder / "probe.json", probe)
        self.put(folder / "history.json", {"records": records_ if method != "random" else []})
        self.put(folder / "env.json", env)
        self.put(folder / "config.json", {"settings": {"training": {"steps": 39, "note": "</pre><script>"}}})
        if METHODS[method]["samples"]:
            fid = 20.0 + seed + (5.0 if method == "plain_gan" else 0.0)
            protocol = {"extractor": "embedded", "extractor_sha256": "bb", "n_generated": 200, "n_reference": 600,
                        "reference": "train", "resizer": "none", "seed": seed}  # fmt: skip
            scores = {"fid": fid, "is": 5.0, "is_std": 0.1, "kid": 0.01, "precision": 0.5, "recall": 0.25}
            fidelity = {"identity": f"id-{run}", "metrics": scores, "protocol": protocol, "dataset": data}
            self.put(folder / "fidelity.json", fidelity)
            Image.new("RGB", (32, 32), (40 * seed, 90, 200)).save(folder / "samples.png")

    @staticmethod
    def put(path: Path, value: Any) -> None:
        path.write_text(json.dumps(value))

    def edit(self, run: str, file: str, change: Any) -> None:
        path = self.root / "results/runs/demo/digits" / run / file
        value = json.loads(path.read_text())
        change(value)
        self.put(path, value)

    def rows(self, name: str) -> dict[tuple[str, str, str], dict[str, str]]:
        tables.write(self.plan_file, self.tables)
        with (self.tables / f"{name}.csv").open() as file:
            return {(r["method"], r.get("augmentation", ""), r["variant"]): r for r in csv.DictReader(file)}

    def page(self) -> str:
        tables.write(self.plan_file, self.tables)
        page.write(self.plan_file, self.tables, self.figures, self.html)
        return self.html.read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree(tmp_path_factory.mktemp("whole"))
    figures.write(made.plan_file, made.figures)
    made.page()
    return made


def test_imports_no_torch() -> None:
    code = (
        "import sys; from structgan.report import figures, page, tables, grids, charts, provenance; "
        "assert not {'torch', 'sklearn', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_headers_are_exact(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    head = {path.stem: path.read_text().splitlines()[0] for path in tree.tables.glob("*.csv")}
    assert (
        head["representation"]
        == LEAD + "linear_mean,linear_std,svm_mean,svm_std,kmeans_mean,kmeans_std,knn_mean,knn_std"
    )
    assert head["generation"] == LEAD + "fid_mean,fid_std,is_mean,is_std,extractor"
    assert head["few_labels"] == LEAD + "linear_1pct_mean,linear_1pct_std,linear_10pct_mean,linear_10pct_std"
    assert head["augmentation"].startswith(
        "dataset,method,variant,none_mean,none_std,none_seeds,none_minus_simclr,crop_mean"
    )
    assert head["ablation"].startswith(LEAD + "linear_mean,linear_std,linear_minus_full,kmeans_mean")
    assert {path.suffix for path in tree.tables.iterdir()} == {".csv", ".md", ".tex"}
    assert len(list(tree.tables.iterdir())) == 18


def test_mean_and_sample_deviation(tree: Tree) -> None:
    row = tree.rows("representation")["structural", "none", "full"]
    assert row["seeds"] == "2"
    assert float(row["linear_mean"]) == pytest.approx(0.52)
    assert float(row["linear_std"]) == pytest.approx(0.04 / math.sqrt(2), rel=1e-6)  # ddof = 1: |a − b| / √2
    assert float(row["kmeans_mean"]) == pytest.approx(0.26)
    fid = tree.rows("generation")["plain_gan", "none", "base"]
    assert (float(fid["fid_mean"]), fid["extractor"]) == (pytest.approx(25.5), "embedded")


def test_a_deviation_has_its_means_digits() -> None:
    cell = cells.Cell(cells.Statistic(0.0123, 0.00456, 2), 2, "value", delta=-0.002)
    assert markup.words(cell, layouts.FID, True) == "0.0123 ± 0.0046 (−0.0020)"
    large = cells.Cell(cells.Statistic(12.3, 0.456, 2), 2, "value")
    assert markup.words(large, layouts.FID, True) == "12.30 ± 0.46"


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("structural", "none", "full"): [0.5]})
    row = tree.rows("representation")["structural", "none", "full"]
    assert (row["seeds"], row["linear_mean"], row["linear_std"]) == ("1", "0.5", "")


def test_pooled_deviation_and_ties() -> None:
    one, two = cells.summarise([1.0, 3.0]), cells.summarise([3.0, 4.0, 5.0])
    assert one is not None and two is not None
    assert cells.pooled_std(one, two) == pytest.approx(math.sqrt((1 * 2.0 + 2 * 1.0) / 3))
    assert not cells.tied(one, two)  # 2 apart, pooled 1.155
    assert cells.tied(cells.Statistic(3.0, 1.5, 2), two)
    assert not cells.tied(cells.Statistic(1.0, None, 1), cells.Statistic(1.001, None, 1))
    assert cells.summarise([math.nan]) is None


def test_best_and_tied_are_marked_and_labels_stand_apart(tree: Tree) -> None:
    table = layouts.build(records.read(tree.plan_file))["representation"]
    marks = {(row.keys["method"], row.keys["augmentation"]): row.cells["linear"] for row in table.rows}
    assert marks["structural", "crop"].best and not marks["supervised", "none"].best
    assert marks["simclr", "crop"].tied  # 0.55 against 0.56, pooled 0.0112
    assert not marks["simclr", "none"].tied
    text = (tables.write(tree.plan_file, tree.tables), (tree.tables / "representation.md").read_text())[1]
    assert "**56.0 ± 1.4**" in text and "55.0 ± 0.7≈" in text and "Supervised (uses labels)" in text
    assert "within one pooled standard deviation" in text


def test_no_sample_is_a_dash_and_empty_in_csv(tree: Tree) -> None:
    row = tree.rows("generation")["simclr", "none", "base"]
    assert (row["fid_mean"], row["fid_std"], row["extractor"]) == ("", "", "")
    line = next(line for line in (tree.tables / "generation.md").read_text().splitlines() if "SimCLR" in line)
    assert line.endswith("| — | — |")


def test_missing_and_partial(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    base = tree.root / "results/runs/demo/digits"
    (base / "simclr/none/base/seed=1/probe.json").unlink()
    for seed in (0, 1):
        (base / f"random/none/base/seed={seed}/probe.json").unlink()
    rows = tree.rows("representation")
    assert rows["simclr", "none", "base"]["seeds"] == "1" and rows["simclr", "none", "base"]["linear_mean"] == "0.1"
    assert rows["random", "none", "base"]["seeds"] == "0" and rows["random", "none", "base"]["linear_mean"] == ""
    text = (tree.tables / "representation.md").read_text()
    assert "— missing" in text and "| 1/2 |" in text and "3 of 16 runs are not finished" in text
    assert "3 of 16 runs are not finished" in capsys.readouterr().err


def test_not_applicable_has_its_reason(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    for name in ("representation", "augmentation"):
        assert "n/a: Random encoder (base), augmentation crop: sees none" in (tree.tables / f"{name}.md").read_text()
    assert "| n/a |" in (tree.tables / "augmentation.md").read_text()
    assert not any(key[:2] == ("random", "crop") for key in tree.rows("representation"))


def test_stale_is_not_finished_unless_asked(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.edit("simclr/none/base/seed=0", "probe.json", lambda value: value.update(identity="old"))
    row = tree.rows("representation")["simclr", "none", "base"]
    assert (row["seeds"], row["linear_mean"]) == ("1", "0.12")
    assert "identity" in capsys.readouterr().err
    tables.write(tree.plan_file, tree.tables, include_stale=True)
    text = (tree.tables / "representation.md").read_text()
    assert "11.0 ± 1.4†" in text and "another configuration" in text


@pytest.mark.parametrize(
    ("file", "section", "key", "value"),
    [
        ("probe.json", "protocol", "linear", {"split": "train→test", "C": 0.01, "n_train": 600}),
        ("fidelity.json", "protocol", "extractor_sha256", "cc"),
        ("fidelity.json", "protocol", "n_generated", 100),
        ("fidelity.json", "protocol", "reference", "test"),
        ("fidelity.json", "protocol", "resizer", "bicubic"),
        ("probe.json", "dataset", "content_hash", "zz"),
    ],
)
def test_two_protocols_are_refused(tree: Tree, file: str, section: str, key: str, value: Any) -> None:
    tree.edit("plain_gan/none/base/seed=1", file, lambda entry: entry[section].update({key: value}))
    with pytest.raises(UserError) as error:
        tables.write(tree.plan_file, tree.tables)
    message = str(error.value)
    assert (
        "\n" not in message and key in message and "plain_gan/none/base/seed=1" in message and "structural/" in message
    )
    assert not tree.tables.exists()


def test_probe_and_fidelity_must_have_seen_the_same_data(tree: Tree) -> None:
    for run in [cell["run"] for cell in tree.plan["cells"] if cell["method"] in ("structural", "plain_gan")]:
        short = run.removeprefix("results/runs/demo/digits/")
        tree.edit(short, "fidelity.json", lambda entry: entry["dataset"].update(content_hash="other"))
    with pytest.raises(UserError, match="content_hash"):
        tables.write(tree.plan_file, tree.tables)


def test_differences(tree: Tree) -> None:
    row = tree.rows("augmentation")["structural", "", "full"]
    assert float(row["none_minus_simclr"]) == pytest.approx(0.52 - 0.11)
    assert float(row["crop_minus_simclr"]) == pytest.approx(0.01)
    ablation = tree.rows("ablation")
    assert set(ablation) == {("structural", "none", "full"), ("structural", "none", "no_cluster")}
    assert float(ablation["structural", "none", "no_cluster"]["linear_minus_full"]) == pytest.approx(0.41 - 0.52)


def test_references_stand_apart(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    text = (tree.tables / "representation.md").read_text()
    assert text.index("another protocol") < text.index("solo-learn") and "90.7" in text
    assert "Another protocol" in (tree.tables / "generation.tex").read_text()
    assert "solo-learn" not in (tree.tables / "representation.csv").read_text()


def test_tex_escapes(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    text = (tree.tables / "ablation.tex").read_text()
    assert r"without L\_cluster" in text and r"$\pm$" in text
    body = re.sub(r"\\.|%.*?\n", "", text, count=0)
    assert "&" in body and "±" not in text and body.count("{") == body.count("}")


def test_runs_are_found_from_any_working_directory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tree.root / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert tree.rows("representation")["structural", "none", "full"]["seeds"] == "2"
    monkeypatch.chdir(tree.root / "results/runs")
    assert (records.read("demo/plan.json").frame["probe"] == "finished").all()


def test_broken_input_is_one_line(tree: Tree) -> None:
    (tree.root / "results/runs/demo/digits/simclr/none/base/seed=0/probe.json").write_text('{"identity": ')
    with pytest.raises(UserError, match="not valid JSON"):
        tables.write(tree.plan_file, tree.tables)
    del tree.plan["methods"]
    tree.save()
    with pytest.raises(UserError, match="'methods' is missing"):
        tables.write(tree.plan_file, tree.tables)


def test_summary_is_printed(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write(tree.plan_file, tree.tables)
    tables.print_summary(tree.plan_file, tree.tables)
    out = capsys.readouterr().out
    assert "52.0 ± 2.8" in out and "Supervised (labels)" in out and "20.50 ± 0.71" in out and "—" in out


def test_everything_regenerates_byte_for_byte(whole: Tree) -> None:
    folders = (whole.tables, whole.figures)
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()} | {
        whole.html: whole.html.read_bytes()
    }
    figures.write(whole.plan_file, whole.figures)
    whole.page()
    assert len(before) == 18 + 10 + 1
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


def test_page_tells_where_numbers_come_from(whole: Tree) -> None:
    text = whole.html.read_text()
    run = "results/runs/demo/digits/structural/none/full/seed=0"
    assert f"id-{run}" in text and "c0ffee" in text and "prefers-color-scheme: dark" in text
    assert f"python -m structgan train --run {run} --data data/prepared/digits.safetensors" in text
    assert "sees none" in text and "solo-learn README" in text


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
    assert len(figures.write(tree.plan_file, tree.figures)) == 10
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


def browse(path: Path, script: str, profile: Path) -> str:
    """The page's document after Chromium has run ``script`` in it."""
    text = path.read_text().replace("</body>", f"<script>{script}</script></body>")
    copy = path.with_name("probe.html")
    copy.write_text(text)
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
        "--virtual-time-budget=2000", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_sorting_and_filter_in_a_browser(whole: Tree, tmp_path: Path) -> None:
    script = """
      const table = document.querySelector('table[data-name=generation]');
      const column = [...table.tHead.rows[0].cells].findIndex(h => h.dataset.key === 'fid');
      const head = table.tHead.rows[0].cells[column], button = head.querySelector('button');
      const values = () => [...table.tBodies[0].rows].map(r => r.cells[column].dataset.v).join(',');
      const read = () => head.getAttribute('aria-sort') + ':' + values();
      const told = [read()];
      for (let click = 0; click < 3; click++) { button.click(); told.push(read()); }
      button.focus(); told.push(document.activeElement === button ? 'focus' : 'no focus');
      location.hash = '#sort=representation:linear:ascending'; follow();
      const rows = [...document.querySelector('table[data-name=representation]').tBodies[0].rows];
      told.push(rows.map(r => r.querySelector('.mean').textContent).join(','));
      document.querySelector('.card').click();
      const opened = document.querySelector('#drawer');
      told.push(opened.open ? opened.textContent.includes('Reproduce') : 'shut');
      document.body.dataset.told = JSON.stringify(told);
    """
    dom = browse(whole.html, script, tmp_path / "profile")
    found = re.search(r'data-told="([^"]*)"', dom)
    assert found
    told = json.loads(html.unescape(found.group(1)))
    state = [entry.split(":") for entry in told[:4]]
    assert [entry[0] for entry in state] == ["none", "ascending", "descending", "none"]
    up, down = state[1][1].split(","), state[2][1].split(",")
    assert up[:4] == ["20.5", "20.5", "20.5", "25.5"] and set(up[4:]) == {""}
    assert down[:4] == ["25.5", "20.5", "20.5", "20.5"] and set(down[4:]) == {""}
    assert state[3][1] == state[0][1]
    assert told[4] == "focus"
    assert told[5] == "11.0,26.0,29.0,41.0,52.0,55.0,56.0,91.0"
    assert told[6] is True
