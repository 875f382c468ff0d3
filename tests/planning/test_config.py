"""From YAML to settings and their identity: merging, the order of the layers, the values of the paper, fingerprints."""

import hashlib
import json
import re

from structgan import config, sources, yaml_reader
from structgan.grid import Grid

CELL = {"dataset": "digits_gradient", "method": "structural", "augmentation": "none", "variant": "full", "seed": 0}


def resolved(settings, **changes):
    """The settings of one run."""
    return Grid(settings).run(**(CELL | changes)).settings


def test_merge_goes_key_by_key_and_changes_neither_side():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": {"z": 1}}
    above = {"a": {"y": [3], "w": {"v": 0}}, "c": None, "d": {"e": 1}}
    before = json.dumps([below, above])
    merged = config.merge(below, above)
    assert merged == {"a": {"x": 1, "y": [3], "w": {"v": 0}}, "b": 1, "c": None, "d": {"e": 1}}
    merged["a"]["w"]["v"] = 9
    merged["a"]["y"].append(9)
    assert json.dumps([below, above]) == before


def test_later_files_win(user_file):
    first = user_file("training: {steps: 11, batch_size: 7}", "first.yaml")
    second = user_file("training: {steps: 22}", "second.yaml")
    training = config.load([first, second])["training"]
    assert (training["steps"], training["batch_size"]) == (22, 7)
    assert config.load([second, first])["training"]["steps"] == 11


def test_resolve_order_is_common_dataset_method_augmentation_variant(base):
    """Each layer sets the key of the next one too, so that any swap of two layers shows."""
    keys = ["batch_size", "log_every", "save_every", "steps"]
    changed = json.loads(json.dumps(base))
    method = changed["methods"]["structural"]
    blocks = [
        changed["datasets"]["digits_gradient"],
        method,
        changed["augmentations"]["none"],
        method["variants"]["full"],
    ]
    for rank, block in enumerate(blocks):
        block["training"] = dict.fromkeys(keys[rank:], 100 * (rank + 1))
    assert [resolved(changed)["training"][key] for key in keys] == [100, 200, 300, 400]
    assert resolved(base)["training"] == base["training"]


def test_a_variant_changes_only_what_it_names_and_titles_are_no_settings(base):
    full, changed = (resolved(base, variant=variant) for variant in ("full", "no_cluster"))
    assert changed == config.merge(full, {"method": {"cluster": {"weight": 0.0}}}) != full
    assert set(full) == {"dataset", "training", "method", "augmentation"} and "title" not in json.dumps(full)


def test_paper_values_are_those_of_method(base):
    """The numbers of METHOD (Zhang & Maire 2023 and its release), which no refactoring may move."""
    structural = base["methods"]["structural"]["settings"]
    network = {"width": 64, "blocks": [2, 2, 2, 2], "channels_per_group": 16, "hidden": 512, "embedding": 128}
    assert structural["discriminator"] == network
    assert structural["generator"] == {"latent": 128, "condition": 128, "channels": 512, "hidden": 128, "blocks": 2}
    assert structural["gaussian"] == {"form": "jsd", "epsilon": 0.5, "weight": 1.0}
    bank = {"bank": 10240, "embeddings": "updated", "update_every": 1}
    assert structural["cluster"] == {"weight": 3.0, "k": 1, **bank, "skip_best_for_generated": True}
    assert (structural["per_process"], structural["latents"], structural["spectral_norm"]) == (256, "fresh", False)
    assert (structural["smoothness"]["weight"], structural["hinge"]["weight"], structural["ema"]) == (5.0, 20.0, 0.99)
    both = {"lr": 2e-4, "betas": [0.5, 0.999], "schedule": "constant", "warmup_fraction": 0.0}
    assert structural["optimizer"] == {
        "discriminator": {"name": "adamw", "weight_decay": 0.1, **both},
        "generator": {"name": "adam", "weight_decay": 0.0, **both},
    }
    assert (base["training"]["batch_size"], base["training"]["steps"]) == (512, 97000)
    adam = {key: both[key] for key in ("lr", "betas")} | {"name": "adamw", "weight_decay": 0.1}
    assert base["training"]["online_probe"] == {"every": 485, "ema": 0.99, "optimizer": adam}
    assert base["evaluation"]["kmeans_release"]["n_init"] == 5
    crop = base["augmentations"]["crop"]
    assert (crop["flip"], crop["crop"]["scale"], crop["crop"]["interpolation"]) == (0.5, [0.5, 1.0], "bicubic")


def test_configuration_is_the_only_place_with_values():
    """YAML of the repository's configuration parses to what the loader returns: no hidden defaults."""
    assert config.load([]) == yaml_reader.read(config.BASE)


def test_fingerprint_is_of_the_content_and_not_of_its_order():
    value = {"a": 1, "b": {"c": [1, 2.5, None, "é"], "d": True}}
    turned = {"b": {"d": True, "c": [1, 2.5, None, "é"]}, "a": 1}
    assert sources.fingerprint(value) == sources.fingerprint(turned)
    canonical = rb'{"a":1,"b":{"c":[1,2.5,null,"\u00e9"],"d":true}}'
    assert sources.fingerprint(value) == hashlib.sha256(canonical).hexdigest()


def test_identity_follows_each_setting_and_no_title(base):
    def identity(change, **changes):
        return Grid(config.merge(base, change)).run(**(CELL | changes)).identity

    first = identity({})
    assert re.fullmatch("[0-9a-f]{64}", first) and identity({}) == first
    assert identity({"title": "another", "note": "x", "suite": "other", "device": "cpu"}) == first
    assert (
        identity({"methods": {"structural": {"title": "X"}}, "datasets": {"digits_gradient": {"note": "reworded"}}})
        == first
    )
    assert identity({"methods": {"simclr": {"settings": {"temperature": 0.5}}}}) == first
    changes = [
        {"training": {"steps": 5}},
        {"methods": {"structural": {"settings": {"cluster": {"k": 2}}}}},
        {"augmentations": {"none": {"flip": 0.1}}},
        {"datasets": {"digits_gradient": {"image_size": 32}}},
    ]
    found = [identity(change) for change in changes] + [identity({}, seed=1)]
    assert len({first, *found}) == len(changes) + 2
