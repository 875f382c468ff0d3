"""Runs that depend on other runs, as planned: their identity, what is added, refused, stamped, kept and awaited."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import planned_tree
import pytest
from refusal import refused

from structgan import cells, config, files, plan, sources
from structgan.identity import standing
from structgan.overview import collect, judge

CELL = {"dataset": "digits", "method": "genrep", "augmentation": "simclr", "variant": "base", "seed": 1}
ON_STRUCTURAL = CELL | {"variant": "on_structural"}
GRID = {"datasets": ["digits"], "methods": ["genrep"], "augmentations": ["none", "simclr"], "seeds": [0, 1]}


@pytest.fixture
def alone(demo):
    """The demo with a grid that names runs of GenRep only."""
    return {**demo, "grid": [GRID]}


def identities(settings, cell=CELL):
    """Of a cell's run, and of the run that it depends on."""
    return tuple(config.run_config(settings, each)["identity"] for each in (cell, *cells.lineage(settings, cell)))


@pytest.mark.parametrize(
    ("change", "whose"),
    [
        ({"methods": {"plain_gan": {"settings": {"ema": 0.5}}}}, "generator's"),
        ({"methods": {"plain_gan": {"training": {"steps": 9}}}}, "generator's"),
        ({"training": {"log_every": 3}}, "generator's"),
        ({"augmentations": {"none": {"flip": 0.1}}}, "generator's"),
        ({"datasets": {"digits": {"train_size": 100}}}, "generator's"),
        ({"methods": {"genrep": {"settings": {"temperature": 0.3}}}}, "own"),
        ({"methods": {"genrep": {"upstream": {"method": "structural", "variant": "full"}}}}, "own"),
        ({"methods": {"plain_gan": {"title": "X", "variants": {"x": {}}}}}, "nobody's"),
        ({"methods": {"structural": {"settings": {"ema": 0.5}}}}, "nobody's"),
        ({"methods": {"simclr": {"settings": {"temperature": 0.3}}}}, "nobody's"),
        ({"augmentations": {"crop": {"flip": 0.1}}, "title": "X", "evaluation": {"knn": {"k": 3}}}, "nobody's"),
    ],
)
def test_a_runs_identity_changes_exactly_with_its_own_or_its_generators(demo, change, whose):
    before, after = identities(demo), identities(config.merge(demo, change))
    assert (before[0] != after[0]) == (whose != "nobody's")
    if whose != "own":
        assert (before[1] != after[1]) == (whose == "generator's")


def test_an_identity_follows_the_generators_seed_and_sources_and_those_of_no_other_method(demo, monkeypatch):
    before, structural = identities(demo), identities(demo, ON_STRUCTURAL)
    assert len({*before, *structural, *identities(demo, CELL | {"seed": 2})}) == 6
    digest = sources.run_digest
    monkeypatch.setattr(sources, "run_digest", lambda method: digest(method) + "x" * (method == "plain_gan"))
    assert not {*before} & {*identities(demo)} and structural == identities(demo, ON_STRUCTURAL)


