"""The contract of a method, as checks that say what is wrong and what to write instead.

``structgan check NAME`` runs them on one method, and the tests run them on every method. A check takes a ``Harness``
and returns a remark, or None if it does not apply. It raises ``ContractError`` if the method breaks the contract.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from structgan import config as configuration
from structgan import sources, train
from structgan.datasets import store
from structgan.files import load_tensors, read_json, save_tensors
from structgan.harness import ContractError, Harness, changed, explain, fingerprints, require, same, unchanged, unsaved
from structgan.method import Method, find, load_run, published_files
from structgan.training import checkpoint, randomness

STOP, STEPS = 4, 6
"""Where the check of resuming stops, and how far it trains."""
TOLERANCE = 1e-3
"""Relative and absolute, for losses of several processes against those of one."""


def check_class(harness: Harness) -> str:
    """The file defines one class, and the planner, which does not import it, reads the same from its text."""
    with harness.attempt("importing it"):
        kind, read = find(harness.name), sources.capabilities(harness.name)
    name = kind.__name__
    require(kind.__doc__, f"class {name} has no docstring: describe the method and cite its paper")
    views = f"views is {kind.views!r}: set it to the number of views of each image that step() takes"
    require(isinstance(kind.views, int) and kind.views > 0, views)
    for trait, found in read.items():
        actual = hasattr(kind, "sample") if trait == "samples" else getattr(kind, trait)
        fix = "define sample()" if trait == "samples" else f"write {trait} = {actual}"
        problem = f"{trait} is {actual}, but the planner, which does not import the file, reads {found}"
        require(found == actual, f"{problem}: {fix} in the body of class {name} itself")
    capabilities = [trait.replace("_", " ") for trait, found in read.items() if found]
    return ", ".join([f"class {name}", f"{kind.views} view{'s' * (kind.views > 1)}", *capabilities])


def check_settings(harness: Harness) -> str:
    """The configuration has a block for the method, and the class can be built from it."""
    files = " + ".join(configuration.short(file) for file in harness.files)
    missing = f"the configuration has no block methods.{harness.name} ({files}): add one, and pass it as --configfile"
    require(harness.name in harness.config["methods"], missing)
    method = harness.start("settings").method
    for name in ("encoder", *["generator"] * hasattr(method, "sample")):
        kept = [network for network, _ in method.named_children() if network in (name, f"{name}_ema")]
        require(kept, f"self.{name} is not a network: assign the one that is saved and evaluated in __init__")
    schema = configuration.SCHEMAS / "methods" / f"{harness.name}.yaml"
    size = f"encoder with {sum(weight.numel() for weight in method.encoder.parameters()):,} parameters"
    return size if schema.exists() else f"{size}; mistyped keys pass, without {configuration.short(str(schema))}"


@torch.no_grad()
def check_features(harness: Harness) -> str:
    """``encode`` returns (N, D), the same each time, where each row depends on one image, and changes nothing."""
    method, images = harness.start("features").method.eval(), harness.images()
    with harness.attempt("encode()"):
        torch.manual_seed(0)
        with unchanged(method, "encode()"):
            features = method.encode(images)
        require(torch.equal(images, harness.images()), "encode() changes its images: work on a copy of them")
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        rows = isinstance(features, Tensor) and features.ndim == 2 and len(features) == len(images)
        require(rows, f"encode() returns {shape} for {len(images)} images: return shape (N, D), one row per image")
        require(features.dtype == torch.float32, f"encode() returns {features.dtype}: convert it to torch.float32")
        require(features.isfinite().all(), "encode() returns values that are not finite: look for a division or log")
        torch.manual_seed(1)
        repeated, part = method.encode(images), method.encode(images[:3])
        require(torch.equal(features, repeated), "encode() is not deterministic: remove its random numbers")
        alone = torch.allclose(features[:3], part, atol=1e-5)
        require(alone, "encode() of an image depends on the other images of the batch: use batch statistics in step()")
    return f"(N, {features.shape[1]}), each row from one image"


def check_samples(harness: Harness) -> str | None:
    """``sample`` returns images in [-1, 1] from the generator that it is given, and changes nothing."""
    method = harness.start("samples").method.eval()
    if not hasattr(method, "sample"):
        return None
    shape = (6, *harness.shape)

    def sample(seed: int, global_seed: int) -> Tensor:
        torch.manual_seed(global_seed)
        images: Tensor = method.sample(6, torch.Generator().manual_seed(seed))  # type: ignore[operator]
        return images

    with harness.attempt("sample()"):
        with unchanged(method, "sample()"):
            images = sample(1, global_seed=0)
        require(tuple(images.shape) == shape, f"sample(6, generator) returns {tuple(images.shape)}: return {shape}")
        require(not images.requires_grad, "sample() returns a graph: use torch.no_grad()")
        low, high = float(images.min()), float(images.max())
        require(-1 <= low <= high <= 1, f"sample() returns values from {low:.3g} to {high:.3g}: keep them in [-1, 1]")
        require((images.std(0) > 0).any(), "sample() repeats one image: draw a latent for each from `generator`")
        repeated = torch.equal(images, sample(1, global_seed=5))
        require(repeated, "sample() draws from other random numbers than `generator`: pass generator=generator")
        other = torch.equal(images, sample(2, global_seed=0))
        require(not other, "sample() does not depend on `generator`: pass generator=generator")
    return f"(n, {', '.join(map(str, shape[1:]))}) in [{low:.2f}, {high:.2f}]"


def check_learning(harness: Harness) -> str:
    """Two steps return detached finite scalars and change every parameter of the encoder; ``steps: 0`` changes none."""
    run = harness.start("learning")
    before = fingerprints(dict(run.method.encoder.named_parameters()))
    given = (
        "" if run.method.uses_labels else " with labels=None, because the class does not declare uses_labels = True,"
    )
    with harness.attempt(f"step(){given}"):
        returned = [step(run, index) for index in range(2)]
    planned = run.training["steps"]
    for losses in returned:
        named = isinstance(losses, dict) and (losses or not planned) and losses.keys() == returned[0].keys()
        require(named, 'step() must return its losses by name, the same names in each step: {"loss": loss.detach()}')
        for name, loss in losses.items():
            shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            scalar = isinstance(loss, Tensor) and loss.shape == ()
            require(scalar, f"step() returns '{name}' as {shape}, not as a scalar tensor: return its mean")
            require(not loss.requires_grad, f"step() returns '{name}' with its graph: return {name}.detach()")
            require(loss.isfinite(), f"step() returns '{name}' = {float(loss)}: look for a division, logarithm or root")
    moved = changed(before, fingerprints(dict(run.method.encoder.named_parameters())))
    if not planned:
        require(not moved, "step() changes self.encoder, although the configuration sets training.steps = 0")
        return "training.steps is 0, and step() does not change the encoder"
    fix = "make the loss depend on it, and pass self.encoder.parameters() to an optimizer"
    require(moved, f"no parameter of self.encoder changes in two steps: {fix}")
    for name in before:
        require(name in moved, f"`{name}` of self.encoder does not change in two steps: {fix}")
    return ", ".join(f"{name} {float(value):.3g}" for name, value in returned[-1].items())


def step(run: train.Run, index: int = 0) -> dict[str, Tensor]:
    """One step on the run's next batch."""
    method = run.method.train()
    method.step_index = index
    views, labels = next(run.batches)
    return method.step(views, labels if method.uses_labels else None)


