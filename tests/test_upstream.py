"""Runs that depend on other runs: their identity, what is planned and refused, what training gets, GenRep's pairs."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import numpy as np
import planned_tree
import pytest
import torch
import torch.nn.functional as F
from refusal import refused

from structgan import cells, config, files, plan, sources, train
from structgan import method as contract
from structgan.identity import standing
from structgan.overview import collect, judge
from structgan.training.upstream import load

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
    "no generator": ("{genrep: {upstream: {method: simclr}}}", ["upstream.method = simclr", "plain_gan, structural"]),
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


# what training gets


def test_the_upstream_run_is_frozen_and_no_part_of_what_is_trained_or_saved(make_run, digits):
    folder = make_run("genrep", steps=3)
    run = train.Run(folder, digits, "cpu")
    upstream = run.method.upstream
    before = {name: value.clone() for name, value in upstream.state_dict().items()}
    run.fit()
    run.publish()
    assert not upstream.training and not any(p.requires_grad for p in upstream.parameters())
    assert all(torch.equal(value, before[name]) for name, value in upstream.state_dict().items())
    assert not {id(p) for p in upstream.parameters()} & {id(p) for p in run.method.parameters()}
    assert not any(module is upstream for module in run.method.modules())
    assert {name.split(".")[0] for name in run.method.state_dict()} == {"encoder", "head"}
    assert files.load_tensors(folder / "encoder.safetensors")[0].keys() == run.method.encoder.state_dict().keys()
    told, wanted = files.read_json(folder / "env.json")["upstream"], files.read_json(folder / "config.json")["upstream"]
    assert {key: told[key] for key in wanted} == wanted
    stored = files.read_json(Path(wanted["run"]) / "env.json")["checksums"]["files"]
    assert told["files"] == {name: stored[name] for name in ("encoder.safetensors", "generator.safetensors")}
    run.method.double()
    assert {p.dtype for p in upstream.parameters()} == {torch.float64}


@pytest.fixture
def own(make_run, tmp_path):
    """A run of GenRep, and a copy of its upstream run that may be changed; it is found from the run's own place."""
    folder = make_run("genrep", steps=2, folder="made")
    described = files.read_json(folder / "config.json")
    above = cells.run_folder("demo", described | {"method": "plain_gan", "augmentation": "none"})
    shutil.copytree(described["upstream"]["run"], tmp_path / above)
    described["upstream"]["run"] = above
    run = tmp_path / cells.run_folder("demo", described)
    files.write_json(run / "config.json", described)
    return run, tmp_path / above


def test_an_evaluation_needs_no_upstream_run(own, digits):
    run, above = own
    train.run(run, digits)
    shutil.rmtree(above)
    content = files.read_json(run / "env.json")["dataset"]["content_hash"]
    assert contract.load_run(run, content).upstream is None


def edit(path, **changes):
    files.write_json(path, files.read_json(path) | changes)


@pytest.mark.parametrize("harm", ["missing", "unfinished", "truncated", "planned anew", "another", "other images"])
def test_an_upstream_run_that_is_not_as_planned_stops_in_one_line(own, digits, harm):
    run, above = own
    words = []
    if harm == "missing":
        shutil.rmtree(above)
        words = ["config.json: no such file"]
    if harm == "unfinished":
        (above / "generator.safetensors").unlink()
        words = ["generator.safetensors: no such file"]
    if harm == "truncated":
        path = above / "generator.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        words = ["generator.safetensors: truncated or damaged"]
    if harm == "planned anew":
        edit(above / "config.json", identity="0" * 64)
        words = ["encoder.safetensors was trained under another config.json"]
    if harm == "another":
        edit(run / "config.json", upstream=files.read_json(run / "config.json")["upstream"] | {"identity": "0" * 64})
        words = ["planned is 000000000000; plan again and train it first"]
    if harm == "other images":
        tensors, metadata = files.load_tensors(above / "encoder.safetensors")
        files.save_tensors(above / "encoder.safetensors", tensors, metadata | {"content_hash": "other"})
        words = ["was trained on other images"]
    with refused(f"{run}: its upstream run cannot be used: {above}", *words):
        train.run(run, digits)
    told = files.read_json(run / "progress.json")
    assert told["state"] == "failed" and "its upstream run cannot be used" in told["reason"]
    assert not (run / "encoder.safetensors").exists()


