"""Runs that depend on other runs, as planned: their identity, what is added, what is refused."""

from __future__ import annotations

import pytest
from refusal import refused

from structgan import config, plan, sources
from structgan.grid import Grid

CELL = {"dataset": "digits", "method": "genrep", "augmentation": "simclr", "variant": "base", "seed": 1}
ON_STRUCTURAL = CELL | {"variant": "on_structural"}
GRID = {"datasets": ["digits"], "methods": ["genrep"], "augmentations": ["none", "simclr"], "seeds": [0, 1]}


@pytest.fixture
def alone(demo):
    """The demo with a grid that names runs of GenRep only."""
    return {**demo, "grid": [GRID]}


def identities(settings, cell=CELL):
    """Of a cell's run, and of the run that it depends on."""
    run = Grid(settings).run(**cell)
    return run.identity, run.upstream.identity


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
    "unknown regime": ("{genrep: {upstream: {augmentation: crap}}}", ["augmentation 'crap'", "'crop'?"]),
    "unknown variant": ("{genrep: {upstream: {variant: bass}}}", ["variant 'bass'", "'base'?"]),
    "variant's": (
        "{genrep: {variants: {on_structural: {upstream: {variant: ful}}}}}",
        ["methods.genrep.variants.on_structural.upstream", "'full'?"],
    ),
    "no generator": ("{genrep: {upstream: {method: simclr}}}", ["upstream.method = simclr", "plain_gan", "structural"]),
    "none": ("{genrep: {upstream: null}}", ["methods.genrep.upstream is missing"]),
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
        Grid(config.load([file := user_file(f"methods: {text}")]), [str(config.BASE), str(file)])


def test_a_variant_may_depend_on_another_variant_or_on_none(demo):
    methods = {
        "simclr": {
            "upstream": {"method": "plain_gan", "augmentation": "none", "variant": "base"},
            "variants": {"alone": {"upstream": None}, "late": {"upstream": {"method": "simclr"}}},
        }
    }
    changed = config.merge(demo, {"methods": methods})
    config.check(changed, [])
    grid, names = Grid(changed), []
    for variant in ("alone", "base", "late"):
        run = grid.run("digits", "simclr", "none", variant, 0)
        names.append([])
        while run := run.upstream:
            names[-1].append(run.method)
    assert names == [[], ["plain_gan"], ["simclr", "plain_gan"]]


def test_an_upstream_that_is_declared_not_to_make_sense_is_refused(alone):
    with refused("methods.genrep.upstream: plain_gan/none/base is declared not applicable: why not"):
        plan.Plan(config.merge(alone, {"methods": {"plain_gan": {"not_applicable": {"none": "why not"}}}}))


def test_upstream_runs_are_planned_once_ahead_of_those_that_depend_on_them(alone):
    made = plan.Plan(alone)
    found = [(run.method, run.augmentation, run.seed) for run in made.runs]
    gans = [("plain_gan", "none", seed) for seed in (0, 1)]
    ours = [("genrep", augmentation, seed) for augmentation in ("none", "simclr") for seed in (0, 1)]
    assert sorted(found) == sorted(gans + ours) and [each for each in found if each in ours] == ours
    entries = made.content["runs"]
    folders = [entry["run"] for entry in entries]
    for run, entry in zip(made.runs, entries, strict=True):
        assert run.content.get("upstream") == entry.get("upstream")
        if run.method == "genrep":
            above = entry["upstream"]["run"]
            assert f"/plain_gan/none/base/seed={run.seed}/" in above and folders.index(above) < folders.index(
                entry["run"]
            )
    named = {**GRID, "methods": ["plain_gan"], "augmentations": ["none"]}
    assert plan.Plan({**alone, "grid": [GRID, named]}).content["runs"] == entries
