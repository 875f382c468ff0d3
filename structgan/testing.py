"""The contract of a method, as checks that say what is wrong and what to write instead.

``structgan check NAME`` runs them on one method, and the tests run them on every method. A check takes a ``Harness``
and returns a remark, or None if it does not apply. It raises ``ContractError`` if the method breaks the contract.
"""

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from structgan import config as configuration
from structgan import reads, sources, train
from structgan.datasets import store
from structgan.files import load_tensors, read_json, save_tensors
from structgan.harness import ContractError, Harness, changed, fingerprints, require, unchanged, unsaved
from structgan.method import Method, find, load_run, published_files
from structgan.training import checkpoint

TOLERANCE = 1e-3
"""Relative and absolute, for losses of several processes against those of one."""


def check_class(harness: Harness) -> str:
    """The file defines one class, and the planner, which does not import it, reads the same from its text."""
    kind, read = find(harness.name), sources.capabilities(harness.name)
    require(kind.__doc__, f"class {kind.__name__} has no docstring: describe the method and cite its paper")
    views = f"views is {kind.views!r}: set it to the number of views of each image that step() takes"
    require(isinstance(kind.views, int) and kind.views > 0, views)
    for trait, found in read.items():
        actual = hasattr(kind, "sample") if trait == "samples" else getattr(kind, trait)
        problem = f"{trait} is {actual}, but the planner, which does not import the file, reads {found}"
        require(found == actual, f"{problem}: define it in the body of class {kind.__name__} itself")
    return ", ".join([f"class {kind.__name__}", f"views = {kind.views}", *(trait for trait in read if read[trait])])


def check_settings(harness: Harness) -> str:
    """The configuration has a block for the method, and the class can be built from it."""
    files = " + ".join(configuration.short(file) for file in harness.files)
    missing = f"the configuration has no block methods.{harness.name} ({files}): add one, and pass it as --configfile"
    require(harness.name in harness.config["methods"], missing)
    run = harness.start("settings")
    for path in published_files(run.folder, harness.name):
        run.method.network(path.stem)
    schema = configuration.SCHEMAS / "methods" / f"{harness.name}.yaml"
    return "" if schema.exists() else f"types and ranges are not checked, without {configuration.short(str(schema))}"


@torch.no_grad()
def check_features(harness: Harness) -> str:
    """``encode`` returns (N, D), the same each time, where each row depends on one image, and changes nothing."""
    method, images = harness.start("features").method.eval(), harness.images()
    torch.manual_seed(0)
    with unchanged(method, "encode()"):
        features = method.encode(images)
    require(torch.equal(images, harness.images()), "encode() changes its images: work on a copy of them")
    shape = tuple(features.shape)
    require(len(shape) == 2 and shape[0] == 7, f"encode() returns {shape} for 7 images: return shape (N, D)")
    require(features.dtype == torch.float32, f"encode() returns {features.dtype}: convert it to torch.float32")
    require(features.isfinite().all(), "encode() returns values that are not finite: look for a division or log")
    torch.manual_seed(1)
    require(torch.equal(features, method.encode(images)), "encode() is not deterministic: remove its random numbers")
    alone = torch.allclose(features[:3], method.encode(images[:3]), atol=1e-5)
    require(alone, "encode() of an image depends on the other images of the batch: use batch statistics in step()")
    return f"(N, {shape[1]}), each row from one image"


def check_samples(harness: Harness) -> str | None:
    """``sample`` returns images in [-1, 1] from the generator that it is given, and changes nothing."""
    method, shape = harness.start("samples").method.eval(), tuple(harness.images(6).shape)
    if not hasattr(method, "sample"):
        return None

    def sample(seed: int) -> Any:
        return method.sample(6, torch.Generator().manual_seed(seed))  # type: ignore[operator]

    torch.manual_seed(0)
    with unchanged(method, "sample()"):
        images = sample(1)
    require(images.shape == shape, f"sample(6, generator) returns {tuple(images.shape)}: return {shape}")
    require(not images.requires_grad, "sample() returns a graph: use torch.no_grad()")
    low, high = float(images.min()), float(images.max())
    require(-1 <= low <= high <= 1, f"sample() returns values from {low:.3g} to {high:.3g}: keep them in [-1, 1]")
    require((images.std(0) > 0).any(), "sample() repeats one image: draw a latent for each from `generator`")
    seeded = torch.equal(images, sample(1)) and not torch.equal(images, sample(2))
    require(seeded, "sample() draws from other random numbers than `generator`: pass generator=generator")
    return f"{shape} in [{low:.2f}, {high:.2f}]"


