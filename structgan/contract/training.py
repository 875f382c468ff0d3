"""What training does to a method: it learns, from its own random numbers, from labels only where it says so."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from structgan.contract.state import differing, same, snapshot
from structgan.contract.subject import Broken, Subject, learns
from structgan.datasets import store
from structgan.files import load_tensors, save_tensors
from structgan.method import Method, find
from structgan.train import Run
from structgan.training import randomness


def advance(run: Run, steps: int = 2) -> list[dict[str, Tensor]]:
    """Step a run's method on its next batches; what it returned."""
    losses = []
    run.method.train()
    for index in range(steps):
        run.method.step_index = index
        views, labels = next(run.batches)
        losses.append(run.method.step(views, labels if run.method.uses_labels else None))
    return losses


def learning(subject: Subject) -> str:
    """Two steps return detached finite scalars and change every parameter of the encoder; no planned step, none."""
    run = subject.start("learning")
    steps = run.training["steps"]
    before = {name: parameter.detach().clone() for name, parameter in run.method.encoder.named_parameters()}
    try:
        returned = advance(run)
    except Exception as error:
        with subject.attempt("step()"):
            if not run.method.uses_labels and works_with_labels(subject):
                raise Broken(
                    "step() needs the labels, which are None: declare uses_labels = True, or do without"
                ) from error
            raise
    scalars(returned, needed=bool(steps))
    after = dict(run.method.encoder.named_parameters())
    kept = [name for name in before if torch.equal(before[name], after[name])]
    if steps and kept:
        what = "nothing of self.encoder" if len(kept) == len(before) else f"`{kept[0]}` of self.encoder not"
        raise Broken(
            f"two steps change {what}: does the loss depend on it, and has an optimiser self.encoder.parameters()?"
        )
    if not steps and len(kept) < len(before):
        raise Broken("step() changes self.encoder, although the configuration plans training.steps = 0")
    shown = ", ".join(f"{name} {float(value):.3g}" for name, value in returned[-1].items())
    return shown if steps else "no step is planned, and none changes it"


def works_with_labels(subject: Subject) -> bool:
    """Whether a step that fails without labels goes through with them."""
    run = subject.start("labelled")
    views, labels = next(run.batches)
    try:
        run.method.train().step(views, labels)
    except Exception:
        return False
    return True


def scalars(returned: list[dict[str, Tensor]], needed: bool) -> None:
    """Refuse losses that the loop could not log."""
    for number, losses in enumerate(returned, 1):
        if not isinstance(losses, dict) or (needed and not losses):
            raise Broken('step() must return its losses by name, such as {"loss": loss.detach()}')
        if losses.keys() != returned[0].keys():
            raise Broken(f"step() returns {sorted(losses)} in step {number}: the names must be those of the first step")
        for name, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.shape != ():
                what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise Broken(f"step() returns '{name}' of {what}, not a scalar tensor: take its mean")
            if loss.requires_grad:
                raise Broken(f"step() returns '{name}' with its graph, which fills the memory: return loss.detach()")
            if not loss.isfinite():
                raise Broken(f"step() returns '{name}' = {float(loss)} in step {number}: a logarithm, root or quotient")


def drawing(subject: Subject) -> str:
    """``step`` draws from no generator of the process; dropout, which can draw from no other, may."""
    run = subject.start("drawing")
    method = run.method.train()
    views, labels = next(run.batches)
    before = randomness.state("cpu")
    with subject.attempt("step()"):
        method.step(views, labels if method.uses_labels else None)
    moved = [name for name, place in randomness.state("cpu").items() if not same(place, before[name])]
    dropout = any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p for module in method.modules())
    if moved == ["torch"] and dropout:
        return "dropout draws from the process's generator, which is saved with the run"
    if moved:
        whose = {"torch": "PyTorch", "numpy": "NumPy", "python": "Python"}[moved[0]]
        raise Broken(
            f"step() uses the global random generator of {whose} instead of self.rng: draw with self.noise(n, ...) or"
            " generator=self.rng"
        )
    return "from self.rng alone"


