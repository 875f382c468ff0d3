"""The digest of the sources: what changes it, whose runs it changes, and what it covers."""

from __future__ import annotations

import ast
import json
import re

import pytest

from structgan import sources

ROOT = sources.ROOT
DIGESTS = """if True:
    from structgan import evaluation, sources
    import json
    found = {name: sources.run_digest(name) for name in sources.methods()}
    found |= {f"evaluate {kind}": sources.evaluation_digest(kind) for kind in (*evaluation.found(), "extractor")}
    found |= {f"prepare {name}": sources.builder_digest(name) for name in ("digits", "cifar10", "cifar100")}
    print(json.dumps(found))
    """


@pytest.fixture
def digests(tmp_path, copy_tree, command):
    """A copy of the tree, and the digest of each method's run in it as it is at the time of the call."""
    root = copy_tree(tmp_path)

    def read():
        done = command("-c", DIGESTS, cwd=tmp_path, root=root)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def edit(name, change):
        path = root / name
        text = path.read_text()
        assert change(text) != text
        path.write_text(change(text))

    return read, edit


def test_comments_docstrings_and_layout_never_change_a_digest(digests):
    read, edit = digests
    before = read()
    assert before.items() >= {name: sources.run_digest(name) for name in sources.methods()}.items()
    edit("structgan/losses/cluster.py", lambda text: text.replace('"""', '"""Another wording. ', 1) + "\n# a remark\n")
    edit("structgan/train.py", lambda text: text.replace("\n\n\n", "\n\n\n\n\n"))
    edit("structgan/methods/structural.py", lambda text: re.sub(r'"""One step.*?"""', '"""x"""', text) + "\n\n")
    assert read() == before


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_an_edit_of_the_logic_changes_exactly_the_runs_that_use_it(digests):
    read, edit = digests
    start = read()
    edit("structgan/losses/cluster.py", lambda text: text.replace(".mean()", ".sum()"))
    loss = read()
    assert changed(start, loss) == {"structural", "vae", "ddpm"}  # all that have L_cluster
    edit("baselines/simclr.py", lambda text: text.replace("views = 2", "views = 3"))
    baseline = read()
    assert changed(loss, baseline) == {"simclr"}
    edit("structgan/models/tangent.py", lambda text: text.replace("y, -2, 0)", "y, -3, 0)"))
    encoder = read()
    assert changed(baseline, encoder) >= set(sources.methods())
    edit("structgan/training/monitor.py", lambda text: text.replace("COLLAPSED = 1e-5", "COLLAPSED = 2e-5"))
    assert changed(encoder, read()) == set(sources.methods())


def test_what_no_run_uses_changes_no_digest(digests):
    read, edit = digests
    before = read()
    edit("structgan/cli.py", lambda text: text + "\nX = 1\n")
    edit("structgan/evaluation/linear.py", lambda text: text + "\nX = 1\n")
    edit("structgan/report/page.py", lambda text: text + "\nX = 1\n")
    assert changed(before, read()) == {"evaluate probe", "evaluate dense", "evaluate transfer"}


def test_what_is_left_out_of_digests_exists():
    assert all(path.is_file() for path in sources.NEUTRAL) and len(sources.NEUTRAL) > 10


def test_digest_covers_the_networks_losses_and_the_loop():
    files = {str(path.relative_to(ROOT)) for path in sources.closure([*sources.TRAINING])}
    loop = ("train", "training/checkpoint", "augment/__init__", "method")
    assert {f"structgan/{name}.py" for name in loop} <= files
    files = {str(path.relative_to(ROOT)) for path in sources.closure([sources.method_file("structural")])}
    losses = {f"structgan/losses/{name}.py" for name in ("gaussian", "cluster", "smoothness", "adversarial")}
    models = {f"structgan/models/{name}.py" for name in ("tangent", "discriminator", "generator", "memory", "spectral")}
    assert losses | models | {"structgan/optim.py"} <= files


def test_an_edited_metric_changes_its_own_evaluation_and_no_training(digests):
    """The kNN is of probes and transfer, the grid of samples of the fidelity, the extractor of both that use it."""
    read, edit = digests
    before = read()
    edit("structgan/evaluation/knn.py", lambda text: text + "\nX = 1\n")
    assert changed(before, knn := read()) == {"evaluate probe", "evaluate transfer"}
    edit("structgan/evaluation/samples.py", lambda text: text.replace("GRID = 8", "GRID = 9"))
    assert changed(knn, samples := read()) == {"evaluate fidelity"}
    edit("structgan/evaluation/extractor.py", lambda text: text + "\nX = 1\n")
    assert changed(samples, extractor := read()) == {"evaluate fidelity", "evaluate extractor"}
    edit("structgan/evaluation/knn.py", lambda text: text + "\n# a comment\n")
    edit("structgan/evaluation/probe.py", lambda text: text.replace("Linear probe, top-1", "Another label"))
    assert read() == extractor


def test_an_edited_builder_changes_its_own_data_sets(digests):
    read, edit = digests
    before = read()
    edit("structgan/datasets/digits.py", lambda text: text.replace("CONTRAST = 0.5", "CONTRAST = 0.6"))
    assert changed(before, read()) == {"prepare digits", "evaluate dense"}  # whose scenes are made of the same scans
    digits = read()
    edit("structgan/datasets/cifar10.py", lambda text: text + "\nX = 1\n")
    assert changed(digits, read()) == {"prepare cifar10", "prepare cifar100"}


def test_the_text_of_a_tree_is_the_same_in_every_version_of_python():
    """Fields that later versions added, quotes that ``ast.unparse`` of 3.12 writes otherwise, and what must count."""
    tree = ast.parse("def f(a):\n    return f\"{a['b']!r:>{a['w']}}\"")
    text = sources.logic(tree)
    tree.body[0].type_params = []
    tree.body[0]._fields = (*ast.FunctionDef._fields, "type_params")
    assert sources.logic(tree) == text and "'b'" in text and "'w'" in text
    for other in ("def f(a):\n    return f\"{a['c']!r:>{a['w']}}\"", "def f(a):\n    return f\"{a['b']!s:>{a['w']}}\""):
        assert sources.logic(ast.parse(other)) != text
    assert sources.logic(ast.parse("x = None")) != sources.logic(ast.parse("x = []"))
