"""What real Snakemake plans of the ablation suites: every run once, and the files of each axis."""

from __future__ import annotations

import json

import pytest
from workflow_tree import copy_tree, snakemake

FILES = ("tables/{0}/{1}.csv", "tables/{0}/{1}.md", "tables/{0}/{1}.tex", "figures/{0}/{1}.svg", "figures/{0}/{1}.png")


@pytest.mark.parametrize(
    ("suite", "runs", "configs"), [("ablations", 108, ()), ("ablations-small", 60, ("workflow/config/demo.yaml",))]
)
def test_an_ablation_suite_is_planned_with_the_files_of_each_axis(tmp_path, suite, runs, configs):
    tree = copy_tree(tmp_path)
    done = snakemake(tree, "--dry-run", configs=(*configs, f"workflow/config/{suite}.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    for rule in ("train_generative", "probe", "fidelity"):
        assert said.count(f"rule {rule}:") == runs
    axes = json.loads((tree / f"results/runs/{suite}/plan.json").read_text())["axes"].values()
    wanted = {form.format(suite, axis["file"]) for axis in axes for form in FILES}
    wanted |= {form.format(suite, "sensitivity") for form in FILES[3:]}
    assert len(axes) == 11 and [file for file in wanted if f"results/{file}" not in done.stdout] == []
