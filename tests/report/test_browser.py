"""The page in a real browser: it sorts, links and opens, and no word of a configuration runs."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic_suite import Tree

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
HOSTILE = (
    '<img src=x onerror="document.body.dataset.told=1"></style></script><script>document.body.dataset.told=1</script>'
)


def browse(page: str, script: str, folder: Path) -> str:
    """The page's document after Chromium has run ``script`` in it."""
    copy = folder / "probe.html"
    copy.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_words_of_the_configuration_never_run_in_a_browser(tree: Tree) -> None:
    """Every free text of a configuration at once, and every drawer opened."""
    tree.plan |= {"title": HOSTILE, "note": HOSTILE, "configfiles": [HOSTILE]}
    for section in ("datasets", "methods", "augmentations", "variants"):
        for key, entry in tree.plan[section].items():
            tree.plan[section][key] = {**entry, "title": f"{key} {HOSTILE}", "note": HOSTILE}
    tree.plan["not_applicable"][0]["reason"] = HOSTILE
    for entry in tree.plan["references"]:
        entry |= {"method": HOSTILE, "protocol": HOSTILE, "source": HOSTILE}
    tree["structural/none/full/0"]["env"] |= {"device": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    for run in tree.runs.values():
        run["settings"] = {**run["settings"], HOSTILE: {HOSTILE: HOSTILE}}
        run["probe"]["protocol"]["linear"][HOSTILE] = HOSTILE
    page = tree.page()
    click = (
        "for (const link of document.querySelectorAll('a[href^=\"#source\"]')) link.click(); document.title = 'ran';"
    )
    dom = browse(page, click, tree.root)
    assert "<title>ran</title>" in dom and "data-told" not in dom
    alive = browse(page, "document.body.dataset.told = 1", tree.root)
    assert "data-told" in alive  # the mark that is looked for is seen where a script does run


def test_sorting_links_and_drawer(whole: Tree, tmp_path: Path) -> None:
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
      const shown = ['snakemake --profile', '</pre><script>', 'torch 2.12.1', 'node7', 'dirty'];
      told.push(opened.open ? shown.filter((words) => !opened.textContent.includes(words)) : 'shut');
      told.push(document.querySelectorAll('#drawer [id]').length);
      told.push([...document.images].every((image) => image.naturalWidth > 0) ? document.images.length : 'broken');
      document.body.dataset.told = JSON.stringify(told);
    """
    script = f"addEventListener('load', () => {{ {script} }});"
    found = re.search(r'data-told="([^"]*)"', browse(whole.html.read_text(), script, tmp_path))
    assert found
    told = json.loads(html.unescape(found.group(1)))
    state = [entry.split(":") for entry in told[:4]]
    assert [entry[0] for entry in state] == ["none", "ascending", "descending", "none"]
    up, down = state[1][1].split(","), state[2][1].split(",")
    assert up[:4] == ["20.5", "20.5", "20.5", "25.5"] and set(up[4:]) == {""}
    assert down[:4] == ["25.5", "20.5", "20.5", "20.5"] and set(down[4:]) == {""}
    assert state[3][1] == state[0][1]
    assert told[4:] == ["focus", "11.0,26.0,29.0,41.0,52.0,55.0,56.0,91.0", [], 0, 8]


def test_tables_fit_a_laptop_and_show_numbers_first_on_a_phone(whole: Tree, tmp_path: Path) -> None:
    script = """
      if (self === top) addEventListener('load', async () => {
        const told = {}, source = '<!doctype html>' + document.documentElement.outerHTML;
        for (const width of [1200, 400]) {
          const frame = document.createElement('iframe');
          frame.style.cssText = `width:${width}px;height:900px;border:0`;
          frame.srcdoc = source;
          document.body.append(frame);
          await new Promise((loaded) => { frame.onload = loaded; });
          const page = frame.contentDocument;
          told[width] = [...page.querySelectorAll('table[data-name]')].map((table) => {
            const row = table.tBodies[0].rows[0], cells = [...row.cells].filter((cell) => cell.offsetWidth);
            const right = cells[1].getBoundingClientRect().right;
            return [table.dataset.name, table.parentElement.scrollWidth > table.parentElement.clientWidth,
                    cells[0].className, cells[1].classList.contains('n'), right <= width];
          });
          told[width].push(['page', page.documentElement.scrollWidth > width]);
        }
        document.body.dataset.told = JSON.stringify(told);
      });
    """
    found = re.search(r'data-told="([^"]*)"', browse(whole.html.read_text(), script, tmp_path))
    assert found
    told = json.loads(html.unescape(found.group(1)))
    assert len(told["1200"]) > 5 and not [name for name, wide, *_ in told["1200"] if wide]
    assert told["400"].pop() == ["page", False]
    assert all(rest == ["method", True, True] for _, _, *rest in told["400"])
