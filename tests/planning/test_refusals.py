"""A wrong configuration is one line that says all; the repository's own files and schemas are right."""

import pytest
import suites
from refusal import refused

from structgan import config, plan, sources

ROOT = sources.ROOT
GRID = "grid: [{datasets: [%s], methods: [%s], augmentations: [%s], variants: [%s], seeds: [0]}]"
BAD = {
    "key": ("training: {batchsize: 8}", ["training: unknown key 'batchsize'", "did you mean 'batch_size'"]),
    "section": ("trainings: {}", ["unknown key 'trainings'", "did you mean 'training'"]),
    "setting": (
        "methods: {structural: {settings: {cluster: {wieght: 1.0}}}}",
        ["methods.structural.settings.cluster: unknown key 'wieght'", "did you mean 'weight'"],
    ),
    "variant setting": (
        "methods: {structural: {variants: {x: {settings: {cluster: {wieght: 1.0}}}}}}",
        ["methods.structural.variants.x.settings.cluster: unknown key 'wieght'"],
    ),
    "range": ("training: {batch_size: 1}", ["training.batch_size = 1", "at least 2"]),
    "fraction": ("augmentations: {flip: {flip: 1.5}}", ["augmentations.flip.flip = 1.5", "at most 1"]),
    "setting range": (
        "methods: {structural: {settings: {gaussian: {epsilon: 0}}}}",
        ["methods.structural.settings.gaussian.epsilon = 0", "greater than 0"],
    ),
    "type": ("training: {steps: many}", ['training.steps = "many"', "integer"]),
    "enum": (
        "methods: {structural: {settings: {gaussian: {form: jds}}}}",
        ['gaussian.form = "jds"', "jsd, bhattacharyya, wasserstein"],
    ),
    "what an optimizer needs": (
        "methods: {supervised: {settings: {optimizer: {name: adamw}}}}",
        ["methods.supervised.settings.optimizer", "'betas' is a required property"],
    ),
    "infinite weight": (
        "methods: {structural: {settings: {hinge: {weight: .inf}}}}",
        ["methods.structural.settings.hinge.weight", "finite"],
    ),
    "not a number": ("evaluation: {svm: {C: .nan}}", ["evaluation.svm.C", "finite"]),
    "key of a data set": (
        "datasets: {mine: {builder: folder, path: x, image_size: 32, resze: true}}",
        ["mine.yaml: datasets.mine: unknown key 'resze'", "did you mean 'resize'"],
    ),
    "evaluation": ("evaluation: {knnn: {k: 5}}", ["evaluation: unknown setting 'knnn'", "did you mean 'knn'"]),
    "method": (
        GRID % ("digits_gradient", "simcrl", "none", "base"),
        ["unknown method 'simcrl'", "did you mean 'simclr'"],
    ),
    "data set": (GRID % ("cifar11", "simclr", "none", "base"), ["unknown data set 'cifar11'", "mean 'cifar10'"]),
    "regime": (
        GRID % ("digits_gradient", "simclr", "corp", "base"),
        ["unknown augmentation 'corp'", "did you mean 'crop'"],
    ),
    "variant": (
        GRID % ("digits_gradient", "structural", "none", "no_clster"),
        ["unknown variant 'no_clster'", "did you mean 'no_cluster'"],
    ),
    "variant of another method": (
        GRID % ("digits_gradient", "simclr", "none", "full"),
        ["unknown variant 'full'", "base"],
    ),
    "block without a file": ("methods: {mine: {settings: {}}}", ["unknown method 'mine'", "baselines/"]),
    "nothing to do": (GRID % ("digits_gradient", "random", "flip", "base"), ["grid", "no run"]),
    "low above high": (
        "augmentations: {crop: {crop: {scale: [1.0, 0.5]}}}",
        ["augmentations.crop.crop.scale = [1.0, 0.5]", "low to high"],
    ),
    "groups": (
        "methods: {structural: {settings: {discriminator: {width: 72}}}}",
        ["discriminator", "width = 72", "multiple of channels_per_group = 16"],
    ),
    "neighbors": (
        "methods: {structural: {settings: {cluster: {k: 300, bank: 0}}}}",
        ["methods.structural.settings.cluster.k = 300", "256 candidates"],
    ),
    "parts of a batch": (
        "methods: {structural: {settings: {per_process: 100}}}",
        ["methods.structural.settings.per_process = 100", "training.batch_size = 512"],
    ),
    "batch": (
        "training: {batch_size: 1024}\ndatasets: {digits_gradient: {train_size: 1000}}\n"
        + GRID % ("digits_gradient", "simclr", "none", "base"),
        ["training.batch_size = 1024", "1000 training images of 'digits_gradient'"],
    ),
    "KID of more images than there are": (
        "evaluation: {fidelity: {n_generated: 500}}\ndatasets: {digits_gradient: {train_size: 600}}\n"
        + GRID % ("digits_gradient", "structural", "none", "base"),
        ["evaluation", "kid_subset_size", "1000", "500"],
    ),
    "beyond a float32": (
        "evaluation: {knn: {temperature: 1e-300}}",
        ["evaluation.knn.temperature = 1e-300", "float32"],
    ),
    "beyond a seed": ("training: {steps: 5000000000}", ["training.steps = 5000000000", "at most 4294967295"]),
    "steps of a sample": (
        "methods: {ddpm: {settings: {sampling_steps: 9999}}}",
        ["methods.ddpm.settings", "timesteps = 400 must be at least sampling_steps = 9999"],
    ),
    "a grid without end": (
        GRID % ("digits, " * 2000, "simclr, " * 2000, "none", "base"),
        ["grid.0", "4000000 runs (at most 100000)"],
    ),
    "an axis without end": (
        "methods: {simclr: {sweep: {x: {values: {temperature: %s, head_hidden: %s}}}}}" % (([*range(1, 99)],) * 2),
        ["methods.simclr.sweep.x", "9604 points (at most 1000)"],
    ),
    "a long name": (f"suite: {'x' * 101}", ["suite", "at most 100 characters"]),
    "whole beta": (
        "methods: {simclr: {settings: {optimizer: {name: adam, betas: [0, 0.9]}}}}",
        ["methods.simclr.settings.optimizer.betas.0 = 0", "float"],
    ),
    "pool of more images than there are": (
        "datasets: {digits_gradient: {train_size: 600}}\n"
        "methods: {selfcond_gan: {settings: {clustering: {pool: 601}}}}\n"
        + GRID
        % ("digits_gradient", "selfcond_gan", "none", "base"),
        ["methods.selfcond_gan.settings.clustering.pool = 601", "600 images"],
    ),
    "images that a generator cannot have": (
        "datasets: {mine: {builder: folder, path: x, image_size: 36}}\n" + GRID % ("mine", "plain_gan", "none", "base"),
        ["datasets.mine.image_size = 36", "halving must reach 4 to 7 for the generator"],
    ),
    "images too small for the stages": (
        "datasets: {mine: {builder: folder, path: x, image_size: 8}}\n"
        "methods: {simclr: {settings: {encoder: {blocks: [1, 1, 1, 1, 1]}}}}\n"
        + GRID
        % ("mine", "simclr", "none", "base"),
        ["methods.simclr.settings.encoder.blocks = [1, 1, 1, 1, 1]", "8 pixels cannot be halved 4 times"],
    ),
    "kernel": (
        "augmentations: {simclr: {blur: {p: 0.5, sigma: [0.1, 2.0], kernel: 4}}}",
        ["augmentations.simclr.blur.kernel = 4", "odd"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_is_one_line_that_says_all(user_file, case):
    text, words = BAD[case]
    path = user_file(text)
    with refused("mine.yaml", *words):
        plan.Plan(config.load([path]), [str(config.BASE), str(path)])


@pytest.mark.parametrize(("name", "text"), [("mine.yaml", BAD["key"][0]), ("absent.yaml", ""), (".", "")])
def test_command_line_refuses_with_code_2_and_writes_nothing(user_file, tmp_path, command, refusal, name, text):
    user_file(text)
    done = command("-m", "structgan", "configure", "--configfile", name, cwd=tmp_path)
    assert refusal(done).startswith(f"structgan: {name}: ")
    assert len(done.stderr.splitlines()) == 1 and not done.stdout
    assert [found.name for found in tmp_path.rglob("*")] == ["mine.yaml"]


def test_error_names_the_file_that_holds_the_key(user_file):
    good = user_file("training: {steps: 5}", "good.yaml")
    bad = user_file("training: {log_every: 0}", "bad.yaml")
    for order in ([good, bad], [bad, good]):
        with refused("bad.yaml: training.log_every = 0"):
            config.load(order)


@pytest.mark.parametrize("stem", suites.SHIPPED)
def test_every_configuration_file_of_the_repository_is_valid(stem):
    files = suites.stack(stem)
    assert plan.Plan(config.load(files), [str(file) for file in files] or [str(config.BASE)]).runs


def test_sizes_that_a_builder_gives_by_default_are_known_before_the_images_are_made(user_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where nothing is prepared
    text = """
        grid: [{datasets: [digits_gradient], methods: [selfcond_gan], augmentations: [none], seeds: [0]}]
        methods: {selfcond_gan: {settings: {clustering: {pool: 6001}}}}
    """
    file = user_file(text)
    with refused("clustering.pool = 6001", "more than the 6000 images of 'digits_gradient'"):
        plan.Plan(config.load([file]), [str(file)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "datasets: {digits_noise: {train_scans: [0, 1000], test_scans: [1000, 1797]}}",
            ["evaluation.transfer.targets.digits_gradient: 'digits_noise': test_scans [1000, 1797]", "[500, 1797]"],
        ),
        (
            "evaluation: {dense: {images: {scenes: {train_scans: [0, 1700], test_scans: [1700, 1797]}}}}",
            ["evaluation.dense.images.scenes: test_scans [1700, 1797]", "[500, 1797] of data set 'digits_gradient'"],
        ),
        (
            "evaluation: {dense: {images: {scenes: {train_scans: [400, 1797]}}}}",
            ["evaluation.dense.images.scenes: test_scans [0, 500] overlap train_scans [400, 1797]"],
        ),
        ("evaluation: {dense: {images: {scenes: {train_scans: [600, 600]}}}}", ["scenes.train_scans", "[600, 600]"]),
        ("evaluation: {dense: {images: {scenes: {objects: [1, 9]}}}}", ["9 scans of 12 pixels do not fit in 32"]),
        ("evaluation: {dense: {images: {scenes: {digit_size: 33}}}}", ["3 scans of 33 pixels do not fit in 32"]),
        (
            "evaluation: {transfer: {targets: {digits_gradiant: [digits_noise]}}}",
            ["evaluation.transfer.targets.digits_gradiant", "did you mean 'digits_gradient'"],
        ),
        (
            "evaluation: {transfer: {targets: {stl10: [digits_nois]}}}",
            ["evaluation.transfer.targets.stl10: unknown data set 'digits_nois', did you mean 'digits_noise'"],
        ),
        (
            "datasets: {small: {builder: digits, image_size: 16, train_size: 100}}\n"
            "evaluation: {knn: {k: 150}, transfer: {targets: {digits_gradient: [small]}}}",
            ["data set 'small': evaluation.knn.k: 150", "100 training images"],
        ),
        (
            "datasets: {digits_gradient: {train_scans: [400, 1797]}}\nevaluation: {dense: null, transfer: null}",
            ["datasets.digits_gradient: test_scans [0, 500] overlap train_scans [400, 1797]"],
        ),
    ],
)
def test_images_of_an_evaluation_are_refused_before_anything_is_trained(user_file, text, words):
    files = [*suites.stack("field"), user_file(text)]
    with refused(*words):
        plan.Plan(config.load(files), [str(file) for file in files])


def test_schemas_hold_no_defaults_and_every_method_has_one():
    assert all("default:" not in path.read_text() for path in config.SCHEMAS.rglob("*.yaml"))
    assert {path.stem for path in (config.SCHEMAS / "methods").glob("*.yaml")} == set(sources.methods())
