"""A wrong configuration is one line that says all; the repository's own files and schemas are right."""

from __future__ import annotations

import pytest

from structgan import config, plan, sources
from structgan.errors import UserError

ROOT = sources.ROOT
BAD = {
    "key": ("training: {batchsize: 8}", ["training.batchsize", "did you mean 'batch_size'", "mine.yaml"]),
    "section": ("trainings: {}", ["unknown key 'trainings'", "did you mean 'training'", "mine.yaml"]),
    "setting": (
        "methods: {structural: {settings: {cluster: {wieght: 1.0}}}}",
        ["methods.structural.settings.cluster.wieght", "did you mean 'weight'", "mine.yaml"],
    ),
    "variant setting": (
        "methods: {structural: {variants: {x: {settings: {cluster: {wieght: 1.0}}}}}}",
        ["methods.structural.variants.x.settings.cluster.wieght", "mine.yaml"],
    ),
    "regime key": ("augmentations: {crop: {flp: 0.5}}", ["augmentations.crop.flp", "did you mean 'flip'", "mine.yaml"]),
    "range": ("training: {batch_size: 1}", ["training.batch_size = 1", "at least 2", "mine.yaml"]),
    "fraction": ("augmentations: {flip: {flip: 1.5}}", ["augmentations.flip.flip = 1.5", "at most 1", "mine.yaml"]),
    "setting range": (
        "methods: {structural: {settings: {gaussian: {epsilon: 0}}}}",
        ["methods.structural.settings.gaussian.epsilon = 0", "greater than 0", "mine.yaml"],
    ),
    "type": ("training: {steps: many}", ['training.steps = "many"', "integer", "mine.yaml"]),
    "enum": (
        "methods: {structural: {settings: {gaussian: {form: jds}}}}",
        ['gaussian.form = "jds"', "jsd, bhattacharyya, wasserstein", "mine.yaml"],
    ),
    "what an optimizer needs": (
        "methods: {supervised: {settings: {optimizer: {name: adamw}}}}",
        ["methods.supervised.settings.optimizer", "'betas' is a required property", "mine.yaml"],
    ),
    "infinite": ("training: {steps: .inf}", ["training.steps", "mine.yaml"]),
    "infinite weight": (
        "methods: {structural: {settings: {hinge: {weight: .inf}}}}",
        ["methods.structural.settings.hinge.weight", "finite", "mine.yaml"],
    ),
    "not a number": ("evaluation: {svm: {C: .nan}}", ["evaluation.svm.C", "finite", "mine.yaml"]),
    "key of a data set": (
        "datasets: {mine: {builder: folder, path: x, image_size: 32, resze: true}}",
        ["unknown key 'resze'", "did you mean 'resize'", "mine.yaml: datasets.mine"],
    ),
    "method": (
        "grid: [{datasets: [digits], methods: [simcrl], augmentations: [none], seeds: [0]}]",
        ["unknown method 'simcrl'", "did you mean 'simclr'", "structural", "mine.yaml"],
    ),
    "data set": (
        "grid: [{datasets: [cifar11], methods: [simclr], augmentations: [none], seeds: [0]}]",
        ["unknown data set 'cifar11'", "did you mean 'cifar10'", "mine.yaml"],
    ),
    "regime": (
        "grid: [{datasets: [digits], methods: [simclr], augmentations: [corp], seeds: [0]}]",
        ["unknown augmentation 'corp'", "did you mean 'crop'", "mine.yaml"],
    ),
    "variant": (
        "grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [no_clster], seeds: [0]}]",
        ["unknown variant 'no_clster'", "did you mean 'no_cluster'", "mine.yaml"],
    ),
    "variant of another method": (
        "grid: [{datasets: [digits], methods: [simclr], augmentations: [none], variants: [full], seeds: [0]}]",
        ["unknown variant 'full'", "methods.simclr.variants", "base", "mine.yaml"],
    ),
    "block without a file": (
        """
        methods: {mine: {settings: {}}}
        grid: [{datasets: [digits], methods: [mine], augmentations: [none], seeds: [0]}]
        """,
        ["unknown method 'mine'", "baselines/", "mine.yaml"],
    ),
    "nothing to do": (
        "grid: [{datasets: [digits], methods: [random], augmentations: [flip], seeds: [0]}]",
        ["grid", "mine.yaml"],
    ),
    "low above high": (
        "augmentations: {crop: {crop: {scale: [1.0, 0.5]}}}",
        ["augmentations.crop.crop.scale = [1.0, 0.5]", "low to high", "mine.yaml"],
    ),
    "groups": (
        "methods: {structural: {settings: {discriminator: {width: 72}}}}",
        ["discriminator", "width = 72", "multiple of channels_per_group = 16", "mine.yaml"],
    ),
    "neighbors": (
        "methods: {structural: {settings: {cluster: {k: 300, bank: 0}}}}",
        ["methods.structural.settings.cluster.k = 300", "256 candidates", "mine.yaml"],
    ),
    "parts of a batch": (
        "methods: {structural: {settings: {per_process: 100}}}",
        ["methods.structural.settings.per_process = 100", "training.batch_size = 512", "mine.yaml"],
    ),
    "batch": (
        """
        training: {batch_size: 1024}
        datasets: {digits: {train_size: 1000}}
        grid: [{datasets: [digits], methods: [simclr], augmentations: [none], seeds: [0]}]
        """,
        ["training.batch_size = 1024", "1000 training images of 'digits'", "mine.yaml"],
    ),
    "KID of more images than there are": (
        """
        evaluation: {fidelity: {n_generated: 500}}
        datasets: {digits: {train_size: 600}}
        grid: [{datasets: [digits], methods: [simclr, structural], augmentations: [none], seeds: [0]}]
        """,
        ["evaluation", "kid_subset_size", "1000", "500", "mine.yaml"],
    ),
    "kernel": (
        "augmentations: {simclr: {blur: {p: 0.5, sigma: [0.1, 2.0], kernel: 4}}}",
        ["augmentations.simclr.blur.kernel = 4", "odd", "mine.yaml"],
    ),
    "no mapping": ("- 1\n- 2", ["mapping", "list", "mine.yaml"]),
    "no yaml": ("training: {steps: [1", ["not valid YAML", "mine.yaml"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_is_one_line_that_says_all(user_file, case):
    text, words = BAD[case]
    path = user_file(text)
    with pytest.raises(UserError) as caught:
        plan.Plan(config.load([path]), [str(config.BASE), str(path)])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("case", ["key", "range", "method", "infinite weight", "no yaml"])
def test_command_line_refuses_with_code_2_and_writes_nothing(user_file, tmp_path, command, refusal, case):
    text, words = BAD[case]
    path = user_file(text)
    done = command("-m", "structgan", "configure", "--configfile", path, cwd=tmp_path)
    line = refusal(done)
    assert all(word in line for word in words) and len(done.stderr.splitlines()) == 1 and not done.stdout
    assert [found.name for found in tmp_path.rglob("*")] == ["mine.yaml"]


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_configuration_that_cannot_be_read_is_named(tmp_path, command, refusal, name):
    line = refusal(command("-m", "structgan", "configure", "--configfile", name, cwd=tmp_path))
    assert line.startswith(f"structgan: {name}:")


def test_error_names_the_file_that_holds_the_key(user_file):
    good = user_file("training: {steps: 5}", "good.yaml")
    bad = user_file("training: {log_every: 0}", "bad.yaml")
    for order in ([good, bad], [bad, good]):
        with pytest.raises(UserError, match=r"bad\.yaml: training\.log_every = 0"):
            config.load(order)


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_file_of_the_repository_is_valid(path):
    if path.stem in plan.PUBLISHED:
        return  # every plan of config.yaml reads them
    below = [ROOT / "workflow/config/cifar10-small.yaml"] if path.stem.startswith("cifar10-jpeg") else []
    files = [*below, path] if path != config.BASE else []
    assert plan.Plan(config.load(files), [str(file) for file in files] or [str(config.BASE)]).runs


def test_schemas_hold_no_defaults_and_every_method_has_one():
    for path in config.SCHEMAS.rglob("*.yaml"):
        assert "default:" not in path.read_text()
    assert {path.stem for path in (config.SCHEMAS / "methods").glob("*.yaml")} <= set(sources.methods())
    for name, path in sources.methods().items():
        if path.is_relative_to(ROOT):
            assert (config.SCHEMAS / "methods" / f"{name}.yaml").exists(), name