def check_labels(harness: Harness) -> str:
    """Training on other labels gives other weights if, and only if, the class declares ``uses_labels``."""
    tensors, metadata = load_tensors(harness.data)
    tensors["train/labels"] = (tensors["train/labels"] * 3 + 1) % (int(tensors["train/labels"].max()) + 1)
    relabelled = Path("relabelled.safetensors")
    save_tensors(relabelled, tensors, {**metadata, "content_hash": store.content_hash(tensors)})

    def weights(tag: str, data: Path) -> dict[str, Any]:
        return fingerprints(harness.fit(tag, data=data).method.state_dict())

    original = weights("labels", harness.data)
    names, declared = changed(original, weights("relabelled", relabelled)), find(harness.name).uses_labels
    if names and not declared and changed(original, weights("labels-again", harness.data)):
        return "cannot be checked: two trainings with one seed differ"
    for name in names:
        require(declared, f"`{name}` depends on the labels: declare uses_labels = True")
    require(names or not declared, "uses_labels is True, but the weights do not depend on the labels: remove it")
    return "used, as declared" if names else "not used"


def check_randomness(harness: Harness) -> str:
    """``step`` draws from the run's generator; only dropout, which takes no generator, may use the global one."""
    run = harness.start("randomness")
    before = fingerprints(randomness.state("cpu"))
    with harness.attempt("step()"):
        step(run)
    moved = changed(before, fingerprints(randomness.state("cpu")))
    dropout = any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p for module in run.method.modules())
    if moved == ["torch"] and dropout:
        return "dropout uses PyTorch's global generator, which is saved with the run"
    libraries = {"torch": "PyTorch", "numpy": "NumPy", "python": "Python"}
    for name in moved:
        fix = "use self.noise(n, ...) or generator=self.rng"
        raise ContractError(f"step() draws from the global random generator of {libraries[name]}: {fix}")
    return "from self.rng only"


