"""The digest of the sources: what changes it, whose runs it changes, and what it covers."""

import ast
import importlib.util

import pytest

from structgan import evaluation, sources

BUILDERS = ("digits", "cifar10", "cifar100")


@pytest.fixture(scope="module")
def edit(tmp_path_factory, copy_tree):
    """Edits files in a copy of the tree, and returns whose digests that changes."""
    root, before = copy_tree(tmp_path_factory.mktemp("copy")), {}

    def read():
        spec = importlib.util.spec_from_file_location("copied_sources", root / "structgan/sources.py")
        copied = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(copied)
        found = {name: copied.run_digest(name) for name in copied.methods()}
        found |= {f"evaluate {kind}": copied.evaluation_digest(kind) for kind in (*evaluation.found(), "extractor")}
        return found | {f"prepare {name}": copied.builder_digest(name) for name in BUILDERS}

    def change(**edits):
        for name, substitute in edits.items():
            path = root / f"{name.replace('__', '/')}.py"
            text = path.read_text()
            path.write_text(substitute(text))
            assert path.read_text() != text
        old, new = dict(before), read()
        before.update(new)
        return {name for name in old if old[name] != new[name]}

    before.update(read())
    assert before.items() >= {name: sources.run_digest(name) for name in sources.methods()}.items()
    return change


def replacing(old, new):
    return lambda text: text.replace(old, new, 1)


def append(text):
    return text + "\nX = 1\n"


def test_comments_docstrings_layout_and_words_never_change_a_digest(edit):
    assert not edit(
        structgan__losses__cluster=lambda text: text.replace('"""', '"""Another wording. ', 1) + "\n# a remark\n",
        structgan__train=replacing("\n\n\n", "\n\n\n\n\n"),
        structgan__methods__structural=lambda text: text.replace('"""', '"""Reworded. ', 1) + "\n\n",
        structgan__evaluation__probe=replacing("Linear probe, top-1", "Another label"),
    )


def test_what_plans_reads_results_or_writes_files_is_part_of_no_digest(edit):
    """Each would retrain every run. Each is imported by something that trains or that the package itself imports."""
    assert not edit(
        structgan__cli=append,
        structgan__checks=append,
        structgan__encoders=append,
        structgan__files=append,
        structgan__plan=append,
        structgan__provenance=append,
        structgan__report__page=append,
        structgan__report__results=append,
    )


def test_an_edit_changes_exactly_what_uses_it(edit):
    """Edits of one call have no user in common, so that the union of their users tells whose are whose."""
    assert edit(
        structgan__losses__cluster=replacing(".mean()", ".sum()"),
        structgan__evaluation__knn=append,
        structgan__evaluation__extractor=append,
        structgan__datasets__digits=replacing("CONTRAST = 0.5", "CONTRAST = 0.6"),
        structgan__datasets__cifar10=append,
    ) == {
        *("structural", "vae", "ddpm"),
        *("evaluate probe", "evaluate transfer"),
        *("evaluate fidelity", "evaluate extractor"),
        *("prepare digits", "evaluate dense"),  # whose scenes are made of the same scans
        *("prepare cifar10", "prepare cifar100"),
    }
    assert edit(
        baselines__simclr=replacing("views = 2", "views = 3"),
        structgan__evaluation__kmeans=append,
        structgan__evaluation__samples=replacing("GRID = 8", "GRID = 9"),
    ) == {"simclr", "evaluate probe", "evaluate fidelity"}
    assert edit(structgan__training__monitor=replacing("1e-5", "2e-5")) == set(sources.methods())
    readers = {"evaluate probe", "evaluate dense", "evaluate transfer"}
    assert edit(structgan__evaluation__linear=append) == {*sources.methods(), *readers}  # a run's curve is read so too


def test_digest_covers_the_networks_losses_and_the_loop():
    assert all(path.is_file() for path in sources.NEUTRAL) and len(sources.NEUTRAL) > 10

    def reached(*files):
        return {str(path.relative_to(sources.ROOT / "structgan")) for path in sources.closure(files)}

    loop = {"train.py", "training/checkpoint.py", "augment/__init__.py", "method.py"}
    assert loop <= reached(*sources.TRAINING)
    losses = {f"losses/{name}.py" for name in ("gaussian", "cluster", "smoothness", "adversarial")}
    models = {f"models/{name}.py" for name in ("tangent", "discriminator", "generator", "memory", "spectral")}
    assert losses | models | {"optim.py"} <= reached(sources.method_file("structural"))


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
