"""Two or more ways to do the same thing, timed in turn in one process.

Each round runs every side once, and the order reverses from round to round, so that a machine that slows down for a
while slows all sides alike. A ratio of two sides is the median of the rounds' ratios.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from structgan import environment, precision
from structgan.files import write_json


def in_turn(
    sides: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of each round of each side, after ``warmup`` untimed rounds; a GPU is waited for."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for index in range(warmup + rounds):
        for name in order:
            took = timed(sides[name], device)
            if index >= warmup:
                seconds[name].append(took)
                print(f"  {name}: {took:.4g} s", file=sys.stderr, flush=True)
        order.reverse()
    return seconds


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    wait(device)
    begin = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begin


def wait(device: str) -> None:
    """Wait until the device has finished all its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def figures(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles in seconds, and the number of rounds."""
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else 3 * seconds
    return {"seconds": statistics.median(seconds), "quartiles": [low, high], "rounds": len(seconds)}


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times as long ``slow`` takes."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


class Whole:
    """In place of the counter's tracker of modules, whose hooks torch.func does not allow: all that is computed."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def work_of(step: Callable[[], object], device: str) -> dict[str, float]:
    """Floating-point operations of a step's products and convolutions; on a GPU also its peak memory in MiB."""
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Whole()  # type: ignore[assignment]
    with counter:
        step()
    found = {"flops": float(counter.get_total_flops())}
    if device.startswith("cuda"):  # without the weights and states of all sides, which were there before
        found["peak_mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return found


def longest(work: Callable[[], object], device: str, rows: int) -> list[dict[str, Any]]:
    """The operations of one call that take the most time themselves; on a GPU its kernels.

    Returns:
        Name, calls, milliseconds and share of all time, longest first.
    """
    kind = "CPU" if device == "cpu" else "CUDA"
    with profile(activities=[getattr(ProfilerActivity, kind)], acc_events=True) as seen:
        work()
        wait(device)
    figure = "self_cpu_time_total" if kind == "CPU" else "self_device_time_total"
    found = sorted(seen.key_averages(), key=lambda one: -float(getattr(one, figure)))
    total = sum(getattr(one, figure) for one in found) or 1.0
    spent = [(one.key, one.count, getattr(one, figure)) for one in found[:rows]]
    return [{"operation": name, "calls": calls, "ms": us / 1e3, "share": us / total} for name, calls, us in spent]


def parser(purpose: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    found = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    found.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds of each side (default {rounds})")
    found.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    found.add_argument("--device", default=environment.best_device(), help="cpu or cuda (default: cuda if available)")
    return found


def begin(options: argparse.Namespace) -> None:
    """Set threads, memory and products as training has them, and print the machine."""
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu":
        environment.keep_memory()
    torch.backends.cudnn.benchmark = options.device.startswith("cuda")
    precision.full_products()
    about = environment.hardware(options.device)
    print(f"{about['gpu'] or about['cpu']}; {torch.get_num_threads()} threads; torch {torch.__version__}")


def table(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Print rows as a table."""
    import pandas as pd  # not installed on every machine that the short run is for

    print("\n" + pd.DataFrame(rows).to_string(index=False, na_rep="-", float_format="{:,.4g}".format))


def save(options: argparse.Namespace, found: Mapping[str, Any]) -> None:
    """Write the figures with machine, versions and threads to the file that was asked for."""
    if options.json:
        write_json(options.json, {**found, "environment": environment.describe(options.device)})
