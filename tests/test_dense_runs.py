"""The job on real runs: the encoder stays as it was, what has no maps has a reason, what it stands on is checked."""

from __future__ import annotations

from pathlib import Path

import frozen_runs
import pytest
import torch
from refusal import refused
from structgan.identity import seal
from suite_tree import Tree

from structgan import config, files, method
from structgan.errors import UserError
from structgan.evaluation import dense
from structgan.report import beyond, tables

EVALUATION = {"protocol": "settings of dense", "sources": "code of dense"}


@pytest.fixture
def protocol(tmp_path):
    return frozen_runs.planned(tmp_path / "dense-protocol.json", "dense", **frozen_runs.DENSE)


def measured(place, folder, protocol):
    dense.run(folder, place / "data.safetensors", protocol, folder / "raw", "cpu")
    return seal.read(folder / "dense.json")


@pytest.mark.parametrize("name", ["random", "plain_gan"])
def test_a_run_is_measured_and_its_encoder_is_as_before(place, tmp_path, protocol, name):
    run = frozen_runs.copied(place, tmp_path / "run", name)
    before = (run / "encoder.safetensors").read_bytes()
    record, wrong = measured(place, run, protocol)
    assert wrong is None and (run / "encoder.safetensors").read_bytes() == before and record["reason"] == ""
    assert set(record["metrics"]) == set(record["protocol"]) == {"scenes"}
    assert 0 < record["metrics"]["scenes"]["miou"] < 1 and 0 <= record["metrics"]["scenes"]["map50"] < 1
    assert record["protocol"]["scenes"]["detection"]["stride"] == 4 and record["protocol"]["scenes"]["n_test"] == 10
    assert record["identity"] == files.read_json(run / "config.json")["identity"]
    again, _ = measured(place, run, protocol)
    assert {key: again[key] for key in ("metrics", "protocol", "encoder")} == {
        key: record[key] for key in ("metrics", "protocol", "encoder")
    }


def test_an_encoder_that_changes_while_it_is_read_is_refused(place, tmp_path, protocol, monkeypatch):
    run, maps = frozen_runs.copied(place, tmp_path / "run"), method.Method.maps

    def moving(self, images):
        next(iter(self.encoder.parameters())).data.add_(1e-3)
        return maps(self, images)

    monkeypatch.setattr(method.Method, "maps", moving)
    with refused("encoder", "changed while features were read"):
        measured(place, run, protocol)
    assert not (run / "dense.json").exists()


def test_maps_are_what_the_pooled_features_are_the_mean_of(place):
    record = files.read_json(place / "random" / "config.json")
    built = method.build(record, 4).eval()
    images = torch.randn(2, 3, 48, 32).contiguous()
    maps = built.maps(images)
    assert [tuple(part.shape[1:]) for part in maps] == [(32, 48, 32), (64, 24, 16), (128, 12, 8), (256, 6, 4)]
    torch.testing.assert_close(maps[-1].mean((2, 3)), built.encode(images), rtol=1e-4, atol=1e-5)


def test_only_the_last_map_is_read_where_it_is_asked_for(place, tmp_path):
    run = frozen_runs.copied(place, tmp_path / "run")
    last = frozen_runs.planned(tmp_path / "last.json", "dense", **{**frozen_runs.DENSE, "maps": "last"})
    record, _ = measured(place, run, last)
    assert record["protocol"]["scenes"]["maps"] == record["encoder"]["features"] == dense.MAPS["last"]


def test_a_method_without_maps_has_a_reason_and_no_number(place, tmp_path, protocol, monkeypatch):
    run = frozen_runs.copied(place, tmp_path / "run")

    def none(self, images):
        raise NotImplementedError("its encoder, a Perceptron, has no feature maps")

    monkeypatch.setattr(method.Method, "maps", none)
    record, wrong = measured(place, run, protocol)
    assert wrong is None and record["metrics"] == record["protocol"] == {}
    assert record["reason"] == "its encoder, a Perceptron, has no feature maps"


def test_an_encoder_that_is_no_backbone_has_no_maps(place):
    built = method.build(files.read_json(place / "random" / "config.json"), 4)
    built.encoder = torch.nn.Flatten()
    with pytest.raises(NotImplementedError, match="its encoder, a Flatten, has no feature maps"):
        built.maps(torch.zeros(1, 3, 16, 16))


