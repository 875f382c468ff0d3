"""Who may import whom, as the syntax trees say; what must stay light; and what must be nowhere in the tree."""

from __future__ import annotations

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
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "a relative import, which the digest of the sources does not follow"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
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
LIGHT = {"", "arguments", "builders", "cleanup", "config", "errors", "evaluation", "files", "grid", "new", "plan"}
LIGHT |= {"provenance", "sources", "states", "status", "sweep"}
"""Planning and overviews: no torch, and nothing of structgan that brings it."""
NETWORKS = {
    "augment",
    "losses",
    "models",
    "methods",
    "method",
    "objectives",
    "optim",
    "gan",
    "precision",
    "distributed",
}
"""What a method is made of: pure functions, networks and the contract."""
WHOLE = {"cli", "__main__", "train", "training", "evaluate", "report", "testing", "harness", "verify"}
"""What brings the parts together; nothing of ``LIGHT`` and ``NETWORKS`` imports it."""


def part(name):
    """structgan.losses.gaussian is of the part losses; an evaluation's module is of ``evaluations``."""
    _, first, second = [*name.split("."), "", ""][:3]
    return "evaluations" if first == "evaluation" and second not in ("", "limits") else first


def ours_of(name):
    """The parts of structgan that a module imports, anywhere in it."""
    return {part(other) for other in ANYWHERE[name] if other.split(".")[0] == "structgan"}


OURS = [name for name in MODULES if name.split(".")[0] == "structgan"]


@pytest.mark.parametrize("name", OURS)
def test_structgan_imports_downwards_only(name):
    assert not any(other.split(".")[0] == "baselines" for other in ANYWHERE[name])
    mine, others = part(name), ours_of(name)
    if mine in LIGHT:
        assert others <= LIGHT or mine == "arguments"  # which asks torch for a GPU when a verb runs
    if mine in NETWORKS:
        assert others <= NETWORKS | {"errors", "files", "provenance", "sources", "datasets"}
    if mine == "report":
        assert others <= LIGHT | {"report"}


def test_no_import_goes_in_a_circle():
    done, path = set(), []

    def visit(name):
        assert name not in path, f"circle: {' → '.join([*path, name])}"
        if name in done or name not in AT_START:
            return
        path.append(name)
        for other in sorted(AT_START[name]):
            if other != name:
                visit(other)
        done.add(path.pop())

    for name in AT_START:
        visit(name)
    assert len(done) == len(MODULES)


BASELINES = [name for name in MODULES if name.startswith("baselines.")]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_imports_no_other_baseline(name):
    assert not any(other.split(".")[0] == "baselines" for other in ANYWHERE[name])
    assert ours_of(name) <= NETWORKS | {"errors", "files", "provenance", "sources", "datasets", "progress"}


def test_the_loop_and_the_suite_name_no_method():
    """No file stem of a method stands as a string or an imported name in the code that runs every method."""
    stems = {name.split(".")[-1] for name in MODULES if re.match(r"(baselines|structgan\.methods)\.[a-z]", name)}
    assert {"structural", "simclr"} <= stems
    loop = ("method", "train", "training.checkpoint", "training.upstream")
    for name in (*loop, "cli", "sources", "config", "grid", "plan"):
        tree = ast.parse(MODULES[f"structgan.{name}"].read_text())
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not strings & stems, name


def reachable(name):
    """All that is imported when a module is, directly or not."""
    seen, todo = set(), [name]
    while todo:
        now = todo.pop()
        if now not in seen:
            seen.add(now)
            parents = [".".join(now.split(".")[:i]) for i in range(1, now.count(".") + 1)]
            todo += [other for other in [*AT_START.get(now, ()), *parents] if other not in seen]
    return seen


HEAVY = {"torch", "torchvision", "sklearn", "scipy", "numpy", "pandas", "matplotlib", "seaborn", "lightly"}
HEAVY |= {"torch_fidelity", "safetensors", "snakemake", "dvc", "rich", "PIL", "jsonschema"}


@pytest.mark.parametrize("name", [*sorted(LIGHT - {""}), "cli"])
def test_planning_and_the_command_line_start_light(name):
    assert not reachable(f"structgan.{name}") & HEAVY


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("structgan.report")])
def test_the_report_needs_no_torch(name):
    assert "torch" not in ANYWHERE[name] and "torch" not in reachable(name)


def test_python_imports_neither_snakemake_nor_dvc():
    assert not any({"snakemake", "dvc"} & names for names in ANYWHERE.values())


@pytest.mark.parametrize("path", WORKFLOW, ids=lambda path: path.name)
def test_rules_import_only_what_plans(path):
    text = path.read_text()
    lines = re.findall(r"^[ \t]*(?:from[ \t]+\S+[ \t]+import[ \t]+.+|import[ \t]+.+)$", text, re.MULTILINE)
    names = set().union(*(imported(ast.parse(line.strip()).body) for line in lines)) if lines else set()
    ours = {name for name in names if name.split(".")[0] == "structgan"}
    planning = ("config", "plan", "sources", "errors", "provenance", "evaluation")
    assert ours <= {f"structgan.{name}" for name in planning}
    others = names - ours - ({"snakemake"} if path.name == "Snakefile" else set())
    assert others <= set(sys.stdlib_module_names)
    assert not re.search(r"^\s*(script|run|notebook):", text, re.MULTILINE) and not re.search(r"\bdvc\b", text)


@pytest.mark.parametrize(
    "arguments", [["-m", "structgan", "--help"], ["-m", "structgan", "methods"], ["-m", "structgan", "configure"]]
)
def test_light_verbs_really_import_nothing_heavy(tmp_path, command, arguments):
    done = command("-X", "importtime", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "structgan.cli" in names and "click" in names
    heavy = HEAVY - ({"jsonschema"} if arguments[-1] == "configure" else set())
    assert not {name.split(".")[0] for name in names} & heavy


def test_the_report_really_imports_no_torch(tmp_path, command):
    modules = [name for name in MODULES if name.startswith("structgan.report.")]
    done = command("-c", f"import sys, {', '.join(modules)}; print('torch' in sys.modules)", cwd=tmp_path)
    assert done.stdout == "False\n", done.stderr
