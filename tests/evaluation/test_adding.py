"""``structgan new evaluation``: the guide's file is a working evaluation."""

import json

MEASURE = """if True:
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests/evaluation")
    from evaluated_tree import Tree
    from structgan import config, evaluate, evaluation, files, provenance
    settings = config.load(["workflow/config/demo.yaml", sys.argv[1]])["evaluation"]
    tree = Tree.write(Path("tree"), ["random"])
    chosen = {key: settings[key] for key in evaluation.found()["class_means"].settings}
    out = evaluate.run(tree.run("random"), tree.protocol("class_means", **chosen))
    print(evaluation.value(provenance.read_evaluation(out.parent, out.name), "top1"))
    """


def test_an_evaluation_is_the_guides_file(tmp_path, copy_tree, command) -> None:
    root = copy_tree(tmp_path / "tree")
    done = command("-m", "structgan", "new", "evaluation", "class_means", cwd=root, root=root)
    assert done.returncode == 0 and "snakemake" in done.stdout and "mine" not in done.stdout, done.stderr
    done = command("-c", MEASURE, "workflow/config/class_means.yaml", cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) > 0.9