def two_steps(harness: Harness, run: train.Run) -> list[dict[str, Tensor]]:
    """What the first two steps of a run return."""
    method, returned = run.method.train(), []
    unlabelled = " with labels=None, because the class does not declare uses_labels = True,"
    with harness.attempt(f"step(){'' if method.uses_labels else unlabelled}"):
        for method.step_index in range(2):
            views, labels = next(run.batches)
            returned.append(method.step(views, labels if method.uses_labels else None))
    return returned


def check_learning(harness: Harness) -> str:
    """Two steps return detached finite scalars and change every parameter of the encoder, unless ``steps`` is 0."""
    run = harness.start("learning")
    before = fingerprints(dict(run.method.encoder.named_parameters()))
    first, second = two_steps(harness, run)
    named = isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys()
    require(named, 'step() must return its losses by name, the same names in each step: {"loss": loss.detach()}')
    for name, loss in [*first.items(), *second.items()]:
        shape = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"as {type(loss).__name__}"
        scalar = isinstance(loss, Tensor) and loss.shape == ()
        require(scalar, f"step() returns '{name}' {shape}, not as a scalar tensor: return its mean")
        require(not loss.requires_grad, f"step() returns '{name}' with its graph: return {name}.detach()")
        require(loss.isfinite(), f"step() returns '{name}' = {float(loss)}: look for a division, logarithm or root")
    moved = changed(before, fingerprints(dict(run.method.encoder.named_parameters())))
    for name in before if run.training["steps"] else ():
        fix = "make the loss depend on it, and pass self.encoder.parameters() to an optimizer"
        require(name in moved, f"`{name}` of self.encoder does not change in two steps: {fix}")
    return ", ".join(f"{name} {float(value):.3g}" for name, value in second.items())


def check_randomness(harness: Harness) -> str:
    """``step`` draws from the run's generator; only dropout, which takes no generator, may use the global one."""
    run = harness.start("randomness")
    before = fingerprints(checkpoint.random_state("cpu"))
    two_steps(harness, run)
    used = changed(before, fingerprints(checkpoint.random_state("cpu")))
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p for module in run.method.modules()):
        used = [name for name in used if name != "torch"]
    fix = "use self.noise(n, ...) or generator=self.rng"
    require(not used, f"step() draws from the global random generator of {', '.join(used)}: {fix}")
    return "from self.rng, and for dropout from PyTorch's own generator"


def check_labels(harness: Harness) -> str:
    """Training on other labels gives other weights if, and only if, the class declares ``uses_labels``."""
    tensors, metadata = load_tensors(harness.data)
    tensors["train/labels"] = (tensors["train/labels"] * 3 + 1) % (int(tensors["train/labels"].max()) + 1)
    relabelled = Path("relabelled.safetensors")
    save_tensors(relabelled, tensors, {**metadata, "content_hash": store.content_hash(tensors)})
    runs = [harness.fit(data.stem, data=data) for data in (harness.data, relabelled)]
    depends = changed(*(fingerprints(run.method.state_dict()) for run in runs))
    declared = runs[0].method.uses_labels
    require(declared or not depends, "the weights depend on the labels: declare uses_labels = True")
    require(depends or not declared, "uses_labels is True, but the weights do not depend on the labels: remove it")
    return "used, as declared" if declared else "not used"


@torch.no_grad()
def outputs(harness: Harness, method: Method) -> dict[str, Tensor]:
    """Features and samples, by the network that they come from."""
    found = {"encoder": method.encode(harness.images())}
    if hasattr(method, "sample"):
        found["generator"] = method.sample(3, torch.Generator().manual_seed(1))  # type: ignore[operator]
    return found


