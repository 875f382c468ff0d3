"""The one job of all evaluations: what it reads is checked, what it writes is sealed, what it measures is frozen."""

import pytest
from evaluated_tree import CLASSES, SETTINGS, Tree, pictures
from refusal import refused

from structgan import evaluate, evaluation, files, method, provenance
from structgan.datasets import Parts, Split
from structgan.evaluation import features


@pytest.fixture
def tree(halves: Tree, tmp_path) -> Tree:
    return halves.copy(tmp_path / "tree")


def results(tree: Tree, name: str) -> list[str]:
    return [path.name for kind in evaluation.found() for path in tree.run(name).glob(f"{kind}-*.json")]


def test_the_command_writes_a_sealed_result_and_changes_no_other_file(tree: Tree, tmp_path, command) -> None:
    run, protocol = tree.run("plain_gan"), tree.protocol("fidelity")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    done = command("-m", "structgan", "evaluate", "--run", run, "--protocol", protocol, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    identity = files.read_json(protocol)["identity"]
    out, grid = (
        f"{name}-{identity[: provenance.ID]}.{kind}" for name, kind in (("fidelity", "json"), ("samples", "png"))
    )
    assert {path.name for path in run.iterdir()} == {*before, out, grid}
    assert all((run / file).read_bytes() == content for file, content in before.items())
    record = provenance.read_evaluation(run, out)
    assert provenance.read_companion(run, record, grid).exists()
    assert record["evaluation"] == {"name": "fidelity", "identity": identity} and record["protocol"]
    assert (record["dataset"]["name"], record["dataset"]["classes"]) == ("halves", 4)
    assert set(record["checksums"]["inputs"]) == {"encoder.safetensors", "generator.safetensors"}
    encoder = method.load_run(run, tree.dataset.content_hash).encoder
    parameters = sum(weight.numel() for weight in encoder.parameters())
    assert record["encoder"] == {"sha256": features.module_hash(encoder), "parameters": parameters}
    assert all(evaluation.value(record, column.path) > 0 for column in evaluation.found()["fidelity"].columns[:2])


def test_damaged_files_other_images_and_other_sources_are_refused(tree: Tree) -> None:
    run, protocol = tree.run("random"), tree.protocol("probe")
    encoder = (run / "encoder.safetensors").read_bytes()
    (run / "encoder.safetensors").write_bytes(encoder[:-1] + b"x")
    with pytest.raises(provenance.Damaged, match=r"encoder\.safetensors"):
        evaluate.run(run, protocol)
    (run / "encoder.safetensors").write_bytes(encoder)
    other = tree.add_data("others", Parts(CLASSES, pictures(80, 5), pictures(80, 6)))
    with refused("trained on other images"):
        evaluate.run(run, protocol, other)
    planned = {key: value for key, value in files.read_json(protocol).items() if key != "identity"} | {"sources": "x"}
    older = provenance.identified(planned)
    files.write_json(tree.root / provenance.protocol_path(older), older)
    with refused("planned for other sources"):
        evaluate.run(run, tree.root / provenance.protocol_path(older))
    assert not results(tree, "random")


def test_networks_that_change_are_refused(tree: Tree, monkeypatch) -> None:
    encode = method.Method.encode

    def moving(self, images):
        next(iter(self.encoder.parameters())).data.add_(1e-3)
        return encode(self, images)

    monkeypatch.setattr(method.Method, "encode", moving)
    tree.add_data("others", Parts(CLASSES, pictures(80, 5), pictures(80, 6)))
    with refused("changed during the evaluation"):
        tree.evaluate("random", "transfer")
    assert not results(tree, "random")


def test_what_an_evaluation_needs_is_asked_for(tree: Tree) -> None:
    with refused("'random' has no sample()"):
        tree.evaluate("random", "fidelity")
    with refused("names no target for 'halves'"):
        tree.evaluate("random", "transfer")
    with refused("evaluation.knn.k: 401", "at most 400"):
        tree.evaluate("random", "probe", knn={"k": 401, "temperature": 0.07})
    tree.extractor.unlink()
    with refused("extractor-", "no such file"):
        tree.evaluate("plain_gan", "fidelity")


def test_a_target_keeps_its_classes_and_is_resized_where_it_is_allowed(tree: Tree) -> None:
    """The target's two classes: which half is brighter, left or right, in images twice as large."""
    splits = []
    for n, seed in ((200, 5), (120, 6)):
        split = pictures(2 * n, seed)
        kept = split.labels >= 2
        images = split.images[kept].repeat_interleave(2, 2).repeat_interleave(2, 3)
        splits.append(Split(images, split.labels[kept] - 2))
    tree.add_data("sides", Parts(("left", "right"), *splits))
    record = tree.evaluate("random", "transfer")
    found, protocol = record["metrics"]["sides"], record["protocol"]["sides"]
    assert found["linear"]["top1"] > 0.9 and found["knn"]["top1"] > 0.8 and protocol["linear"]["n_train"] == 200
    about = protocol["target"]
    assert (about["classes"], about["image_size"], about["resized_to"]) == (2, 32, 16)
    assert record["targets"] == {"sides": about["content_hash"]}
    settings = {"targets": {"halves": ["sides"]}, "resize": False, "data": tree.targets}
    with refused("'sides' has 32 pixels", "trained at 16", "resize: true"):
        tree.evaluate("random", "transfer", transfer=settings)


def test_a_method_without_maps_has_a_reason_and_no_number(tree: Tree, monkeypatch) -> None:
    last = tree.evaluate("random", "dense", dense={**SETTINGS["dense"], "maps": "last"})
    assert last["metrics"]["scenes"]["miou"] > 0 and last["protocol"]["scenes"]["maps"] == "the last stage's map"

    def none(self, images):
        raise NotImplementedError("it has no feature maps")

    monkeypatch.setattr(method.Method, "feature_maps", none)
    record = tree.evaluate("random", "dense")
    assert record["metrics"] == record["protocol"] == {} and record["reason"] == "it has no feature maps"
