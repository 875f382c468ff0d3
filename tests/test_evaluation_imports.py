"""Each job imports what it uses: the real verbs on small runs, and what they left unimported."""

from __future__ import annotations

import shutil
from pathlib import Path

import frozen_runs
import pytest

NEVER = {"lightly", "kornia", "matplotlib", "seaborn", "pandas", "snakemake", "dvc", "jsonschema", "torchmetrics"}
UNUSED = {
    "train": NEVER | {"torch_fidelity", "sklearn", "scipy"},
    "probe": NEVER - {"pandas"} | {"torch_fidelity", "torchvision"},  # scikit-learn itself imports pandas
    "fidelity": NEVER | {"sklearn"},
    "dense": NEVER - {"torchmetrics", "pandas", "matplotlib"},  # torchmetrics imports matplotlib and torch-fidelity
    "transfer": NEVER - {"pandas"} | {"torch_fidelity", "torchvision"},
}


def protocol(place: Path, folder: Path, verb: str) -> Path:
    """The protocol of a job on ``place``; a transfer to its own images, for what is imported does not hang on them."""
    blocks = {"dense": frozen_runs.DENSE, "transfer": {"targets": {"halves": ["halves"]}, "resize": False, "data": {}}}
    if verb not in blocks:
        return place / f"{verb}-protocol.json"
    return frozen_runs.planned(folder / f"{verb}.json", verb, **blocks[verb])


@pytest.mark.parametrize("verb", UNUSED)
def test_a_job_imports_only_what_it_uses(place: Path, tmp_path: Path, command, make_run, digits, verb: str) -> None:
    run = tmp_path / "run"
    if verb == "train":
        arguments = ["train", "--run", make_run("structural", steps=1), "--data", digits, "--device", "cpu"]
    else:
        shutil.copytree(place / "plain_gan", run)
        arguments = [verb, "--run", run, "--data", place / "data.safetensors", "--device", "cpu"]
        arguments += ["--protocol", protocol(place, tmp_path, verb)]
        arguments += ["--extractor", place / "extractor.safetensors"] if verb == "fidelity" else []
        arguments += ["--target", place / "data.safetensors"] if verb == "transfer" else []
    done = command("-X", "importtime", "-m", "structgan", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    names = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    packages = {name.split(".")[0] for name in names}
    assert "torch" in packages and not packages & UNUSED[verb]
