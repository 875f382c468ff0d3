"""What the training of a run gets of the run that it depends on, what it records, and what stops it."""

import shutil
from pathlib import Path

import pytest
import torch
from refusal import refused

from structgan import files, provenance, sources, train
from structgan import method as contract
from structgan.training.upstream import load


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


def identified(content):
    """A config.json with the identity of its content."""
    return provenance.identified({key: value for key, value in content.items() if key != "identity"})


@pytest.fixture
def own(make_run, tmp_path):
    """A run of GenRep, and a copy of its upstream run that may be changed, both where a plan has them."""
    described = files.read_json(make_run("genrep", steps=2, folder="made") / "config.json")
    first = Path(described["upstream"]["run"])
    above = provenance.run_path(files.read_json(first / "config.json"))
    shutil.copytree(first, tmp_path / above)
    described = identified(described | {"upstream": described["upstream"] | {"run": above}})
    run = tmp_path / provenance.run_path(described)
    files.write_json(run / "config.json", described)
    return run, tmp_path / above


def test_an_evaluation_needs_no_upstream_run(own, digits):
    run, above = own
    train.run(run, digits)
    shutil.rmtree(above)
    content = files.read_json(run / "env.json")["dataset"]["content_hash"]
    assert contract.load_run(run, content).upstream is None


def sealed_again(env):
    """Write an env.json once more, as a training that left these files would have."""
    record = files.read_json(env)
    made = [env.with_name(name) for name in record.pop("checksums")["files"]]
    provenance.write_sealed(env, record, made)


def trained_on_other_images(above):
    tensors, metadata = files.load_tensors(above / "encoder.safetensors")
    files.save_tensors(above / "encoder.safetensors", tensors, metadata | {"content_hash": "other"})
    sealed_again(above / "env.json")


HARMS = {
    "config.json: no such file": shutil.rmtree,
    "generator.safetensors: no such file": lambda above: (above / "generator.safetensors").unlink(),
    "generator.safetensors: edited or damaged": lambda above: (above / "generator.safetensors").write_bytes(b"x"),
    "was trained on other images": trained_on_other_images,
    "was trained with other sources than these; plan again and train it first": None,
}


@pytest.mark.parametrize("words", HARMS)
def test_an_upstream_run_that_is_not_as_planned_stops_in_one_line(own, digits, words, monkeypatch):
    run, above = own
    digest = sources.run_digest
    if HARMS[words]:
        HARMS[words](above)
    else:
        monkeypatch.setattr(sources, "run_digest", lambda name: digest(name) + "x" * (name == "plain_gan"))
    with refused(f"{run}: its upstream run cannot be used: {above}", words):
        train.run(run, digits)
    told = files.read_json(run / "progress.json")
    assert told["state"] == "failed" and "its upstream run cannot be used" in told["reason"]
    assert not (run / "encoder.safetensors").exists()


def test_another_upstream_run_than_planned_stops_in_one_line(own, digits):
    run, above = own
    config = files.read_json(run / "config.json")
    other = identified(config | {"upstream": config["upstream"] | {"identity": "0" * 64}})
    run = run.with_name(other["identity"][:8])
    files.write_json(run / "config.json", other)
    with refused(f"{above}", "planned is 000000000000; plan again and train it first"):
        train.run(run, digits)


def test_a_state_goes_on_with_the_weights_that_it_began_with_alone(own, digits, capsys):
    run, above = own
    train.run(run, digits)
    same = train.Run(run, digits, "cpu")
    same.resume()
    assert same.step == 2
    tensors, metadata = files.load_tensors(above / "generator.safetensors")
    files.save_tensors(above / "generator.safetensors", {key: 1.01 * value for key, value in tensors.items()}, metadata)
    sealed_again(above / "env.json")
    other = train.Run(run, digits, "cpu")
    capsys.readouterr()
    other.resume()
    assert other.step == 0 and "of another upstream run" in capsys.readouterr().err


def test_a_run_without_an_upstream_gets_none(make_run, digits):
    folder = make_run("simclr")
    assert load(folder, files.read_json(folder / "config.json"), "any", "cpu") is None
    run = train.Run(folder, digits, "cpu")
    assert run.method.upstream is None and run.states.of["upstream run"] == "none"


@pytest.mark.parametrize(
    ("name", "words"),
    [("selfcond_gan", "SelfConditionedGAN, a ConditionalGenerator,"), ("ddpm", "DDPM, a UNet,")],
)
def test_a_generator_that_is_no_map_of_one_latent_is_refused(make_run, digits, name, words):
    method = train.Run(make_run("genrep"), digits, "cpu").method
    other = train.Run(make_run(name, folder="other"), digits, "cpu").method
    with refused(f"methods.genrep.upstream: the generator of {words} is no map of one latent w to an image"):
        method.attach(other)
