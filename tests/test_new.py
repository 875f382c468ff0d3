"""``structgan new baseline``: the guide's example under another name, both files or none, never over what is there."""

from __future__ import annotations

import ast

import pytest
import yaml

from structgan import files, sources
from structgan.contract import new
from structgan.errors import UserError


@pytest.fixture
def root(tmp_path, copy_tree):
    return copy_tree(tmp_path / "tree")


def contents(root):
    """Every file of a tree but what commands leave by the way."""
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_two_files_are_written_and_what_to_type_next_is_said(root, command):
    before = contents(root)
    done = command("-m", "structgan", "new", "baseline", "my_way", cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    after = contents(root)
    assert {name for name in after if after[name] != before.get(name)} == {
        "baselines/my_way.py",
        "workflow/config/my_way.yaml",
    }
    kinds = [node for node in ast.parse(after["baselines/my_way.py"]).body if isinstance(node, ast.ClassDef)]
    assert [kind.name for kind in kinds] == ["MyWay"] and ast.get_docstring(kinds[0])
    block = yaml.safe_load(after["workflow/config/my_way.yaml"])
    assert block["suite"] == "my_way" and list(block["methods"]) == ["my_way"]
    assert all("mine" not in after[name].decode().lower() for name in after if "my_way" in name)
    said = done.stdout.splitlines()
    assert said[0].startswith("baselines/my_way.py: ") and said[1].startswith("workflow/config/my_way.yaml: ")
    steps = new.rename(new.example()["sh"], "my_way").splitlines()
    assert said[3:] == [f"  {step}" for step in steps[1:]] and steps[0] == "structgan new baseline my_way"
    assert "structgan check my_way" in done.stdout and "workflow/config/my_way.yaml" in said[-2]
    listed = command("-m", "structgan", "methods", cwd=root, root=root)
    assert ["my_way", "baselines/my_way.py"] in [line.split() for line in listed.stdout.splitlines()]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mine", "small letters"),
        ("my-way", "small letters"),
        ("../mine", "small letters"),
        ("_mine", "begin with a letter"),
        ("1st", "begin with a letter"),
        ("mine\n", "small letters"),
        ("", "small letters"),
        ("class", "Python"),
        ("match", "Python"),
        ("simclr", "baselines/simclr.py"),
        ("structural", "structgan/methods/structural.py"),
        ("backbone", "hide Backbone"),
        ("train", "structgan.train"),
        ("losses", "structgan.losses"),
        ("base", "variant"),
        ("paper", "workflow/config/config.yaml"),
        ("demo", "workflow/config/demo.yaml"),
    ],
)
def test_a_name_that_is_no_good_is_refused_with_its_reason(name, reason):
    before = sorted(sources.ROOT.glob("*/*"))
    with pytest.raises(UserError, match="new baseline") as caught:
        new.baseline(name)
    assert reason in str(caught.value) and repr(name)[1:-1].replace("\\n", "\n") in str(caught.value)
    assert sorted(sources.ROOT.glob("*/*")) == before


@pytest.mark.parametrize("there", ["baselines/mine.py", "workflow/config/mine.yaml"])
def test_nothing_is_overwritten_and_nothing_half_written(root, command, refusal, there):
    (root / there).write_text("# mine already\n")
    before = contents(root)
    line = refusal(command("-m", "structgan", "new", "baseline", "mine", cwd=root, root=root))
    assert there in line and contents(root) == before


def test_of_several_new_files_all_are_written_or_none(tmp_path):
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    second.parent.mkdir()
    second.write_text("old")
    with pytest.raises(UserError, match=r"b/second: exists already; nothing was written"):
        files.write_new({first: "1", second: "2"})
    assert second.read_text() == "old"
    with pytest.raises(UserError, match="cannot be written"):
        files.write_new({first: "1", second / "below": "2"})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [second]
    files.write_new({first: "1", tmp_path / "c": "2"})
    assert first.read_text() == "1" and (tmp_path / "c").read_text() == "2"
    assert first.stat().st_mode == second.stat().st_mode


def test_a_guide_without_its_example_is_named(root, command, refusal):
    guide = root / "baselines/README.md"
    guide.write_text(guide.read_text().replace("```yaml", "```yml"))
    line = refusal(command("-m", "structgan", "new", "baseline", "mine", cwd=root, root=root))
    assert "baselines/README.md" in line and "```yaml" in line and not (root / "baselines/mine.py").exists()
