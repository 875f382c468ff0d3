"""``structgan new baseline``: the guide's example under another name, both files or none, and nothing overwritten."""

import ast

import pytest
import yaml

from structgan import new, sources
from structgan.errors import UserError


@pytest.fixture
def root(tmp_path, copy_tree):
    return copy_tree(tmp_path / "tree")


def contents(root):
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_text() for path in found}


def test_two_files_are_written_and_the_next_commands_printed(root, command):
    before = contents(root)
    done = command("-m", "structgan", "new", "baseline", "my_way", cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    written = {name: text for name, text in contents(root).items() if text != before.get(name)}
    assert set(written) == {"baselines/my_way.py", "workflow/config/my_way.yaml"}
    assert not any("mine" in text.lower() for text in written.values())
    kinds = [node for node in ast.parse(written["baselines/my_way.py"]).body if isinstance(node, ast.ClassDef)]
    assert [kind.name for kind in kinds] == ["MyWay"] and ast.get_docstring(kinds[0])
    block = yaml.safe_load(written["workflow/config/my_way.yaml"])
    assert block["suite"] == "my_way" and list(block["methods"]) == ["my_way"]
    steps = new.rename(new.example()["sh"], "my_way").splitlines()
    assert done.stdout.splitlines()[3:] == [f"  {step}" for step in steps[1:]] and "structgan check my_way" in steps


@pytest.mark.parametrize("name", ["Mine", "my-way", "../mine", "_mine", "1st", "mine\n", "", "class", "match"])
def test_a_name_that_is_no_lower_case_identifier_is_refused(name):
    assert new.problem(name, "")


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("simclr", "baselines/simclr.py"),
        ("structural", "structgan/methods/structural.py"),
        ("backbone", "Backbone"),
        ("paper", "workflow/config/config.yaml"),
        ("demo", "workflow/config/demo.yaml"),
    ],
)
def test_a_name_in_use_is_refused_with_its_user(name, user):
    before = sorted(sources.ROOT.glob("*/*"))
    with pytest.raises(UserError) as caught:
        new.baseline(name)
    assert user in str(caught.value) and f"'{name}'" in str(caught.value)
    assert sorted(sources.ROOT.glob("*/*")) == before


@pytest.mark.parametrize("there", ["baselines/mine.py", "workflow/config/mine.yaml"])
def test_an_existing_file_stays_and_no_other_is_written(root, command, refusal, there):
    (root / there).write_text("# mine already\n")
    before = contents(root)
    line = refusal(command("-m", "structgan", "new", "baseline", "mine", cwd=root, root=root))
    assert there in line and contents(root) == before
