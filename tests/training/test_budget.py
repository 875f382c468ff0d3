"""structgan budget: operations counted without content are those of real steps, and the updates of an equal budget."""

import pytest
from click.testing import CliRunner

from structgan import budget, cli, config, sources, train
from structgan.errors import UserError
from structgan.grid import Grid

CORE = ("structural", "simclr")
ONE = {"datasets": ["digits_gradient"], "augmentations": ["none"], "seeds": [0, 1]}
GRID = [
    {**ONE, "methods": ["structural"], "variants": ["no_hinge", "full"]},
    {**ONE, "methods": ["simclr", "random", "genrep"]},
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in CORE else [pytest.mark.faults]) for name in sources.methods()]
)
def test_a_step_without_content_has_the_operations_of_a_real_one(demo, digits, make_run, name):
    variant = "structural" if name in ("vae", "ddpm") else "base"
    run = train.Run(make_run(name, variant, steps=0 if name == "random" else 3), digits, "cpu")
    run.fit()
    changed = config.merge(demo, {"methods": {name: {"training": {"steps": run.training["steps"]}}}})
    assert budget.gflops_per_step(Grid(changed).run("digits_gradient", name, "none", variant, 3)) == run.flops.gflops
    assert (run.flops.gflops > 0) == (name != "random")


@pytest.mark.parametrize(
    "words",
    [
        *(("budget", "--gflops", value) for value in ("nan", "inf", "1e300", "0", "-1", "many")),
        *(("train", "--run", "a", "--data", "b", "--minutes", value) for value in ("nan", "inf", "1e300", "0")),
        ("table", "--plan", "demo", "--out", ""),
    ],
)
def test_an_amount_or_a_path_that_cannot_be_is_refused(words):
    done = CliRunner().invoke(cli.cli, words)
    assert done.exit_code == 2 and f"Invalid value for '{words[-2]}'" in done.output


def test_bfloat16_and_what_is_not_a_step_change_nothing(demo):
    costs = []
    for training in ({}, {"precision": "bfloat16"}, {"batch_size": 32}):
        run = Grid(config.merge(demo, {"training": training})).run("digits_gradient", "simclr", "none", "base", 0)
        costs.append(budget.gflops_per_step(run))
    assert costs[0] == costs[1] < costs[2] / 2 + 1e-9


@pytest.mark.slow
def test_updates_are_those_of_the_main_rows_budget_or_of_a_given_one(demo):
    changed = {**demo, "grid": GRID, "main": "structural"}
    rows = budget.rows(changed, [])
    names = [["structural", "no_hinge"], ["structural", "full"], ["simclr", "base"], ["random", "base"]]
    assert rows[["method", "variant"]].to_numpy().tolist() == [*names, ["plain_gan", "base"], ["genrep", "base"]]
    cost = dict(zip(rows["method"] + rows["variant"], rows["gflops_per_step"], strict=True))
    assert rows["steps"].tolist() == [6, 6, 6, 0, 6, 6] and rows["updates"].tolist()[1] == 6
    equal = {name: round(6 * cost["structuralfull"] / each) if each else 0 for name, each in cost.items()}
    assert rows["updates"].tolist() == list(equal.values())
    given = budget.rows(changed, [], 0.5)
    assert given["updates"].tolist() == [max(1, round(0.5 / each)) if each else 0 for each in cost.values()]


@pytest.mark.parametrize(
    ("gflops", "names"),
    [
        pytest.param(1200, ["demo"], marks=pytest.mark.slow),
        pytest.param(2500, ["demo", "field"], marks=pytest.mark.faults),
        pytest.param(2500, ["demo", "field", "claims"], marks=pytest.mark.faults),
        pytest.param(2500, ["demo", "field", "ablations-small"], marks=pytest.mark.faults),
        pytest.param(30_000, ["cifar10-small"], marks=pytest.mark.faults),
    ],
)
def test_the_steps_of_a_suite_are_those_of_its_budget(gflops, names):
    files = [str(sources.ROOT / f"workflow/config/{name}.yaml") for name in names]
    loaded = config.load(files)
    grid = [{**block, "datasets": block["datasets"][:1]} for block in loaded["grid"]]  # both of the digits cost alike
    one = {**loaded, "grid": grid}
    rows = budget.rows(one, files, gflops)
    trained = rows[rows["steps"] > 0]
    assert len(trained) >= 4 and (trained["steps"] / trained["updates"] - 1).abs().max() < 0.025


def test_a_suite_without_a_main_row_needs_a_budget(demo):
    with pytest.raises(UserError, match=r"main = swav: has no row on 'digits_gradient' .*--gflops"):
        budget.rows({**demo, "grid": GRID[:1], "main": "swav"}, [])


def test_the_command_prints_a_table_and_refuses_in_one_line(command, refusal, user_file, tmp_path):
    tiny = sources.ROOT / "tests/tiny.yaml"
    words = ("-m", "structgan", "budget", "--configfile", sources.ROOT / "workflow/config/demo.yaml", tiny)
    some = "grid: [{datasets: [digits_gradient], methods: [random, simclr], augmentations: [none], seeds: [0, 1]}]"
    some, before = user_file(some), sorted(tmp_path.rglob("*"))
    done = command(*words, some, "--gflops", "1000", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and sorted(tmp_path.rglob("*")) == before
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["Data", "set", "Method"] and len(lines) == 2 + 2
    simclr = next(line for line in lines if " simclr " in line).split()
    assert simclr[:4] == ["digits_gradient", "simclr", "none", "base"] and int(simclr[-1].replace(",", "")) > 6
    none = command(*words, "--gflops", "0", cwd=tmp_path)
    assert none.returncode == 2 and "--gflops" in none.stderr
    assert "main = swav" in refusal(command(*words, user_file("main: swav"), cwd=tmp_path))
