"""What it takes to add a number: a metric is one place and its value, an evaluation is a file and a block."""

from __future__ import annotations

import json

import pytest

MEASURE = """if True:
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests")
    from bright_half_dataset import Tree
    from structgan import config, evaluate, evaluation, files, provenance
    name, file, path = sys.argv[1:]
    settings = config.load(["workflow/config/demo.yaml", file])["evaluation"]
    declared = evaluation.found()[name]
    planned = provenance.protocol(name, {key: settings[key] for key in declared.settings})
    tree = Tree.write(Path("tree"))
    protocol = tree.root / provenance.protocol_path(planned)
    files.write_json(protocol, planned)
    out = evaluate.run(tree.run("random"), protocol)
    print(evaluation.value(provenance.read_evaluation(out.parent, out.name), path))
    """


@pytest.fixture
def measure(tmp_path, copy_tree, command):
    """A copy of the repository, and what an evaluation in it measures under a configuration file."""
    root = copy_tree(tmp_path / "tree")

    def run(name, file, path):
        done = command("-c", MEASURE, name, file, path, cwd=root, root=root)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return root, run


def test_a_metric_is_added_in_its_evaluations_file_with_its_value(measure) -> None:
    root, run = measure
    probe = root / "structgan/evaluation/probe.py"
    text = probe.read_text()
    for before, after in (
        ('"few_labels", "map")', '"few_labels", "map", "norm")'),
        ("COLUMNS = [", 'COLUMNS = [\n    {"name": "norm", "path": "norm.mean", "label": "Mean norm"},'),
        (
            '        "linear": lambda:',
            '        "norm": lambda: ({"mean": float(data.test.norm(p=settings["norm"]["p"], dim=1).mean())}, {}),\n'
            '        "linear": lambda:',
        ),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    probe.write_text(text)
    (root / "workflow/config/mine.yaml").write_text("evaluation: {norm: {p: 1}, map: {points: 10}, knn: {k: 5}}")
    assert run("probe", "workflow/config/mine.yaml", "norm.mean") > 0


def test_an_evaluation_is_the_guides_file_and_block(measure, command) -> None:
    root, run = measure
    done = command("-m", "structgan", "new", "evaluation", "class_means", cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    assert "snakemake" in done.stdout and "mine" not in done.stdout
    assert run("class_means", "workflow/config/class_means.yaml", "top1") > 0.9
    files = ["--configfile", "workflow/config/demo.yaml", "--configfile", "workflow/config/class_means.yaml"]
    assert command("-m", "structgan", "configure", *files, cwd=root, root=root).returncode == 0
    plan = json.loads(next(root.glob("results/plans/demo/*.json")).read_text())
    assert all(entry["evaluations"]["class_means"].startswith("class_means-") for entry in plan["runs"])
    again = command("-m", "structgan", "new", "evaluation", "class_means", cwd=root, root=root)
    assert again.returncode == 2 and "already used" in again.stderr
