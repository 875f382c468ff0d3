"""Runs that depend on other runs, as planned: their identity, what is added, what is refused."""

import pytest
from refusal import refused

from structgan import config, plan, sources
from structgan.grid import Grid

CELL = {"dataset": "digits_gradient", "method": "genrep", "augmentation": "simclr", "variant": "base", "seed": 1}
GRID = {"datasets": ["digits_gradient"], "methods": ["genrep"], "augmentations": ["none", "simclr"], "seeds": [0, 1]}


@pytest.fixture
def alone(demo):
    """The demo with a grid that names runs of GenRep only."""
    return {**demo, "grid": [GRID]}


def identities(settings, **changes):
    """Of a run, and of the run that it depends on."""
    run = Grid(settings).run(**(CELL | changes))
    return run.identity, run.upstream.identity


@pytest.mark.parametrize(
    ("change", "whose"),
    [
        ({"methods": {"plain_gan": {"settings": {"ema": 0.5}}}}, "generator's"),
        ({"methods": {"plain_gan": {"training": {"steps": 9}}}}, "generator's"),
        ({"augmentations": {"none": {"flip": 0.1}}}, "generator's"),
        ({"datasets": {"digits_gradient": {"train_size": 100}}}, "generator's"),
        ({"methods": {"genrep": {"settings": {"temperature": 0.3}}}}, "own"),
        ({"methods": {"genrep": {"upstream": {"method": "structural", "variant": "full"}}}}, "own"),
        ({"methods": {"plain_gan": {"title": "X", "variants": {"x": {}}}}}, "nobody's"),
        ({"methods": {"structural": {"settings": {"ema": 0.5}}}}, "nobody's"),
        ({"augmentations": {"crop": {"flip": 0.1}}, "title": "X", "evaluation": {"knn": {"k": 3}}}, "nobody's"),
    ],
)
def test_a_runs_identity_changes_exactly_with_its_own_or_its_generators(demo, change, whose):
    before, after = identities(demo), identities(config.merge(demo, change))
    assert (before[0] != after[0]) == (whose != "nobody's")
    if whose != "own":
        assert (before[1] != after[1]) == (whose == "generator's")


def test_an_identity_follows_the_generators_seed_and_sources_and_those_of_no_other_method(demo, monkeypatch):
    before, structural = identities(demo), identities(demo, variant="on_structural")
    assert len({*before, *structural, *identities(demo, seed=2)}) == 6
    digest = sources.run_digest
    monkeypatch.setattr(sources, "run_digest", lambda method: digest(method) + "x" * (method == "plain_gan"))
    assert not {*before} & {*identities(demo)} and structural == identities(demo, variant="on_structural")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{genrep: {upstream: {method: plain_gna}}}", ["method 'plain_gna'", "'plain_gan'?"]),
        ("{genrep: {upstream: {augmentation: crap}}}", ["augmentation 'crap'", "'crop'?"]),
        ("{genrep: {variants: {on_structural: {upstream: {variant: ful}}}}}",
         ["methods.genrep.variants.on_structural.upstream", "variant 'ful'", "'full'?"]),
        ("{genrep: {upstream: {method: simclr}}}", ["upstream.method = simclr", "plain_gan", "structural"]),
        ("{genrep: {upstream: null}}", ["methods.genrep.upstream is missing"]),
        ("{simclr: {upstream: {method: plain_gan}}}", ["methods.simclr.upstream.augmentation is missing"]),
        ("{genrep: {upstream: {seed: 1}}}", ["methods.genrep.upstream", "'seed'", "allowed"]),
        ("{plain_gan: {upstream: {method: plain_gan, augmentation: none, variant: base}}}",
         ["methods.plain_gan.upstream: goes in a circle: plain_gan/base → plain_gan/base"]),
        ("{plain_gan: {upstream: {method: genrep, augmentation: crop, variant: base}}}",
         ["goes in a circle: plain_gan/base → genrep/base → plain_gan/base"]),
    ],
)  # fmt: skip
def test_an_upstream_that_cannot_be_is_refused(user_file, text, words):
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
    alone, base, late = (
        Grid(changed).run("digits_gradient", "simclr", "none", name, 0) for name in ("alone", "base", "late")
    )
    assert alone.upstream is None and base.upstream.method == "plain_gan"
    assert late.upstream.method == "simclr" and late.upstream.upstream.method == "plain_gan"


def test_an_upstream_that_is_declared_not_to_make_sense_is_refused(alone):
    with refused("methods.genrep.upstream: plain_gan/none/base is declared not applicable: why not"):
        plan.Plan(config.merge(alone, {"methods": {"plain_gan": {"not_applicable": {"none": "why not"}}}}))


def test_upstream_runs_are_planned_once_ahead_of_those_that_depend_on_them(alone):
    made = plan.Plan(alone)
    entries = made.content["runs"]
    folders = [entry["run"] for entry in entries]
    assert sorted((run.method, run.seed) for run in made.runs) == [
        *[("genrep", 0)] * 2, *[("genrep", 1)] * 2, ("plain_gan", 0), ("plain_gan", 1)
    ]  # fmt: skip
    for place, entry in enumerate(entries):
        if entry["method"] == "genrep":
            above = entry["upstream"]["run"]
            assert f"/plain_gan/none/base/seed={entry['seed']}/" in above and folders.index(above) < place
    named = {**GRID, "methods": ["plain_gan"], "augmentations": ["none"]}
    assert plan.Plan({**alone, "grid": [GRID, named]}).content["runs"] == entries