BAD = {
    "unknown method": ("{genrep: {upstream: {method: plain_gna}}}", ["method 'plain_gna'", "'plain_gan'?"]),
    "unknown regime": ("{genrep: {upstream: {augmentation: crap}}}", ["augmentation regime 'crap'", "'crop'?"]),
    "unknown variant": ("{genrep: {upstream: {variant: bass}}}", ["variant 'bass'", "'base'?"]),
    "variant's": (
        "{genrep: {variants: {on_structural: {upstream: {variant: ful}}}}}",
        ["methods.genrep.upstream", "'full'?"],
    ),
    "no generator": ("{genrep: {upstream: {method: simclr}}}", ["upstream.method = simclr", "plain_gan", "structural"]),
    "none": ("{genrep: {upstream: null}}", ["methods.genrep.upstream is missing", "method, augmentation, variant"]),
    "half": ("{simclr: {upstream: {method: plain_gan}}}", ["methods.simclr.upstream.augmentation is missing"]),
    "unknown key": ("{genrep: {upstream: {seed: 1}}}", ["methods.genrep.upstream.seed", "allowed"]),
    "itself": (
        "{plain_gan: {upstream: {method: plain_gan, augmentation: none, variant: base}}}",
        ["methods.plain_gan.upstream: goes in a circle: plain_gan/base → plain_gan/base"],
    ),
    "circle": (
        "{plain_gan: {upstream: {method: genrep, augmentation: crop, variant: base}}}",
        ["goes in a circle: plain_gan/base → genrep/base → plain_gan/base"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_upstream_that_cannot_be_is_one_line_that_names_the_file(user_file, case):
    text, words = BAD[case]
    with refused("mine.yaml", *words):
        config.load([user_file(f"methods: {text}")])


def test_a_variant_may_depend_on_another_variant_or_on_none(demo):
    methods = {
        "simclr": {
            "upstream": {"method": "plain_gan", "augmentation": "none", "variant": "base"},
            "variants": {"alone": {"upstream": None}, "late": {"upstream": {"method": "simclr"}}},
        }
    }
    changed = config.merge(demo, {"methods": methods})
    config.check(changed, [])
    names = [
        [cell["method"] for cell in cells.lineage(changed, CELL | {"method": "simclr", "variant": variant})]
        for variant in ("alone", "base", "late")
    ]
    assert names == [[], ["plain_gan"], ["simclr", "plain_gan"]]


def test_an_upstream_that_is_declared_not_to_make_sense_is_refused(alone):
    with refused("methods.genrep.upstream: plain_gan/none/base is declared not applicable: why not"):
        plan.make(config.merge(alone, {"methods": {"plain_gan": {"not_applicable": {"none": "why not"}}}}), [])


def test_upstream_runs_are_planned_once_ahead_of_those_that_depend_on_them(alone):
    made, runs = plan.make(alone, [])
    found = [(cell["method"], cell["augmentation"], cell["seed"]) for cell in made["cells"]]
    gans = [("plain_gan", "none", seed) for seed in (0, 1)]
    ours = [("genrep", augmentation, seed) for augmentation in ("none", "simclr") for seed in (0, 1)]
    assert sorted(found) == sorted(gans + ours) and [each for each in found if each in ours] == ours
    assert list(made["methods"]) == ["plain_gan", "genrep"] and made["methods"]["plain_gan"]["samples"]
    folders = {cell["run"]: cell["identity"] for cell in made["cells"]}
    for place, cell in enumerate(made["cells"]):
        assert runs[place]["config"].get("upstream") == cell.get("upstream")
        if cell["method"] == "genrep":
            above, identity = cell["upstream"]["run"], cell["upstream"]["identity"]
            assert above.endswith(f"/plain_gan/none/base/seed={cell['seed']}") and folders[above] == identity
            assert list(folders).index(above) < place
    named = {**GRID, "methods": ["plain_gan"], "augmentations": ["none"]}
    both = plan.make({**alone, "grid": [GRID, named]}, [])[0]["cells"]
    assert both == made["cells"]


def edit(path, **changes):
    files.write_json(path, files.read_json(path) | changes)


@pytest.fixture
def made(alone, tmp_path, monkeypatch):
    """A suite of GenRep planned and complete in the working directory."""
    monkeypatch.chdir(tmp_path)
    return planned_tree.demo(alone, tmp_path)


def test_gc_keeps_what_others_depend_on_and_status_says_what_is_awaited(made):
    assert collect.find() == ([], {})
    gan, ours = (next(cell for cell in made["cells"] if cell["method"] == name) for name in ("plain_gan", "genrep"))
    assert gan["run"] == ours["upstream"]["run"]

    def stands():
        found = judge.judge(ours, made, Path(ours["run"]).absolute(), {}, 0.0)
        return found.name, found.reason

    assert stands() == ("done", "")
    shutil.rmtree(ours["run"])
    assert stands() == ("missing", "")
    edit(Path(gan["run"]) / "env.json", identity="old")
    assert stands() == ("missing", "awaits plain_gan/none/base")


def ages(cell):
    """Newest input and oldest output of a run's training, as Snakemake compares them."""
    run = Path(cell["run"])
    above = Path(cell["upstream"]["run"]) if "upstream" in cell else None
    inputs = [run / "config.json", *([above / "encoder.safetensors", above / "generator.safetensors"] if above else [])]
    outputs = [run / "encoder.safetensors", run / "history.json", run / "env.json"]
    return max(path.stat().st_mtime for path in inputs), min(path.stat().st_mtime for path in outputs)


def test_file_times_follow_what_a_run_was_trained_with(alone, made):
    """Touched, all are in order again; with other weights than the upstream run holds, a run is older than these."""
    for cell in made["cells"]:
        if cell["method"] == "plain_gan":
            for path in Path(cell["run"]).iterdir():
                os.utime(path, (path.stat().st_mtime + 500,) * 2)
    plan.write(alone, [])
    assert all(new < old for new, old in map(ages, made["cells"]))
    gan = next(cell for cell in made["cells"] if cell["method"] == "plain_gan")
    after = [cell for cell in made["cells"] if cell.get("upstream", {}).get("run") == gan["run"]]
    for number, cell in enumerate(after):
        env = Path(cell["run"]) / "env.json"
        edit(env, upstream=cell["upstream"] | {"files": {"generator.safetensors": "of old" if number else "now"}})
    edit(Path(gan["run"]) / "env.json", checksums={"files": {"generator.safetensors": "now"}})
    plan.write(alone, [])
    assert len(after) == 2 and [cell for cell in made["cells"] if ages(cell)[0] >= ages(cell)[1]] == after[1:]


def test_what_strays_from_its_upstream_run_is_told():
    wanted = {"run": "some/run", "identity": "a"}
    run = {"upstream": wanted | {"files": {"encoder.safetensors": "1", "generator.safetensors": "2"}}}
    stored = {"encoder.safetensors": "1", "generator.safetensors": "2", "history.json": "3"}
    assert standing.strayed(run, {"identity": "a", "checksums": {"files": stored}}) is None
    assert standing.strayed(run, {}) == "its upstream run is not trained"
    assert "another identity" in standing.strayed(run, {"identity": "b", "checksums": {"files": stored}})
    other = {"identity": "a", "checksums": {"files": stored | {"generator.safetensors": "4"}}}
    assert standing.strayed(run, other) == "trained with other weights than some/run holds now"
