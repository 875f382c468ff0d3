"""``structgan new``: the guide's example under another name, both files or none, and nothing overwritten."""

import ast
from pathlib import Path

import pytest
import yaml
from raw_data import pack, picture, tree_members, unpack
from refusal import refused

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
    assert block["suite"] == block["main"] == "my_way" and list(block["methods"]) == ["my_way"]
    demo = yaml.safe_load((root / "workflow/config/demo.yaml").read_text())["methods"]
    assert block["methods"]["my_way"]["settings"]["encoder"] == demo["simclr"]["settings"]["encoder"]
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


@pytest.mark.parametrize("name", ["probe", "demo", "digits_noise"])
def test_an_evaluation_with_the_name_of_another_a_suite_or_a_data_set_is_refused(name):
    with pytest.raises(UserError, match=f"'{name}'.* is already used"):
        new.new_evaluation(name)


IMAGES = {
    "data/pets": (tree_members(count=5), {}, "10 training and 10 test images", 10),
    "a.tar": (tree_members(splits=("pets",), count=8), {"split": 0.2, "seed": 0}, "12 training and 4 test images", 4),
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "members", "split", "told", "subset"), [(k, *v) for k, v in IMAGES.items()], ids=IMAGES
)
def test_the_block_of_a_folder_of_images_is_written_and_can_be_planned(
    root, command, path, members, split, told, subset
):
    at = root / path
    at.parent.mkdir(exist_ok=True)
    (pack if at.suffix else unpack)(at, members)
    done = command("-m", "structgan", "new", "dataset", "beasts", path, cwd=root, root=root)
    assert done.returncode == 0, done.stderr
    file = root / "workflow/config/beasts.yaml"
    made = yaml.safe_load(file.read_text())
    assert made["datasets"] == {
        "beasts": {"title": "Beasts", "builder": "folder", "image_size": 32, "resize": True, "path": path, **split}
    }
    assert made["evaluation"] == {"fidelity": {"kid_subset_size": subset}} and told in done.stdout
    assert done.stdout.splitlines()[-1] == "  structgan show beasts" and file.read_text().endswith("\n")
    small = root / "small.yaml"
    small.write_text("{training: {batch_size: 4}, evaluation: {knn: {k: 3}}}\n")
    files = [f"workflow/config/{name}.yaml" for name in ("cifar10-small", "beasts")]
    planned = command("-m", "structgan", "configure", "--configfile", *files, small, cwd=root, root=root)
    assert planned.returncode == 0 and planned.stdout.endswith(": 3 runs\n"), planned.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["dataset", "beasts"], "needs the PATH"),
        (["baseline", "beasts", "pets"], "takes no PATH"),
        (["dataset", "digits_gradient", "pets"], "'digits_gradient': the name is already used"),
        (["dataset", "Beasts", "pets"], "lower-case"),
        (["dataset", "beasts", "missing"], "no such file"),
        (["dataset", "beasts", "pets\n"], "path has characters"),
        (["dataset", "beasts", "pets"], "no folder train/<class>/"),
        (["dataset", "beasts", "pets/cat"], "no folder train/<class>/"),
    ],
)
def test_a_data_set_that_cannot_be_is_refused(tmp_path, monkeypatch, words, named):
    unpack(tmp_path / "pets", {"cat/0.png": picture(0)})
    monkeypatch.chdir(tmp_path)
    with refused(named):
        new.new(*words[:2], Path(words[2]) if len(words) > 2 else None)


@pytest.mark.parametrize("there", ["baselines/mine.py", "workflow/config/mine.yaml"])
def test_an_existing_file_stays_and_no_other_is_written(root, command, refusal, there):
    (root / there).write_text("# mine already\n")
    before = contents(root)
    line = refusal(command("-m", "structgan", "new", "baseline", "mine", cwd=root, root=root))
    assert there in line and contents(root) == before
