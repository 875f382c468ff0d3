"""Names of a configuration that would be commands: refused by the schema, and harmless without it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from refusal import refused
from workflow_tree import copy_tree, snakemake

from structgan import config, files

BAD_NAMES = ("x; touch y", "$(touch y)", "`touch y`", "a b", "a'b", "a\n", "../a", "..", "/a", "-rf", "a/b", "a|b", "")


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("section", ["suite", "datasets", "augmentations", "methods", "variants", "grid"])
def test_a_name_that_is_not_plain_is_refused_in_one_line(base, section, name):
    changed = copy.deepcopy(base)
    if section == "suite":
        changed["suite"] = name
    elif section == "grid":
        changed["grid"][0]["datasets"] = [name]
    else:
        blocks = changed["methods"]["structural"]["variants"] if section == "variants" else changed[section]
        blocks[name] = copy.deepcopy(next(iter(blocks.values())))
    with refused("letters, digits, _ . -", section):
        config.check(changed, [])


SPELL = "x; touch bad1 $(touch bad2) `touch bad3` 'touch bad4' & touch bad5"
WILD = """
suite: "suite; touch bad6"
datasets: {{"{spell}": {{builder: digits, image_size: 16, train_size: 60, test_size: 40}}}}
augmentations: {{"none; touch bad7": {{title: "$(touch bad8)"}}}}
grid: [{{datasets: ["{spell}"], methods: [random], augmentations: ["none; touch bad7"], seeds: [0]}}]
evaluation: {{knn: {{k: 5}}}}
"""


def test_names_are_harmless_without_the_schema_too(tmp_path: Path) -> None:
    """Real Snakemake, every name allowed: data, training, probe, tables, figures and page, and no command ran."""
    tree = copy_tree(tmp_path)
    (tree / "wild.yaml").write_text(WILD.format(spell=SPELL))
    configs = ("workflow/config/demo.yaml", "tests/tiny.yaml", "wild.yaml")
    done = snakemake(tree, "--dry-run", configs=configs)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and line.startswith("structgan: wild.yaml: ") and "letters, digits" in line
    schema = tree / "workflow/schemas/config.schema.yaml"
    open_schema = schema.read_text().replace('pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\\\\n)"', 'pattern: ""')
    assert open_schema != schema.read_text()
    schema.write_text(open_schema)
    done = snakemake(tree, configs=configs)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tree / "results/report/suite; touch bad6.html").stat().st_size > 10_000
    (probe,) = (tree / f"results/runs/{SPELL}/random/none; touch bad7/base/seed=0").glob("*/probe-*.json")
    assert files.read_json(probe)["dataset"]["name"] == SPELL
    assert not [path for path in tree.rglob("bad*") if path.name[3:].isdigit()]