def check_resume(harness: Harness) -> str:
    """A run that resumes at step 4 of 6 ends bit for bit as one that did not stop; if not, what was lost is named."""
    options: dict[str, Any] = {"steps": 6, "online_probe": None}
    whole = harness.start("resume", **options)
    planned, whole.training = whole.training, {**whole.training, "steps": 4}
    whole.fit()  # ends with a saved state, as an interruption does
    state = whole.states.path.read_bytes()
    kept, whole.training = unsaved(whole.method), planned
    whole.fit()
    whole.states.path.write_bytes(state)
    resumed = harness.start("resume", **options)
    resumed.resume()
    require(resumed.step == 4, "the state of step 4 cannot be loaded: build the same networks each time")
    lost = ", ".join(f"`{name}`" for name in changed(kept, unsaved(resumed.method)) if name in kept)
    torch.manual_seed(999)
    differences = ["its course"]
    with contextlib.suppress(*[Exception] * bool(lost)):  # it may fail without what was lost
        resumed.fit()
        differences = changed(outcome(whole), outcome(resumed))
    what = f"{lost} is not saved, and lost on resume" if lost else f"a resumed run differs in {differences[:1]}"
    fix = "use self.register_buffer, nn.ModuleList, an optimizer attribute, self.step_index or self.rng"
    require(not differences, f"{what}: {fix}")
    return "bit-identical after a stop at step 4" + (f"; not saved, without effect: {lost}" if lost else "")


def outcome(run: train.Run) -> dict[str, Any]:
    """Fingerprints of a run's weights, buffers, optimizers and losses."""
    losses = [record["losses"] for record in run.history.records]
    return fingerprints({**run.method.state_dict(), **run.method.optimizers(), "history": losses})


def check_published(harness: Harness) -> str:
    """A finished run that is loaded from its files is frozen and gives the same features and samples."""
    run = harness.fit("published")
    run.publish()
    loaded = load_run(run.folder, run.dataset.content_hash)
    frozen = not loaded.training and not any(weight.requires_grad for weight in loaded.parameters())
    require(frozen, "a loaded run is not frozen in evaluation mode: call super() in train() and requires_grad_()")
    for network in changed(*(fingerprints(outputs(harness, method)) for method in (run.method.eval(), loaded))):
        raise ContractError(f"the {network}'s outputs need more than self.{network}, which alone is published for them")
    return ", ".join(path.name for path in published_files(run.folder, harness.name))


def check_trainings(harness: Harness) -> str:
    """The method trains under every augmentation that its block does not exclude, and with each of its variants."""
    for name in harness.augmentations:
        with harness.attempt(f"training under augmentation '{name}' (or declare not_applicable: {{{name}: why}})"):
            harness.fit(f"augmentation-{name}", augmentation=name)
    for name in harness.block.get("variants", {}):
        with harness.attempt(f"training variant '{name}'"):
            harness.fit(f"variant-{name}", variant=name)
    return ", ".join([*harness.augmentations, *harness.block.get("variants", {})])


def check_unread(harness: Harness) -> str:
    """The checks before this one read every setting, of the base or of a variant: a mistyped one would be silent."""
    unread = reads.unread(harness.block, harness.seen)
    require(not unread, f"its runs never read the setting {', '.join(unread)}: correct its name, use it, or delete it")
    return "every setting is read"


def check_processes(harness: Harness) -> str | None:
    """A run on several processes, started by torchrun as in the workflow, has the losses of a run on one."""
    size = harness.processes
    if size == 1:
        return None
    alone, together = (harness.start(f"processes-{n}", steps=3, log_every=1) for n in (1, size))
    alone.fit()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m", "--"]
    command += ["structgan", "train", "--run", str(together.folder), "--data", str(harness.data)]
    path = os.pathsep.join([str(sources.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    reasons = [line for line in done.stderr.splitlines() if line.startswith("structgan") or "Error: " in line]
    require(done.returncode == 0, f"training on {size} processes fails: {''.join(reasons[:1])[:300]}")
    records = read_json(together.folder / "history.json")["records"]
    for one, several in zip(alone.history.records, records, strict=True):
        for name, value in one["losses"].items():
            other = several["losses"][name]
            problem = f"value '{name}' of step {one['step']} is {other:.5g} on {size} processes, {value:.5g} on one"
            fix = "gather what it compares with distributed.gather(z), and draw with self.noise(n, ...)"
            require(math.isclose(value, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE), f"{problem}: {fix}")
    return f"the losses of 3 steps on {size} processes are those on one"


CHECKS = {name.removeprefix("check_"): each for name, each in list(globals().items()) if name.startswith("check_")}
"""Every check by its name, in the order of this file."""
