"""What must be nowhere in the sources: unpickling, unquoted values in a shell, packages left out, files without end."""

import ast
import re
import tomllib

import pytest
from test_architecture import FILES, ROOT, WORKFLOW, dotted, imported

PICKLES = {"cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "benchmarks").rglob("*.py"))], ids=dotted)
def test_nothing_that_can_run_code_is_loaded(path):
    """Tensors: torch.load with weights_only (Inception's published file), of pickle its error; YAML by our reader."""
    tree = ast.parse(path.read_text())
    assert not imported(ast.walk(tree)) & PICKLES
    assert "yaml" not in imported(ast.walk(tree)) or path.name == "yaml_reader.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "pickle"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError"
        if isinstance(node, ast.Call):
            name, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert name != "torch.load" or keywords["weights_only"] == "True"
            assert name not in ("torch.save", "torch.hub.load", "pd.read_pickle", "pandas.read_pickle", "exec", "eval")
            assert keywords.get("allow_pickle", "False") == "False" and keywords.get("shell", "False") == "False"
            assert name.split(".")[-1] not in ("extractall", "unpack_archive", "system", "popen", "getoutput")
            assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.jit.load")


@pytest.mark.parametrize("path", WORKFLOW, ids=lambda path: path.name)
def test_every_value_in_a_shell_line_is_quoted(path):
    """``{input.data:q}`` and never ``{input.data}``, so that no name of the configuration is a command."""
    text = path.read_text()
    blocks = re.findall(r"^[ \t]+shell:\n((?:[ \t]+\".*\"\n)+)", text, re.MULTILINE)
    assert len(blocks) == len(re.findall(r"\bshell\s*[:(]", text))
    fields = [field for block in blocks for field in re.findall(r"(?<!{){([^{}]+)}", block)]
    assert all(field.endswith(":q") for field in fields), fields
    assert len(fields) >= 3 * len(blocks)


def test_every_package_is_installed_with_the_project():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert listed == {dotted(path) for path in FILES if path.name == "__init__.py"} | {"benchmarks"}
    folders = {dotted(path.parent / "__init__.py") for path in FILES}
    assert folders | {"benchmarks"} == listed


@pytest.mark.parametrize("path", [*FILES, *WORKFLOW], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_open_with_their_purpose(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    assert text.startswith(("#", '"""')) and not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert not re.search(r"(/home/|/Users/|/root/)", text)


def test_tests_are_short_too():
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert len(lengths) > 50 and {name: length for name, length in lengths.items() if length > 250} == {}
