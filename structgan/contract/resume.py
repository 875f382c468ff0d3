"""An interruption must leave no trace: a run that is stopped and goes on is bit for bit the one that was not."""

from __future__ import annotations

from typing import Any

import torch

from structgan.contract.state import advice, differing, prints, shared, unsaved
from structgan.contract.subject import Broken, Subject
from structgan.train import Run

STOP, STEPS = 4, 6


def outcome(run: Run) -> dict[str, Any]:
    """What a run has come to, as prints: weights, buffers, optimisers, and the losses of its history."""
    optimisers = {f"optimiser {name}": value.state_dict() for name, value in run.method.optimisers().items()}
    losses = [(record["step"], record["images"], record["losses"]) for record in run.history.records]
    return prints({**run.method.state_dict(), **optimisers, "history": losses})


def train_until(run: Run, step: int) -> Run:
    """Train up to a step, where a state is saved, as an interruption there would leave it."""
    planned = run.training
    run.training = {**planned, "steps": step}
    run.fit()
    run.training = planned
    return run


def interruption(subject: Subject) -> str:
    """Saved at step 4 of 6, restored into a fresh run: weights, optimisers and history are bit-identical.

    What is forgotten is named: every attribute that training changed and that the restored run does not have.
    """
    with subject.attempt("training it"):
        whole = subject.start("whole", steps=STEPS)
        before = prints(shared(type(whole.method)))
        middle = outcome(train_until(whole, STOP))
        whole.fit()
        after = prints(shared(type(whole.method)))
        first = train_until(subject.start("parts", steps=STEPS), STOP)
    common = [name for name in before if before[name] != after.get(name)]
    beside = f"training changes `{common[0]}`, which is of the class or the file and not of the run" if common else ""
    at_stop = outcome(first)
    if names := differing(middle, at_stop):
        if beside:
            raise Broken(f"{beside}: it is lost on resume; make it a buffer of the method")
        raise Broken(f"two trainings of one seed differ in `{names[0]}`: draw from self.rng, and keep no clock or path")
    second = subject.start("parts", steps=STEPS)
    torch.manual_seed(999)
    with subject.attempt("going on after an interruption"):
        second.resume()
        if second.step != STOP:
            raise Broken(f"no state of step {STOP} could be used after an interruption")
        held, restored = unsaved(first.method), prints(unsaved(second.method))
        lost = [name for name, value in prints(held).items() if value != restored.get(name)]
        try:
            second.fit()
        except Exception:
            if not lost:
                raise
    end = outcome(second)
    if names := differing(outcome(whole), end):
        if lost:
            raise Broken("; ".join(advice(name, held[name], first.method) for name in lost))
        what = beside or f"a run that was interrupted differs in `{names[0]}`"
        raise Broken(f"{what}: keep what step() reads in a buffer or an optimiser of the method")
    if second.method.optimisers() and differing(at_stop, end) == ["history"]:
        raise Broken(f"steps {STOP + 1} to {STEPS} change nothing")
    shown = f"; not saved, without a difference: {', '.join(lost)}" if lost else ""
    return f"bit-identical after a stop at step {STOP} of {STEPS}{shown}"
