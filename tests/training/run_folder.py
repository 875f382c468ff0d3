"""What lies in the folder of a run, read back."""

import json

import torch

from structgan import files, sources, train


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def tensors(path):
    return files.load_tensors(path)[0]


def equal(a, b):
    one, two = tensors(a), tensors(b)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def history(folder):
    records = files.read_json(folder / "history.json")["records"]
    return [(record["step"], record["images"], record["losses"]) for record in records]


def progress(folder):
    """The step that a folder's state file holds, and whether every number in it is finite."""
    values, metadata = files.load_tensors(folder / "state.safetensors")
    loop = dict(dict(json.loads(metadata["tree"])["__dict__"])["loop"]["__dict__"])
    return loop["step"], all(v.isfinite().all() for v in values.values() if v.is_floating_point())


def replan(folder, change):
    """Change a run's config.json as a plan of other settings would: its identity is that of its content."""
    config = files.read_json(folder / "config.json")
    change(config)
    content = {key: value for key, value in config.items() if key != "identity"}
    files.write_json(folder / "config.json", {**content, "identity": sources.fingerprint(content)})


def train_until(folder, data, step):
    """Train a run up to a step and leave it there with its state, as one that was stopped."""
    run = train.Run(folder, data, "cpu")
    run.training = {**run.training, "steps": step}
    run.fit()
