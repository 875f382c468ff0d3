"""What each row of a suite computes, and how many updates it gets for an equal number of operations."""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode

from structgan import config as configuration
from structgan import method, precision
from structgan.errors import UserError
from structgan.grid import Grid, RunConfig
from structgan.method import Method
from structgan.training.flops import Counter

CLASSES = 10
"""Of every data set, as far as it matters here: a method that learns from labels has a small layer of that width."""


class Row(NamedTuple):
    """A configuration under all its seeds."""

    dataset: str
    method: str
    augmentation: str
    variant: str


class _Unseeded(TorchFunctionMode):
    """Random numbers without content have no generator."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{key: value for key, value in (kwargs or {}).items() if key != "generator"})


def gflops_per_step(run: RunConfig) -> float:
    """Operations of one step, in 1e9, as ``training.flops`` counts them; nothing is computed and no data is read.

    The networks are copied without their content, and PyTorch follows the shapes through a whole step.
    """
    training, size = run.settings["training"], run.settings["dataset"]["image_size"]
    if not training["steps"]:
        return 0.0
    real = _build(run)
    generators = {id(each.rng): each.rng for each in (real, real.upstream) if each is not None}
    contents = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    with FakeCopyMode(contents):
        hollow = copy.deepcopy(real, generators).train()
    counter, shape = Counter(), (training["batch_size"], 3, size, size)
    with contents, _Unseeded():
        hollow.step_index, hollow.transform = 1, _view
        hollow.images = torch.zeros(shape, dtype=torch.uint8)
        views = [torch.zeros(shape) for _ in range(hollow.views)]
        labels = torch.zeros(len(views[0]), dtype=torch.long) if hollow.uses_labels else None
        with precision.autocast(training["precision"], "cpu"), counter.watch(hollow.step_index):
            hollow.step(views, labels)
    return counter.gflops


def _build(run: RunConfig) -> Method:
    made = method.build(run.content, CLASSES)
    if run.upstream:
        made.attach(_build(run.upstream).eval().requires_grad_(False))
    return made


def _view(images: Tensor) -> Tensor:
    """In place of an augmentation, whose operations are not counted."""
    return images if images.is_floating_point() else images / 127.5 - 1


def rows(config: Mapping[str, Any], files: Sequence[str], gflops: float | None = None) -> pd.DataFrame:
    """A row for each configuration of a suite, in the grid's order.

    Args:
        config: a checked configuration.
        files: the files it came from; an error names the one that holds the key.
        gflops: operations that each training may have, in 1e9; by default what the main method's first row on the same
            data set has, in its main variant.

    Returns:
        Columns dataset, method, augmentation, variant; gflops_per_step; steps, as configured; updates, of an equal
        budget. A method that is not trained has 0. What a run that others depend on costs is not counted with them.

    Raises:
        UserError: a bad configuration, or there is no budget and no main row.
    """
    grid, runs = Grid(config, files), dict[Row, RunConfig]()
    known, costs = dict[str, float](), dict[Row, float]()
    for run in grid.runs()[0]:
        row = Row(run.dataset, run.method, run.augmentation, run.variant)
        key = json.dumps([_computed(run), run.upstream and _computed(run.upstream)])
        if row not in costs:
            known[key] = known[key] if key in known else gflops_per_step(run)
            runs[row], costs[row] = run, known[key]
    steps = {row: int(run.settings["training"]["steps"]) for row, run in runs.items()}
    table = []
    for row, cost in costs.items():
        updates = 0
        if cost:
            main = row if gflops else _main(grid, row.dataset, runs)
            updates = max(1, round((gflops or costs[main] * steps[main]) / cost))
        table.append((*row, cost, steps[row], updates))
    return pd.DataFrame(table, columns=[*Row._fields, "gflops_per_step", "steps", "updates"])


def _computed(run: RunConfig) -> list[Any]:
    """What the operations of a step depend on."""
    return [run.method, *(run.settings[part] for part in ("dataset", "training", "method"))]


def _main(grid: Grid, dataset: str, rows: Iterable[Row]) -> Row:
    """The main row on a data set: of the main method, and of its variant ``full`` where that is planned."""
    main = [row for row in rows if (row.dataset, row.method) == (dataset, grid.config.get("main"))]
    if not main:
        place = f"{grid.where('main')} = {grid.config.get('main')}"
        raise UserError(f"{place}: has no row on '{dataset}' whose operations could be the budget (--gflops gives one)")
    return min(main, key=lambda row: row.variant != "full")


def show(files: Sequence[str], gflops: float | None = None) -> str:
    """The rows as a table to be printed; arguments as the command line has them."""
    frame = rows(configuration.load(files), [str(configuration.BASE), *files], gflops)
    frame.insert(6, "total", frame["gflops_per_step"] * frame["steps"])
    titles = ["Data set", "Method", "Augmentation", "Variant", "GFLOP a step", "Steps", "GFLOP", "Steps of the budget"]
    forms = ("", "", "", "", ",.2f", ",", ",.0f", ",")
    shown = [[*map(format, row, forms)] for row in frame.itertuples(index=False)]
    align = ["left"] * 4 + ["right"] * 4
    table = pd.DataFrame(shown, columns=titles)
    return str(table.to_markdown(index=False, tablefmt="simple", disable_numparse=True, colalign=align))
