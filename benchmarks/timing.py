"""Two or more ways of doing the same thing, timed in turn in one process; medians with their spread, and the machine.

Every time of ``benchmarks/`` goes through here: each round runs every side once, and the order turns round from one to
the next, so that a machine that slows down for a while slows all sides alike. What one side gains over another is the
median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from structgan import environment, precision
from structgan.files import write_json


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one side."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def spread(self) -> tuple[float, float]:
        """First and third quartile; of fewer than two rounds, that round."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def figures(self) -> dict[str, Any]:
        """For a JSON file: median and quartiles in seconds, and how many rounds."""
        low, high = self.spread()
        return {"seconds": self.median, "quartiles": [low, high], "rounds": len(self.seconds)}


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    device: str = "cpu",
    failed: dict[str, str] | None = None,
    after: Callable[[dict[str, Timing]], None] = lambda times: None,
) -> dict[str, Timing]:
    """Run every side once a round, ``warmup`` untimed rounds first.

    Args:
        sides: name to the work, which computes on ``device``; a GPU is waited for before and after.
        rounds: timed rounds, at least 1.
        failed: gets the reason of each side that raises an error, which then takes part no more; without it the error
            is raised.
        after: is given the times so far after each timed round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for index in range(warmup + rounds):
        for name in list(order):
            try:
                wait(device)
                begin = time.perf_counter()
                sides[name]()
                wait(device)
            except Exception as error:
                if failed is None:
                    raise
                failed[name] = describe(error)
                order.remove(name)
                continue
            if index >= warmup:
                seconds[name].append(time.perf_counter() - begin)
                print(f"  {name}: {seconds[name][-1]:.4g} s", file=sys.stderr, flush=True)
        order.reverse()
        if index >= warmup:
            after({name: Timing(seconds[name]) for name in sides if name in order})
    return {name: Timing(seconds[name]) for name in sides if name in order}


def describe(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


@contextlib.contextmanager
def attempt(options: argparse.Namespace, figures: dict[str, Any], what: str) -> Iterator[None]:
    """A part of a benchmark whose error is recorded in ``figures["failed"]``; the JSON is written after it."""
    try:
        yield
    except Exception as error:
        figures.setdefault("failed", {})[what] = describe(error)
        print(f"{what} failed: {describe(error)}", file=sys.stderr, flush=True)
    write(options, figures)


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ratio(slow: Timing, fast: Timing) -> float:
    """How many times as long ``slow`` takes: the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True))


def parser(purpose: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    found = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    found.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds of each side (default {rounds})")
    found.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    found.add_argument(
        "--device", default=environment.best_device(), help="cpu or cuda (default: a GPU where there is one)"
    )
    return found


def begin(options: argparse.Namespace) -> None:
    """Threads and memory as training has them; says on what machine the figures will hold."""
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu":
        environment.keep_memory()
    precision.full_products()
    about = environment.hardware(options.device)
    chip = about["gpu"] or f"{about['cpu']}, {about['cores']} cores"
    print(f"{chip}; {torch.get_num_threads()} threads; torch {torch.__version__}; {about['system']}")


def work_of(step: Callable[[], object], device: str) -> dict[str, float]:
    """Floating-point operations of one step's products and convolutions, and its peak memory on a GPU in MiB."""
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    with FlopCounterMode(display=False) as counter:
        step()
    found = {"flops": float(counter.get_total_flops())}
    if device.startswith("cuda"):  # above what lay there: weights and states of all sides
        found["peak_mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return found


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def write(options: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Write the figures with the machine, versions and threads that they hold for, where a file was asked for."""
    if options.json:
        write_json(options.json, {**figures, "environment": environment.describe(options.device)})


def conclude(options: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Write the figures for the last time, and say so."""
    write(options, figures)
    if options.json:
        print(f"{options.json} written")