def check_modes(harness: Harness) -> str:
    """Networks with an optimizer train in training mode, the others, such as moving averages, in evaluation mode."""
    method = harness.fit("modes").method.train()
    groups = [group for optimizer in method.optimizers().values() for group in optimizer.param_groups]
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    for name, module in method.named_modules():
        own = {id(parameter) for parameter in module.parameters()}
        if own and trained:
            fix = "use memory.frozen_copy or requires_grad_(False)"
            require(not module.training or own & trained, f"`{name}` has no optimizer, but is in training mode: {fix}")
            frozen = f"`{name}` has an optimizer, but is in evaluation mode: do not change its mode"
            require(module.training or not own & trained, frozen)
    averages = any(not module.training for module in method.modules())
    if hasattr(method, "sample"):
        fix = "publish moving averages in evaluation mode"
        with harness.attempt("encode() or sample() in training mode"):
            with unchanged(method, "encode() or sample() in training mode"):
                training = outputs(harness, method)
            evaluation = outputs(harness, method.eval())
            require(same(training, evaluation), f"encode() or sample() differs in training mode: {fix}")
    return "averages in evaluation mode, the rest in training mode" if averages else "all networks in training mode"


@torch.no_grad()
def outputs(harness: Harness, method: Method) -> dict[str, Tensor]:
    """Features and samples, by the network that they come from."""
    found = {"encoder": method.encode(harness.images())}
    if hasattr(method, "sample"):
        found["generator"] = method.sample(3, torch.Generator().manual_seed(1))  # type: ignore[operator]
    return found


def check_resume(harness: Harness) -> str:
    """A run that stops at step 4 of 6 and resumes is bit for bit the same as one that does not stop.

    If it is not, the attributes are named that training changed and that the resumed run has lost.
    """
    options: dict[str, Any] = {"steps": STEPS, "online_probe": None}
    with harness.attempt("training"):
        whole = harness.start("resume", **options)
        planned, whole.training = whole.training, {**whole.training, "steps": STOP}
        whole.fit()  # ends with a saved state, as an interruption does
        middle, kept = outcome(whole), unsaved(whole.method)
        before = fingerprints(kept)
        whole.training = planned
        whole.fit()
    end = outcome(whole)
    (whole.folder / checkpoint.NEWEST).unlink()  # the state of step 4 lies beside it
    resumed = harness.start("resume", **options)
    torch.manual_seed(999)
    with harness.attempt("resuming"):
        resumed.resume()
        require(resumed.step == STOP, f"the state of step {STOP} cannot be loaded: build the same networks each time")
        lost = [name for name in changed(before, fingerprints(unsaved(resumed.method))) if name in kept]
        reasons = "; ".join(explain(name, kept[name], whole.method) for name in lost)
        try:
            resumed.fit()
        except Exception:
            require(not lost, reasons)
            raise
    if differences := changed(end, outcome(resumed)):
        fix = "keep state in buffers and optimizers of the method, and draw from self.rng"
        raise ContractError(reasons or f"a resumed run differs in `{differences[0]}`: {fix}")
    stuck = bool(whole.method.optimizers()) and changed(middle, end) == ["history"]
    require(not stuck, f"steps {STOP + 1} to {STEPS} change no weight: check the learning rate")
    remark = f"; not saved, without effect: {', '.join(lost)}" if lost else ""
    return f"bit-identical after a stop at step {STOP} of {STEPS}{remark}"


def outcome(run: train.Run) -> dict[str, Any]:
    """Fingerprints of a run's weights, buffers, optimizers and losses."""
    optimizers = {f"optimizer {name}": value.state_dict() for name, value in run.method.optimizers().items()}
    losses = [(record["step"], record["images"], record["losses"]) for record in run.history.records]
    return fingerprints({**run.method.state_dict(), **optimizers, "history": losses})


