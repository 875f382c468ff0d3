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
IDENTITY = {"identity"} | {f"identity.{name}" for name in ("claims", "protocol", "seal", "stamps", "standing", "times")}
OVERVIEW = {"overview"} | {f"overview.{name}" for name in ("collect", "judge", "queue", "status")}
TRAINING = {"training.batches", "training.checkpoint", "training.health", "training.heartbeat", "training.history"}
TRAINING |= {"training.lock", "training.online_probe", "training.preempt", "training.processes", "training.randomness"}
TRAINING |= {"training.upstream"}
LIGHT = (
    {"builders", "errors", "sources", "sweep", "cells", "config", "plan", "published", "files", "regime"}
    | IDENTITY
    | OVERVIEW
)
ALLOWED = {
    **{name: set() for name in ("", "errors", "progress", "precision", "identity", "overview", "training")},
    **{name: set() for name in ("identity.claims", "identity.times", "overview.queue")},
    **{name: set() for name in ("training.preempt", "training.randomness")},
    **{name: {"errors"} for name in ("files", "sources", "sweep", "regime")},
    "builders": {"errors", "sources"},
    "parallel": {"errors", "precision"},
    "lars": set(),
    "optim": {"errors", "lars"},
    "cells": {"errors", "sources"},
    "config": {"builders", "errors", "sources", "sweep", "cells"},
    "arguments": {"errors", "environment", "precision"},
    "environment": {"errors", "sources"},
    "identity.seal": {"files"},
    "identity.protocol": {"errors", "files", "sources"},
    "identity.standing": {"errors", "files", "sources"},
    "identity.stamps": {"files", "sources", "identity.standing", "identity.times"},
    "identity.verify": {"errors", "files", "sources", "datasets", "metrics", "progress"}
    | {f"identity.{name}" for name in ("protocol", "seal", "standing", "times")},
    "overview.judge": {"identity.standing"},
    "overview.status": {"errors", "files", "overview.judge", "overview.queue"},
    "overview.collect": {"files", "overview.judge", "identity.claims", "identity.standing"},
    "published": {"errors", "sources", "config"},
    "plan": {"errors", "regime", "sources", "sweep", "cells", "config", "published", "files"}
    | {f"identity.{name}" for name in ("claims", "protocol", "stamps", "standing")},
    "augment": {"augment", "errors", "regime", "parallel"},
    "losses": {"losses", "errors", "parallel", "precision"},
    "models": {"models", "parallel", "precision"},
    "datasets": {"builders", "datasets", "errors", "files", "progress", "sources"},
    "method": {"errors", "files", "sources", "parallel"},
    "objectives": {"errors", "precision", "parallel", "losses", "models"},
    "methods": {"errors", "method", "optim", "precision", "parallel", "losses", "models", "objectives"}
    | {"augment", "datasets"},
    "training.batches": {"errors", "augment", "datasets", "parallel"},
    "training.checkpoint": {"errors", "files", "method"},
    "training.health": {"errors", "method", "parallel"},
    "training.heartbeat": {"errors", "files", "training.lock", "training.preempt"},
    "training.history": {"errors", "parallel", "training.health"},
    "training.lock": {"errors", "files"},
    "training.online_probe": {"datasets", "method", "models", "optim", "precision", "training.processes"},
    "training.processes": {"models", "parallel"},
    "training.upstream": {"errors", "files", "cells", "method", "sources"},
    "train": {"errors", "files", "sources", "method", "augment", "datasets", "environment", "parallel", "progress"}
    | {"precision"}
    | {"identity.seal", *TRAINING},
    "metrics": {"metrics", "errors", "files", "method", "datasets", "models", "environment", "progress"}
    | {"identity.protocol", "identity.seal"},
    "contract": {"contract", "errors", "files", "sources", "config", "plan", "datasets", "method", "train"}
    | {"training.health", "training.randomness"},
    "report": {"report", "errors", "files", "identity.protocol", "identity.seal", "identity.standing"},
    "cli": {"", "arguments", "errors", "files", "sources", "config", "plan", "environment", "datasets", "train"}
    | {"metrics", "report", "contract", "training.preempt", "identity.verify", "overview.collect", "overview.status"},
    "__main__": {"cli"},
}
"""What each part of structgan may import of structgan; "" is the package itself, for its version."""


def part(name):
    """structgan.losses.gaussian is of the part losses, identity.seal of itself: a folder of layers."""
    _, first, second = [*name.split("."), "", ""][:3]
    return f"{first}.{second}" if first in ("identity", "overview", "training") and second else first


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "structgan"])
def test_structgan_imports_downwards_only(name):
    assert part(name) in ALLOWED, f"{name} is new: say in ALLOWED what it may import"
    ours = {other for other in ANYWHERE[name] if other.split(".")[0] == "structgan"}
    assert {part(other) for other in ours} <= ALLOWED[part(name)]
    assert not any(other.split(".")[0] == "baselines" for other in ANYWHERE[name])


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
    ours = {other for other in ANYWHERE[name] if other.split(".")[0] in ("structgan", "baselines")}
    assert all(other.startswith("structgan.") for other in ours)
    assert {part(other) for other in ours} <= ALLOWED["methods"] | {"progress"}


def test_the_loop_and_the_suite_name_no_method():
    """No file stem of a method stands as a string or an imported name in the code that runs every method."""
    stems = {name.split(".")[-1] for name in MODULES if re.match(r"(baselines|structgan\.methods)\.[a-z]", name)}
    assert {"structural", "simclr"} <= stems
    loop = ("method", "train", "training.checkpoint", "training.upstream")
    for name in (*loop, "cli", "sources", "cells", "config", "plan"):
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


@pytest.mark.parametrize("name", [*sorted(LIGHT), "cli"])
def test_planning_and_the_command_line_start_light(name):
    assert not reachable(f"structgan.{name}") & HEAVY
    if name != "cli":
        assert {part(other) for other in reachable(f"structgan.{name}") if other in MODULES} <= LIGHT | {""}


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
    planning = ("config", "plan", "sources", "errors", "identity", "identity.protocol", "identity.standing")
    assert ours <= {f"structgan.{name}" for name in planning}
    others = names - ours - ({"snakemake"} if path.name == "Snakefile" else set())
    assert others <= set(sys.stdlib_module_names)
    assert not re.search(r"^\s*(script|run|notebook):", text, re.MULTILINE) and not re.search(r"\bdvc\b", text)


def test_rules_were_read():
    """The pattern above does find imports: common.smk has the five of structgan."""
    text = (ROOT / "workflow/rules/common.smk").read_text()
    assert len(re.findall(r"^from structgan", text, re.MULTILINE)) == 5 and len(WORKFLOW) >= 6


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
