"""Transfer to other data sets: real runs, targets of other classes and sizes, refusals, the table and the plan."""

from __future__ import annotations

import frozen_runs
import pytest
import torch
from halves import pictures
from refusal import refused
from structgan.evaluation.battery import Probes
from structgan.identity import protocol, seal, stamps
from structgan.identity.verify import Suite
from suite_tree import Tree

from structgan import config, datasets, files, plan
from structgan.datasets import Parts, Split, store
from structgan.errors import UserError
from structgan.evaluation import features, transfer

MARK = {"protocol": "settings of transfer", "sources": "code of transfer"}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A data set of two other classes, twice as large: which half is brighter, left or right."""
    splits = []
    for n, seed in ((200, 5), (120, 6)):
        split = pictures(2 * n, seed)
        kept = split.labels >= 2
        images = split.images[kept].repeat_interleave(2, 2).repeat_interleave(2, 3)
        splits.append(Split(images, split.labels[kept] - 2))
    path = tmp_path_factory.mktemp("target") / "sides.safetensors"
    store.save(path, Parts(("left", "right"), *splits), {"name": "sides"})
    return path


def asked(path, resize=True, targets=("sides",)):
    return frozen_runs.planned(path, "transfer", targets={"halves": list(targets)}, resize=resize, data={})


def measured(place, run, target, planned):
    transfer.run(run, place / "data.safetensors", [target], planned, "cpu")
    return seal.read(run / "transfer.json")


def test_a_frozen_encoder_is_probed_on_other_classes_at_its_own_size(place, target, tmp_path):
    run = frozen_runs.copied(place, tmp_path / "run")
    before = (run / "encoder.safetensors").read_bytes()
    record, wrong = measured(place, run, target, asked(tmp_path / "protocol.json"))
    assert wrong is None and (run / "encoder.safetensors").read_bytes() == before
    found = record["metrics"]["sides"]
    assert set(found) == set(transfer.PROBES) and found["linear"]["top1"] > 0.9 and found["knn"]["top1"] > 0.8
    assert record["targets"] == {"sides": datasets.load(target).content_hash}
    told = record["protocol"]["sides"]["target"]
    assert (told["classes"], told["image_size"], told["resized_to"]) == (2, 32, 16)
    assert record["protocol"]["sides"]["linear"]["n_train"] == 200 and record["dataset"]["name"] == "halves"


def test_its_numbers_are_the_probes_of_the_targets_features(place, target, tmp_path):
    """At the same size nothing is resized, and the probes are those of ``structgan probe``."""
    from structgan.method import load_run

    run = frozen_runs.copied(place, tmp_path / "run")
    other = tmp_path / "others.safetensors"
    store.save(other, Parts(("a", "b", "c", "d"), pictures(160, 8), pictures(80, 9)), {"name": "others"})
    record, _ = measured(place, run, other, asked(tmp_path / "protocol.json", resize=False, targets=("others",)))
    data, settings = datasets.load(other), config.merge(frozen_runs.EVALUATION, frozen_runs.SMALL)
    method = load_run(run, datasets.load(place / "data.safetensors").content_hash)
    parts = [features.extract(method.encode, split.images) for split in (data.train, data.test)]
    probes = Probes(parts[0], data.train.labels, parts[1], data.test.labels, settings, settings["seed"])
    assert record["metrics"]["others"] == {"linear": probes.linear()[0], "knn": probes.knn()[0]}
    assert "resized_to" not in record["protocol"]["others"]["target"]


def test_another_size_that_is_not_to_be_resized_and_other_targets_than_planned_are_refused(place, target, tmp_path):
    run = frozen_runs.copied(place, tmp_path / "run")
    with refused("'sides' has 32 pixels", "trained at 16", "resize: true"):
        measured(place, run, target, asked(tmp_path / "same.json", resize=False))
    with refused("'halves' is to be transferred to ['elsewhere']", "['sides']"):
        measured(place, run, target, asked(tmp_path / "other.json", targets=("elsewhere",)))
    with refused("missing.safetensors"):
        measured(place, run, tmp_path / "missing.safetensors", asked(tmp_path / "protocol.json"))
    assert not (run / "transfer.json").exists()


def test_a_resized_target_keeps_its_labels_and_its_mean(target):
    data = datasets.load(target)
    small = transfer.fitting(data, 16, True)
    assert small.train.images.shape == (200, 3, 16, 16) and small.train.images.dtype == torch.uint8
    assert torch.equal(small.test.labels, data.test.labels) and transfer.fitting(data, 32, False) is data
    means = [split.images.float().mean((1, 2, 3)) for split in (small.train, data.train)]
    assert (means[0] - means[1]).abs().max() < 2


@pytest.fixture
def planned(demo, tmp_path, monkeypatch):
    """The demo with a second data set that it transfers to; returns the configuration."""
    monkeypatch.chdir(tmp_path)
    over = {
        "datasets": {"digits_other": {"builder": "digits", "image_size": 16, "seed": 1}},
        "evaluation": {"transfer": {"targets": {"digits": ["digits_other"]}, "resize": False}},
    }
    return config.merge(demo, over)


def test_a_plan_names_the_targets_of_its_own_data_sets_alone(planned, demo):
    made = plan.make(planned, [])[0]
    assert made["transfer"] == {"digits": ["digits_other"]} and set(made["targets"]) == {"digits_other"}
    assert set(made["datasets"]) == {"digits"} and "cifar10" not in made["protocol"]["transfer"]["targets"]
    plain = plan.make(demo, [])[0]  # config.yaml names CIFAR's targets, which the demo does not train on
    assert not {"transfer", "targets"} & set(plain) and not {"transfer", "dense"} & set(plain["evaluation"])
    assert not {"transfer", "dense"} & set(plain["protocol"])


def test_the_papers_grid_transfers_between_cifar_10_and_cifar_100(base):
    made = plan.make(base, [])[0]
    assert made["transfer"] == {"cifar10": ["cifar100"], "cifar100": ["cifar10"]}
    assert set(made["targets"]) <= set(made["datasets"]) and "dense" not in made["evaluation"]
    for names in (["cifar10"], ["cifar10-small"], ["cifar10-small", "cifar10-jpeg"]):
        files_ = [f"workflow/config/{name}.yaml" for name in names]
        assert "transfer" not in plan.make(config.load(files_), files_)[0]["evaluation"]


def test_other_settings_or_another_builder_of_a_target_make_its_numbers_stale(planned):
    mark = plan.make(planned, [])[0]["evaluation"]["transfer"]
    other = config.merge(planned, {"datasets": {"digits_other": {"seed": 2}}})
    assert plan.make(other, [])[0]["evaluation"]["transfer"]["protocol"] != mark["protocol"]
    titled = config.merge(planned, {"datasets": {"digits_other": {"title": "x"}}})
    assert plan.make(titled, [])[0]["evaluation"]["transfer"] == mark


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["digits_othr"], ["'digits_othr'", "did you mean 'digits_other'", "evaluation.transfer.targets.digits"]),
        (["digits"], ["unknown data set 'digits'"]),
        (["digits32"], ["'digits32' has 32 pixels", "'digits' 16", "resize: true"]),
    ],
)
def test_a_target_that_makes_no_sense_is_one_line(planned, targets, words):
    changed = config.merge(planned, {"evaluation": {"transfer": {"targets": {"digits": targets}}}})
    with refused(*words):
        plan.make(changed, ["mine.yaml"])


def test_a_target_with_other_images_outdates_and_is_told_by_verify(planned, tmp_path):
    import planned_tree

    made = plan.write(planned, [])
    assert (tmp_path / "data/prepared/digits_other.json").exists()
    planned_tree.complete(tmp_path, {**made, "datasets": {**made["datasets"], **made["targets"]}})
    cell = made["cells"][0]
    result = tmp_path / cell["run"] / "transfer.json"
    mark = {
        "identity": cell["identity"],
        "evaluation": made["evaluation"]["transfer"],
        "dataset": {"content_hash": "aa"},
    }
    seal.write(result, {**mark, "targets": {"digits_other": "aa"}})
    data = tmp_path / "data/prepared/digits_other.safetensors"
    stamps.settle(made, tmp_path / "results/runs/demo")
    assert data.stat().st_mtime < result.stat().st_mtime
    seal.write(result, {**mark, "targets": {"digits_other": "bb"}})
    stamps.settle(made, tmp_path / "results/runs/demo")
    assert data.stat().st_mtime > result.stat().st_mtime
    checked = Suite(tmp_path / "results/runs/demo/plan.json")
    checked.hashes = {"digits": "aa", "digits_other": "aa"}
    problem = checked.measured(result, files.read_json(result), cell)
    assert problem == "measured on another 'digits_other' than data/prepared holds"
    assert protocol.read(tmp_path / "results/runs/demo/protocol/transfer.json", "transfer")["kind"] == "transfer"


def test_the_table_has_a_column_for_each_target_and_refuses_to_mix_protocols(tree: Tree):
    tree.plan["evaluation"]["transfer"] = MARK
    tree.plan["transfer"] = {"digits": ["more"]}
    tree.plan["targets"] = {"more": {"title": "More digits", "note": ""}}
    tree.save()
    for number, cell in enumerate(tree.plan["cells"]):
        metrics = {"linear": {"top1": 0.5 + 0.01 * number, "converged": True}, "knn": {"top1": 0.4}}
        record = {
            "identity": cell["identity"], "evaluation": MARK, "targets": {"more": "cc"}, "metrics": {"more": metrics},
            "dataset": {"name": "digits", "content_hash": "aa"},
            "protocol": {"more": {"target": {"content_hash": "cc"}}},
        }  # fmt: skip
        tree.put(tree.root / cell["run"] / "transfer.json", record)
    row = tree.rows("transfer")["structural", "none", "full"]
    assert (row["seeds"], row["more_linear_mean"], row["more_knn_mean"]) == ("2", "0.505", "0.4")
    page = tree.page()
    assert 'id="table-transfer"' in page and "More digits" in page and "--target data/prepared/more.safetensors" in page
    tree.edit(
        "simclr/none/base/seed=1", "transfer.json", lambda v: v["protocol"]["more"]["target"].update(content_hash="dd")
    )
    with pytest.raises(UserError, match=r"protocols differ in 'more.target.content_hash'"):
        tree.rows("transfer")