def test_voc_that_is_not_at_hand_is_one_line_of_the_command(place, tmp_path, command, refusal):
    run = frozen_runs.copied(place, tmp_path / "run")
    voc = {**frozen_runs.DENSE, "images": {"voc": {"year": "2012", "image_size": 32}}}
    asked = frozen_runs.planned(tmp_path / "voc.json", "dense", **voc)
    arguments = ["--run", run, "--data", place / "data.safetensors", "--protocol", asked, "--device", "cpu"]
    said = refusal(command("-m", "structgan", "dense", *arguments, cwd=tmp_path))
    assert "data/raw/VOCdevkit/VOC2012: no such folder" in said and "VOCtrainval_11-May-2012.tar" in said


def asked(tree: Tree, **images) -> Path:
    """A suite whose runs have a dense.json each; ``images`` replaces the protocol of the second simclr run."""
    tree.plan["evaluation"]["dense"] = EVALUATION
    tree.plan["protocol"]["dense"] = {"images": {"scenes": {}}}
    tree.save()
    for number, cell in enumerate(tree.plan["cells"]):
        metrics = {"miou": 0.3 + 0.01 * number, "map": 0.1, "map50": 0.2, "miou_of_the_commonest_class": 0.08}
        fits = {"segmentation_fit": {"converged": number != 0}, "detection_fit": {"converged": True}}
        record = {
            "identity": cell["identity"], "evaluation": EVALUATION, "dataset": {"name": "digits", "content_hash": "aa"},
            "reason": "", "metrics": {"scenes": metrics | fits}, "protocol": {"scenes": {"n_test": 200}},
        }  # fmt: skip
        if cell["method"] == "random":
            record |= {"reason": "it has none", "metrics": {}, "protocol": {}}
        tree.put(tree.root / cell["run"] / "dense.json", record)
    return tree.root / "results/runs/demo/digits"


def test_the_table_has_numbers_dashes_with_their_reason_and_what_is_stale(tree: Tree):
    base = asked(tree)
    (base / "simclr/none/base/seed=0/dense.json").unlink()
    tree.edit("simclr/crop/base/seed=1", "dense.json", lambda value: value["evaluation"].update(sources="old"))
    rows = tree.rows("dense")
    assert rows["structural", "none", "full"]["scenes_miou_mean"] == "0.305"
    assert rows["random", "none", "base"]["scenes_miou_mean"] == ""
    assert (rows["simclr", "none", "base"]["seeds"], rows["simclr", "crop", "base"]["seeds"]) == ("1", "1")
    text = (tree.tables / "dense.md").read_text()
    assert "—: Random encoder: it has none." in text and "Missing: 2 of 16" in text and "Stale: 1" in text
    assert "mIoU of 8.0 %" in text and "‡" in text and "scenes.n\\_test 200" in text
    page = tree.page()
    assert 'id="table-dense"' in page and 'id="table-transfer"' not in page and "it has none" in page
    assert "structgan dense --run" in page and "Digit scenes, mIoU" in page


def test_two_protocols_in_a_column_are_refused(tree: Tree):
    asked(tree)
    tree.edit("simclr/none/base/seed=1", "dense.json", lambda v: v["protocol"]["scenes"].update(n_test=100))
    with pytest.raises(UserError, match=r"protocols differ in 'scenes.n_test' \(200 against 100\)"):
        tables.write(tree.plan_file, tree.tables)


def test_a_suite_that_does_not_ask_has_no_table_and_reads_no_file(tree: Tree):
    (tree.root / tree.plan["cells"][0]["run"] / "dense.json").write_text("not JSON")
    names = {path.name for path in tables.write(tree.plan_file, tree.tables)}
    assert "representation.csv" in names and not {"dense.csv", "transfer.csv"} & names
    assert "table-dense" not in tree.page()


def test_every_kind_of_images_has_its_words():
    assert set(beyond.IMAGES) == set(dense.IMAGES)
    schema = config.read(config.SCHEMAS / "config.schema.yaml")["properties"]["evaluation"]["properties"]["dense"]
    assert set(schema["properties"]["images"]["properties"]) == set(dense.IMAGES)
    assert set(schema["properties"]["maps"]["enum"]) == set(dense.MAPS)
