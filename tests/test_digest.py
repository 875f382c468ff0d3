"""The digest of the sources: what changes it, whose runs it changes, and what it covers."""

from __future__ import annotations

import json
import re

import pytest

from structgan import sources

ROOT = sources.ROOT
DIGESTS = (
    "from structgan import sources; import json; "
    "print(json.dumps({name: sources.run_digest(name) for name in sources.methods()}))"
)


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
    assert before == {name: sources.run_digest(name) for name in sources.methods()}
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
    assert changed(start, loss) == {"structural"}
    edit("baselines/simclr.py", lambda text: text.replace("views = 2", "views = 3"))
    baseline = read()
    assert changed(loss, baseline) == {"simclr"}
    edit("structgan/models/pair.py", lambda text: text.replace("1e-5", "1e-6") + "\nX = 1\n")
    encoder = read()
    assert changed(baseline, encoder) == set(start)
    edit("structgan/train.py", lambda text: text.replace("COLLAPSED = 1e-5", "COLLAPSED = 2e-5"))
    assert changed(encoder, read()) == set(start)


def test_what_no_run_uses_changes_no_digest(digests):
    read, edit = digests
    before = read()
    edit("structgan/cli.py", lambda text: text + "\nX = 1\n")
    edit("structgan/metrics/linear.py", lambda text: text + "\nX = 1\n")
    edit("structgan/report/page.py", lambda text: text + "\nX = 1\n")
    assert read() == before


def test_digest_covers_the_networks_losses_and_the_loop():
    files = {str(path.relative_to(ROOT)) for path in sources.closure([*sources.TRAINING])}
    assert {"structgan/train.py", "structgan/checkpoint.py", "structgan/augment.py", "structgan/method.py"} <= files
    files = {str(path.relative_to(ROOT)) for path in sources.closure([sources.method_file("structural")])}
    losses = {f"structgan/losses/{name}.py" for name in ("gaussian", "cluster", "smoothness", "adversarial")}
    models = {f"structgan/models/{name}.py" for name in ("pair", "discriminator", "generator", "memory")}
    assert losses | models | {"structgan/optim.py"} <= files
