"""The weights that three steps of each method give, recorded: a change of the code must not change its mathematics.

``pytest tests/methods/test_goldens.py --write-goldens`` records them again. Names are recorded to be read and are not
compared, so that a network may be renamed.
"""

import hashlib
import json
import platform
from pathlib import Path

import pytest
import torch

from structgan import sources, train

FILE = Path(__file__).resolve().parent.parent / "goldens" / "methods.json"
STEPS, TOLERANCE, OF_NORMS = 3, 1e-4, 2e-3
"""Of other machines: AVX-512 gave the norm of a gradient 1e-3 from AVX2's. On the recorded machine every bit counts."""


def machine():
    """What floating-point bits depend on: hashes are compared only where this is as recorded."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return {"torch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability(), "cpu": model}


def measure(run):
    """Train a run, then describe its weights: their hash, each network's size, sum and norm, and the losses by step."""
    run.fit()
    digest, networks = hashlib.sha256(), {}
    for name, tensor in run.method.state_dict().items():
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
        networks.setdefault(name.split(".")[0], []).append(tensor.double().flatten())
    weights = {name: torch.cat(tensors) for name, tensors in networks.items()}
    return {
        "sha256": digest.hexdigest(),
        "weights": {name: [len(w), float(w.sum()), float(w.norm())] for name, w in weights.items()},
        "losses": [record["losses"] for record in run.history.records],
    }


def compare(ours, golden, same_machine):
    assert len(ours["losses"]) == len(golden["losses"]) == STEPS
    for step, expected in zip(ours["losses"], golden["losses"], strict=True):
        for (name, golden_loss), loss in zip(expected.items(), step.values(), strict=True):
            near = OF_NORMS if name.startswith("gradient_norm") else TOLERANCE
            assert loss == pytest.approx(golden_loss, rel=near, abs=near), name
    for (size, total, norm), expected in zip(ours["weights"].values(), golden["weights"].values(), strict=True):
        assert size == expected[0]
        assert total == pytest.approx(expected[1], rel=TOLERANCE, abs=TOLERANCE * expected[2])
        assert norm == pytest.approx(expected[2], rel=TOLERANCE)
    if same_machine:
        assert ours["sha256"] == golden["sha256"]


@pytest.mark.parametrize("name", list(sources.methods()))
def test_weights_are_those_recorded(demo, digits, make_run, name, request):
    """Each variant of the method, under the strongest augmentation that applies to it."""
    block = demo["methods"][name]
    augmentation = [key for key in demo["augmentations"] if key not in block.get("not_applicable", {})][-1]
    measured = {}
    for variant in ["base", *block.get("variants", {})]:
        folder = make_run(name, variant, variant, augmentation=augmentation, steps=STEPS, log_every=1)
        measured[f"{name}/{variant}"] = measure(train.Run(folder, digits, "cpu"))
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    if request.config.getoption("--write-goldens"):
        write({**(recorded if recorded.get("machine") == machine() else {}), "machine": machine(), **measured})
        return
    goldens = {key: value for key, value in recorded.items() if key.startswith(f"{name}/")}
    assert measured.keys() == goldens.keys()
    for key, golden in goldens.items():
        compare(measured[key], golden, recorded["machine"] == machine())


def write(content):
    """One line for each run, so that a diff shows which changed."""
    FILE.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in content.items()) + "\n}\n")