def check_published(harness: Harness) -> str:
    """A finished run that is loaded from its files is frozen and gives the same features and samples."""
    run = harness.fit("published")
    with harness.attempt("publishing"):
        run.publish()
    loaded = load_run(run.folder, run.dataset.content_hash)
    frozen = not loaded.training and not any(weight.requires_grad for weight in loaded.parameters())
    require(frozen, "a loaded run is not frozen in evaluation mode: call super() in train() and requires_grad_()")
    with harness.attempt("encode() or sample() of a loaded run"):
        before, after = (fingerprints(outputs(harness, method)) for method in (run.method.eval(), loaded))
    for network in changed(before, after):
        what = "encode()" if network == "encoder" else "sample()"
        raise ContractError(f"{what} uses more than self.{network}, the only network that is published for it")
    return ", ".join(path.name for path in published_files(run.folder, harness.name))


def check_augmentations(harness: Harness) -> str:
    """The method trains under every augmentation that its block does not exclude."""
    for name in harness.augmentations:
        fix = f"(or declare not_applicable: {{{name}: why}})"
        harness.fit(f"augmentation-{name}", f"training under augmentation '{name}' {fix}", augmentation=name)
    reasons: dict[str, list[str]] = {}
    for name, reason in harness.block.get("not_applicable", {}).items():
        reasons.setdefault(reason, []).append(name)
    excluded = [f"not {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "; ".join([", ".join(harness.augmentations), *excluded])


def check_variants(harness: Harness) -> str | None:
    """The method trains with every variant of its block."""
    names = list(harness.block.get("variants", {}))
    for name in names:
        harness.fit(f"variant-{name}", f"training variant '{name}'", variant=name)
    return ", ".join(names) or None


def check_processes(harness: Harness) -> str | None:
    """A run on several processes, started by torchrun as in the workflow, has the losses of a run on one."""
    if harness.processes == 1:
        return None
    histories = []
    for size in (1, harness.processes):
        folder = harness.start(f"processes-{size}", steps=3, log_every=1).folder
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m", "--"]
        verb = ["structgan", "train", "--run", str(folder), "--data", str(harness.data), "--device", "cpu"]
        path = os.pathsep.join([str(sources.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, *(torchrun if size > 1 else ["-m"]), *verb],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=300,
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("structgan") or "Error: " in line]
        require(done.returncode == 0, f"training on {size} processes fails: {(lines or ['no reason given'])[0][:300]}")
        histories.append(read_json(folder / "history.json")["records"])
    fix = "gather what the loss compares with distributed.gather(z), and draw with self.noise(n, ...)"
    for one, several in zip(*histories, strict=True):
        for name, value in one["losses"].items():
            other = several["losses"][name]
            problem = f"loss '{name}' of step {one['step']} is {other:.5g} on {size} processes, {value:.5g} on one"
            require(math.isclose(value, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE), f"{problem}: {fix}")
    return f"the losses of 3 steps on {size} processes are those on one"


CHECKS: dict[str, Callable[[Harness], str | None]] = {
    name.removeprefix("check_"): check for name, check in dict(globals()).items() if name.startswith("check_")
}
"""Every check by its name, in the order of this file."""
ESSENTIAL = ("class", "settings", "features", "samples", "learning")
"""If one of these fails, the later checks are skipped, because they would only repeat it."""


def report(name: str, files: list[str], processes: int = 1) -> int:
    """Check a method in a temporary folder, print a line for each check, and return how many failed.

    Args:
        name: of the method.
        files: laid on top of ``workflow/config/config.yaml``; by default those of the demo, the field and the method.
        processes: as in ``Harness``.

    Raises:
        UserError: there is no such method, or the configuration is invalid.
    """
    own = [configuration.BASE.parent / f"{file}.yaml" for file in ("demo", "field", name)]
    files = [str(Path(file).resolve()) for file in files] or [str(file) for file in own if file.exists()]
    shown = " + ".join(configuration.short(file) for file in files)
    print(f"{name}: {configuration.short(str(sources.method_file(name)))}, with {shown}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="structgan-check-") as folder, contextlib.chdir(folder):
        harness = Harness.load(name, files, Path("data.safetensors"), processes)
        for check, function in CHECKS.items():
            try:
                with warnings.catch_warnings(), quiet():
                    warnings.simplefilter("ignore")
                    remark = function(harness)
                mark = "-" if remark is None else "ok"
            except ContractError as error:
                mark, remark, failed = "WRONG", str(error), failed + 1
            print(f"  {mark:5}  {check:13}  {remark or 'does not apply'}", flush=True)
            if failed and check in ESSENTIAL:
                print("  -      the rest       skipped: fix the above first")
                break
    print(f"{name}: {f'{failed} wrong' if failed else 'keeps the contract'}")
    return failed


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the block prints."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
