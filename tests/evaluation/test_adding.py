"""What it takes to add a number: a metric is one place and its value, an evaluation is a file and a block."""

import json

import pytest

MEASURE = """if True:
    import json
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests/evaluation")
    from evaluated_tree import Tree
    from structgan import config, evaluate, evaluation, files, provenance
    settings = config.load(["workflow/config/demo.yaml", *sys.argv[1:]])["evaluation"]
    tree = Tree.write(Path("tree"), ["random"])
    for name, path in (("probe", "norm.mean"), ("class_means", "top1")):
        planned = provenance.protocol(name, {key: settings[key] for key in evaluation.found()[name].settings})
        protocol = tree.root / provenance.protocol_path(planned)
        files.write_json(protocol, planned)
        out = evaluate.run(tree.run("random"), protocol)
        print(evaluation.value(provenance.read_evaluation(out.parent, out.name), path))
    """


@pytest.mark.slow
def test_a_metric_is_an_edit_of_one_file_and_an_evaluation_is_the_guides_file(tmp_path, copy_tree, command) -> None:
    root = copy_tree(tmp_path / "tree")
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
    (root / "mine.yaml").write_text("evaluation: {norm: {p: 1}, map: {points: 10}, knn: {k: 5}}")
    done = command("-m", "structgan", "new", "evaluation", "class_means", cwd=root, root=root)
    assert done.returncode == 0 and "snakemake" in done.stdout and "mine" not in done.stdout, done.stderr
    done = command("-c", MEASURE, "mine.yaml", "workflow/config/class_means.yaml", cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    norm, top1 = map(json.loads, done.stdout.splitlines()[-2:])
    assert norm > 0 and top1 > 0.9
