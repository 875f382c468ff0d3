"""Who may import whom, as the syntax trees say, and what must stay light."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "structgan").rglob("*.py"), *(ROOT / "baselines").rglob("*.py")])
WORKFLOW = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "baselines").glob("*.smk")])


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in FILES}


def imported(nodes):
    """Names of the modules that syntax nodes import; of this repository the module itself, elsewhere the package."""
    found = set()
    for node in nodes:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "a relative import, which the digest of the sources does not follow"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        found.update(name if name.split(".")[0] in ("structgan", "baselines") else name.split(".")[0] for name in names)
    return found


def at_start(path):
    """What is imported when a module is: no body of a function, nothing that only a type checker reads."""
    nodes, todo = [], list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        nodes.append(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return imported(nodes)


ANYWHERE = {name: imported(ast.walk(ast.parse(path.read_text()))) for name, path in MODULES.items()}
AT_START = {name: at_start(path) for name, path in MODULES.items()}


def reachable(name):
    """All that is imported when a module is, directly or not."""
    seen, todo = set(), [name]
    while todo:
        now = todo.pop()
        if now not in seen:
            seen.add(now)
            todo += [*AT_START.get(now, ()), *(".".join(now.split(".")[:i]) for i in range(1, now.count(".") + 1))]
    return seen


def modules(*packages):
    """The modules of some packages of structgan, or of baselines."""
    return [name for name in MODULES if name.removeprefix("structgan.").split(".")[0] in packages]


HEAVY = {"torch", "torchvision", "sklearn", "scipy", "numpy", "pandas", "matplotlib", "seaborn", "lightly"}
HEAVY |= {"torch_fidelity", "safetensors", "snakemake", "dvc", "rich", "PIL", "jsonschema"}
TOP = modules("cli", "__main__", "train", "training", "evaluate", "evaluation", "report", "status", "testing", "verify")


def test_imports_go_from_the_command_line_down_to_the_networks():
    """cli → train, evaluation, report, status → methods, baselines → losses, models, augment, datasets → torch."""
    for name in modules("methods", "baselines", "losses", "models", "augment", "datasets"):
        above = set(TOP) if "methods" in name or "baselines" in name else {*TOP, *modules("methods", "method")}
        assert not ANYWHERE[name] & above, name
    for name in MODULES:
        others = {other for other in ANYWHERE[name] if other.startswith("baselines")}
        assert not others, f"{name} names a baseline"
        assert not ANYWHERE[name] & {"snakemake", "dvc"}, name


@pytest.mark.parametrize("name", ["config", "grid", "plan", "provenance", "status", "cleanup", "new", "cli"])
def test_planning_and_the_command_line_start_light(name):
    assert not reachable(f"structgan.{name}") & HEAVY


def test_the_report_needs_no_torch():
    assert not [name for name in modules("report") if "torch" in ANYWHERE[name] | reachable(name)]


def test_no_import_goes_in_a_circle():
    done, path = set(), []

    def visit(name):
        assert name not in path, f"circle: {' → '.join([*path, name])}"
        if name in MODULES and name not in done:
            path.append(name)
            for other in AT_START[name] - {name}:
                visit(other)
            done.add(path.pop())

    for name in MODULES:
        visit(name)


def test_the_loop_and_the_suite_name_no_method():
    """No file stem of a method stands as a string in the code that runs every method."""
    stems = {name.split(".")[-1] for name in MODULES if re.match(r"(baselines|structgan\.methods)\.[a-z]", name)}
    assert {"structural", "simclr"} <= stems
    for name in [*modules("method", "train", "cli", "sources", "config", "grid", "plan"), *modules("training")]:
        nodes = ast.walk(ast.parse(MODULES[name].read_text()))
        assert not {node.value for node in nodes if isinstance(node, ast.Constant)} & stems, name


@pytest.mark.parametrize("path", WORKFLOW, ids=lambda path: path.name)
def test_rules_import_only_what_plans(path):
    text = path.read_text()
    lines = re.findall(r"^[ \t]*((?:from[ \t]+\S+[ \t]+)?import[ \t]+.+)$", text, re.MULTILINE)
    names = imported(node for line in lines for node in ast.parse(line).body)
    planning = {f"structgan.{name}" for name in ("config", "plan", "sources", "errors", "provenance", "evaluation")}
    assert names <= {*planning, *sys.stdlib_module_names, *(["snakemake"] if path.name == "Snakefile" else [])}
    assert not re.search(r"^\s*(script|run|notebook):", text, re.MULTILINE) and not re.search(r"\bdvc\b", text)


@pytest.mark.parametrize("verb", ["methods", "configure"])
def test_light_verbs_really_import_nothing_heavy(tmp_path, command, verb):
    done = command("-X", "importtime", "-m", "structgan", verb, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "structgan.cli" in names
    heavy = HEAVY - ({"jsonschema"} if verb == "configure" else set())
    assert not {name.split(".")[0] for name in names} & heavy