def test_a_state_goes_on_with_the_weights_that_it_began_with_alone(own, digits, capsys):
    run, above = own
    train.run(run, digits)
    same = train.Run(run, digits, "cpu")
    same.resume()
    assert same.step == 2
    tensors, metadata = files.load_tensors(above / "generator.safetensors")
    files.save_tensors(above / "generator.safetensors", {key: 1.01 * value for key, value in tensors.items()}, metadata)
    other = train.Run(run, digits, "cpu")
    capsys.readouterr()
    other.resume()
    assert other.step == 0 and "state of other weights of the upstream run" in capsys.readouterr().err


def test_a_run_without_an_upstream_gets_none(make_run, digits):
    folder = make_run("simclr")
    assert load(folder, files.read_json(folder / "config.json"), "any", "cpu") is None
    run = train.Run(folder, digits, "cpu")
    assert run.method.upstream is None and run.states.upstream == {}


def test_a_generator_that_is_no_map_of_one_latent_is_refused(make_run, digits):
    method = train.Run(make_run("genrep"), digits, "cpu").method
    upstream = method.upstream
    upstream.generator = torch.nn.Identity()
    with refused("methods.genrep.upstream: PlainGAN's generator is no map of one latent"):
        method.attach(upstream)


# GenRep's pairs and loss


@pytest.mark.parametrize("std", [0.0, 0.4])
def test_pairs_are_images_of_latents_and_of_their_neighbours(make_run, digits, std):
    """Literally: anchor G(w), positive G(w + std n), one at a time, in 8 bits."""
    method = train.Run(make_run("genrep", settings={"latent_std": std}), digits, "cpu").method
    method.rng.manual_seed(5)
    drawn = torch.Generator().manual_seed(5)
    latents, steps = (torch.randn(6, 16, generator=drawn).double() for _ in range(2))
    generator = copy.deepcopy(method.upstream.generator).double()
    expected: list[list[np.ndarray]] = [[], []]
    for w, n in zip(latents, steps, strict=True):
        for place, latent in enumerate((w, w + std * n)):
            image = generator(latent[None])[0].detach().numpy()
            expected[place].append(np.clip(np.round(255 * (image + 1) / 2), 0, 255))
    pair = method.positives(6)
    for found, images in zip(pair, expected, strict=True):
        assert found.dtype == torch.uint8 and found.shape == (6, 3, 16, 16)
        difference = np.abs(found.numpy().astype(float) - np.stack(images))
        assert difference.max() <= 1 and difference.mean() < 0.01  # a float32 beside a rounding's edge
    assert torch.equal(*pair) == (std == 0)


@pytest.mark.parametrize("augmentation", ["none", "simclr"])
def test_loss_is_nt_xent_of_the_pairs_under_the_runs_regime(make_run, digits, augmentation):
    """-log exp(s_ij / t) / sum over all other images, mean over the 2N images; views of the regime, drawn in turn."""
    runs = [train.Run(make_run("genrep", augmentation=augmentation), digits, "cpu") for _ in range(2)]
    (views, _), _ = (next(run.batches) for run in runs)
    method = runs[1].method.train()
    pair = [runs[1].batches.view(images) for images in method.positives(len(views[0]))]
    if augmentation == "none":
        levels = (torch.cat(pair) + 1) * 127.5
        assert torch.allclose(levels, levels.round(), rtol=0, atol=1e-4) and 0 <= levels.min() < levels.max() <= 255.1
    z = F.normalize(method.head(method.encoder(torch.cat(pair))), dim=1).double()
    total, n = 0.0, len(views[0])
    for i in range(2 * n):
        scores = {j: (z[i] @ z[j] / method.settings["temperature"]).exp() for j in range(2 * n) if j != i}
        total -= (scores[(i + n) % (2 * n)] / sum(scores.values())).log() / (2 * n)
    loss = runs[0].method.train().step(views, None)["nt_xent"]
    assert loss.item() == pytest.approx(total.item(), rel=1e-4)


# file times, status, gc


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
    assert "another identity" in standing.strayed(run, {"identity": "b", "checksums": {"files": stored}})
    other = {"identity": "a", "checksums": {"files": stored | {"generator.safetensors": "4"}}}
    assert standing.strayed(run, other) == "trained with other weights than some/run holds now"
