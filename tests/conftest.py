"""Shared fixtures: tiny real data and suites, run folders with a real config.json, the tree copied, real commands."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: bit-identical sums, and no fight for cores
os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported: kernels run on the CPU

import copy
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from benchmarks.settings import shrink
from structgan import config, datasets, sources, train
from structgan.grid import Grid

pytest.register_assert_rewrite("gradcheck", "refusal")
pytest_plugins = ["fault_runs"]

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--write-goldens", action="store_true", help="Record tests/goldens again.")


def pytest_collection_modifyitems(items):
    """The longest files come first, so that no worker is left with one of them when the others are done."""
    longest = ("test_dvc.py", "test_machines.py", "test_whole_run.py", "test_contract.py", "test_planning.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(scope="session")
def demo():
    """The demo's configuration, checked, with the methods' settings shrunk and a data set of 200 images.

    The settings are those that the trials of selection.yaml started from: what these choose changes no golden.
    """
    small = [ROOT / f"workflow/config/{name}.yaml" for name in ("demo", "field", "selection")]
    tiny = config.load(small[:1]) | {"methods": config.load(small[:2])["methods"]}
    started = config.load(small)["methods"]
    for name, block in tiny["methods"].items():
        block["settings"] = shrink(started[name]["settings"])
        for own in (each.get("training", {}) for each in (block, *block.get("variants", {}).values())):
            own.pop("batch_size", None)
            if own.get("steps"):  # an untrained encoder keeps its 0
                del own["steps"]
    tiny["datasets"]["digits_gradient"] |= {"train_size": 200, "test_size": 40}
    tiny["grid"] = [block | {"datasets": ["digits_gradient"]} for block in tiny["grid"]]
    tiny["evaluation"]["fidelity"] |= {"kid_subset_size": 50}
    tiny["training"] |= {"batch_size": 16, "steps": 6, "log_every": 2, "save_every": 2}
    tiny["training"] |= {"online_probe": None, "curve": None}
    config.check(tiny, [])
    return tiny


@pytest.fixture(scope="session")
def base():
    """The configuration of the paper, as it is without any file of a user."""
    return config.load([])


@pytest.fixture
def doubles():
    """Everything in float64, so that two ways to the same gradient agree to many digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def user_file(tmp_path):
    """Writes a configuration file of a user."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def prepare(tmp_path):
    """Build with the given settings and load the result, verified."""

    def run(**settings):
        out = tmp_path / "prepared" / "set.safetensors"
        datasets.prepare(settings, out, tmp_path / "raw")
        return datasets.load(out, verify=True)

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory, demo):
    """A prepared data set of 200 training and 40 test images of 16×16 pixels."""
    out = tmp_path_factory.mktemp("data") / "digits.safetensors"
    datasets.prepare({"name": "digits_gradient", **demo["datasets"]["digits_gradient"]}, out, out.parent)
    return out


@pytest.fixture(scope="session")
def upstream_run(tmp_path_factory):
    """Trains the run that others depend on, once for each identity and data set, and returns its folder."""
    folders = {}

    def trained(described, data):
        key = described["identity"], data
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("upstream")
            (folders[key] / "config.json").write_text(json.dumps(described))
            train.run(folders[key], data)
        return folders[key]

    return trained


@pytest.fixture(scope="session")
def write_run(demo, digits, upstream_run):
    """Writes a run's folder with its real config.json; keywords change its settings or its training.

    Where the run depends on another one, that one is trained first, on ``data``, and lies elsewhere than planned.
    """

    def make(path, method, variant="base", augmentation="none", settings=None, seed=3, data=digits, **training):
        changed = copy.deepcopy(demo)
        block = changed["methods"].setdefault(method, {"settings": {}})
        block["settings"] = config.merge(block["settings"], settings or {})
        block["training"] = {**block.get("training", {}), **training}
        names = {
            "dataset": "digits_gradient",
            "method": method,
            "augmentation": augmentation,
            "variant": variant,
            "seed": seed,
        }
        run = Grid(changed).run(**names)
        described = copy.deepcopy(run.content)
        if run.upstream:
            described["upstream"]["run"] = str(upstream_run(run.upstream.content, data))
            content = {key: value for key, value in described.items() if key != "identity"}
            described["identity"] = sources.fingerprint(content)
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(described))
        return path

    return make


@pytest.fixture
def make_run(write_run, tmp_path):
    """Writes the folder of one run below a test's own folder, see ``write_run``."""

    def make(method, variant="base", folder="run", **changes):
        return write_run(tmp_path / folder, method, variant, **changes)

    return make


@pytest.fixture(scope="session")
def halves(tmp_path_factory):
    """A tree with a data set, a trained extractor and finished runs; tests copy what they change."""
    from evaluated_tree import Tree  # here, for it brings torch-fidelity

    return Tree.write(tmp_path_factory.mktemp("halves"))


@pytest.fixture(scope="session")
def copy_tree():
    """Copies the sources and the configuration to a folder, so that a test may add to them or edit them."""

    def make(to):
        skip = shutil.ignore_patterns("__pycache__")
        for name in ("structgan", "baselines", "workflow", "docs", "tests"):
            shutil.copytree(ROOT / name, to / name, ignore=skip)
        return to

    return make


@pytest.fixture(scope="session")
def command():
    """Runs Python as a user would, on the tree at ``root`` and in the folder ``cwd``; the result is not checked."""

    def run(*arguments, cwd, root=ROOT, before=(), timeout=120):
        return subprocess.run(
            [*before, sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def refusal():
    """The one line of a command that was refused: exit code 2, no traceback; other lines are the log's."""

    def line(done):
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("structgan: ") and done.stderr.count("structgan: ") == 1, done.stderr
        return last

    return line