def modes(subject: Subject) -> str:
    """In training mode stands what an optimiser updates, and nothing else, such as a moving average."""
    run = subject.start("modes", steps=2)
    with subject.attempt("training it"):
        run.fit()
    method = run.method.train()
    updated = learns(method)
    for name, module in method.named_modules():
        own = {id(parameter) for parameter in module.parameters()}
        if not own or not updated:
            continue
        if module.training and not own & updated:
            raise Broken(
                f"network `{name}` is updated by no optimiser, yet stands in training mode, where batch norms move:"
                " make it with memory.frozen_copy, or requires_grad_(False)"
            )
        if not module.training and own & updated:
            raise Broken(f"network `{name}` is trained, but stands in evaluation mode meanwhile: leave its mode alone")
    still(subject, method)
    averages = any(not module.training for module in method.modules())
    return "averages in evaluation mode, the rest in training mode" if averages else "all of it in training mode"


@torch.no_grad()
def still(subject: Subject, method: Method) -> None:
    """Refuse a generator's networks that samples in training mode differ from those in evaluation mode, or move."""
    if not hasattr(method, "generator"):
        return
    images, before = subject.images(), snapshot(method)

    def read() -> list[Tensor]:
        return [method.encode(images), method.sample(6, torch.Generator().manual_seed(1))]  # type: ignore[operator]

    with subject.attempt("encode() or sample() in training mode"):
        training = read()
        if names := differing(before, snapshot(method)):
            raise Broken(f"encode() or sample() in training mode moves `{names[0]}`: publish frozen moving averages")
        method.eval()
        if not same(training, read()):
            raise Broken("encode() or sample() differs in training mode: publish frozen moving averages")


def labels(subject: Subject) -> str:
    """The whole loop twice, with other labels: the weights differ exactly where ``uses_labels`` is declared."""
    tensors, metadata = load_tensors(subject.data)
    classes = int(tensors["train/labels"].max()) + 1
    tensors["train/labels"] = (tensors["train/labels"] * 3 + 1) % classes
    metadata["content_hash"] = store.content_hash(tensors)
    other = Path("relabelled.safetensors")
    save_tensors(other, tensors, metadata)
    first, second = (trained(subject, data, tag) for data, tag in ((subject.data, "labels"), (other, "relabelled")))
    names, declared = differing(first, second), find(subject.name).uses_labels
    if names and not declared and differing(first, trained(subject, subject.data, "again")):
        return "nothing to be said: two trainings of one seed differ"
    if names and not declared:
        raise Broken(f"`{names[0]}` depends on the labels: declare uses_labels = True, and every table marks the row")
    if not names and declared:
        raise Broken("uses_labels = True, but training is the same whatever the labels: leave it out")
    return "used, as declared" if names else "not used"


def trained(subject: Subject, data: Path, tag: str) -> dict[str, Tensor]:
    """All that two steps on some data leave in a method."""
    run = subject.on(data).start(tag, steps=2)
    with subject.attempt("training it"):
        run.fit()
    return snapshot(run.method)


def regimes(subject: Subject) -> str:
    """Training goes under every regime of the configuration that is not declared as not applicable."""
    for name in subject.regimes:
        run = subject.start(f"regime-{name}", name, steps=2)
        with subject.attempt(f"training under regime '{name}' (or declare not_applicable: {{{name}: why}})"):
            run.fit()
    reasons: dict[str, list[str]] = {}
    for name, reason in subject.block.get("not_applicable", {}).items():
        reasons.setdefault(reason, []).append(name)
    excluded = [f"not {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "; ".join([", ".join(subject.regimes), *excluded])


def variants(subject: Subject) -> str | None:
    """Training goes with every variant of the method's block."""
    names = list(subject.block.get("variants", {}))
    for name in names:
        run = subject.start(f"variant-{name}", variant=name, steps=2)
        with subject.attempt(f"training variant '{name}'"):
            run.fit()
    return ", ".join(names) or None
