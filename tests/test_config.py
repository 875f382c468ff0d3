"""From YAML to identity: merging, what is refused and how, fingerprints, the digest of the sources, the plan."""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from pathlib import Path

import pytest
import yaml

from structgan import config, plan, sources
from structgan.errors import UserError

ROOT = sources.ROOT
DEMO = ROOT / "workflow/config/demo.yaml"
CELL = {"dataset": "digits", "method": "structural", "augmentation": "none", "variant": "full", "seed": 0}


@pytest.fixture(scope="module")
def base():
    return config.load([])


@pytest.fixture
def user_file(tmp_path):
    """Writes a configuration file of a user."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_merge_goes_key_by_key_and_changes_neither_side():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": {"z": 1}}
    above = {"a": {"y": [3], "w": {"v": 0}}, "c": None, "d": {"e": 1}}
    copies = json.dumps([below, above])
    merged = config.merge(below, above)
    assert merged == {"a": {"x": 1, "y": [3], "w": {"v": 0}}, "b": 1, "c": None, "d": {"e": 1}}
    merged["a"]["w"]["v"] = 9
    merged["a"]["y"].append(9)
    assert json.dumps([below, above]) == copies


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
    blocks = [
        changed["datasets"]["digits"],
        changed["methods"]["structural"],
        changed["augmentations"]["none"],
        changed["methods"]["structural"]["variants"]["full"],
    ]
    for rank, block in enumerate(blocks):
        block["training"] = dict.fromkeys(keys[rank:], 100 * (rank + 1))
    assert config.resolve(changed, CELL)["training"] == dict(zip(keys, (100, 200, 300, 400), strict=True))
    assert config.resolve(base, CELL)["training"] == base["training"]


def test_variant_changes_only_what_it_names(base):
    full, changed = (config.resolve(base, {**CELL, "variant": variant})["method"] for variant in ("full", "no_cluster"))
    assert full["cluster"].pop("weight") == 3.0 and changed["cluster"].pop("weight") == 0.0
    assert full == changed


def test_titles_are_no_part_of_the_settings(base):
    resolved = config.resolve(base, {**CELL, "augmentation": "simclr"})
    assert set(resolved) == {"dataset", "training", "method", "augmentation"}
    assert "title" not in json.dumps(resolved)


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
    "infinite": ("training: {steps: .inf}", ["training.steps", "mine.yaml"]),
    "infinite weight": (
        "methods: {structural: {settings: {hinge: {weight: .inf}}}}",
        ["methods.structural.settings.hinge.weight", "finite", "mine.yaml"],
    ),
    "not a number": ("evaluation: {svm: {C: .nan}}", ["evaluation.svm.C", "finite", "mine.yaml"]),
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
        ["unknown augmentation regime 'corp'", "did you mean 'crop'", "mine.yaml"],
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
    "no mapping": ("- 1\n- 2", ["mapping", "list", "mine.yaml"]),
    "no yaml": ("training: {steps: [1", ["not valid YAML", "mine.yaml"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_is_one_line_that_says_all(user_file, case):
    text, words = BAD[case]
    path = user_file(text)
    with pytest.raises(UserError) as caught:
        plan.make(config.load([path]), [str(config.BASE), str(path)])
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
    if path.stem == "references":
        rows = config.read(path)["rows"]
        assert rows and all(set(row) == {"dataset", "method", "metric", "value", "protocol", "source"} for row in rows)
        return
    below = [ROOT / "workflow/config/cifar10-small.yaml"] if path.stem.startswith("cifar10-jpeg") else []
    files = [*below, path] if path != config.BASE else []
    made, runs = plan.make(config.load(files), [str(file) for file in files] or [str(config.BASE)])
    assert len(made["cells"]) == len(runs) > 0


def test_schemas_hold_no_defaults_and_every_method_has_one():
    for path in config.SCHEMAS.rglob("*.yaml"):
        assert "default:" not in path.read_text()
    assert {path.stem for path in (config.SCHEMAS / "methods").glob("*.yaml")} <= set(sources.methods())
    for name, path in sources.methods().items():
        if path.is_relative_to(ROOT):
            assert (config.SCHEMAS / "methods" / f"{name}.yaml").exists(), name


def test_fingerprint_is_of_the_content_and_not_of_its_order():
    value = {"a": 1, "b": {"c": [1, 2.5, None, "é"], "d": True}}
    turned = {"b": {"d": True, "c": [1, 2.5, None, "é"]}, "a": 1}
    assert config.fingerprint(value) == config.fingerprint(turned)
    canonical = rb'{"a":1,"b":{"c":[1,2.5,null,"\u00e9"],"d":true}}'
    assert config.fingerprint(value) == hashlib.sha256(canonical).hexdigest()
    others = [{"a": 2, "b": value["b"]}, {"a": 1}, {"a": 1, "b": {"c": [2.5, 1, None, "é"], "d": True}}]
    assert len({config.fingerprint(other) for other in [value, *others]}) == 4


def test_identity_follows_each_setting_and_no_title(base):
    def identity(change, cell=CELL):
        return config.run_config(config.merge(base, change), cell)["identity"]

    first = identity({})
    assert re.fullmatch("[0-9a-f]{64}", first) and identity({}) == first
    assert identity({"title": "another", "note": "x", "resources": {"train": {"threads": 1}}}) == first
    assert identity({"methods": {"structural": {"title": "X"}}}) == first
    assert identity({"methods": {"simclr": {"settings": {"temperature": 0.5}}}}) == first
    changes = [
        {"training": {"steps": 5}},
        {"methods": {"structural": {"settings": {"cluster": {"k": 2}}}}},
        {"augmentations": {"none": {"flip": 0.1}}},
        {"datasets": {"digits": {"image_size": 32}}},
        {"suite": "other"},
    ]
    found = [identity(change) for change in changes] + [identity({}, {**CELL, "seed": 1})]
    assert len({first, *found}) == len(changes) + 2


DIGESTS = (
    "from structgan import sources; import json; "
    "print(json.dumps({name: sources.run_digest(name) for name in sources.methods()}))"
)


@pytest.fixture
def digests(tmp_path, copy_tree, command):
    """A copy of the tree, and the digest of each method's run in it as it is at the time of the call."""
    root = copy_tree(tmp_path)

    def read():
        done = command("-c", DIGESTS, cwd=tmp_path, root=root)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def edit(name, change):
        path = root / name
        text = path.read_text()
        assert change(text) != text
        path.write_text(change(text))

    return read, edit


def test_comments_docstrings_and_layout_never_change_a_digest(digests):
    read, edit = digests
    before = read()
    assert before == {name: sources.run_digest(name) for name in sources.methods()}
    edit("structgan/losses/cluster.py", lambda text: text.replace('"""', '"""Another wording. ', 1) + "\n# a remark\n")
    edit("structgan/train.py", lambda text: text.replace("\n\n\n", "\n\n\n\n\n"))
    edit("structgan/methods/structural.py", lambda text: re.sub(r'"""One step.*?"""', '"""x"""', text) + "\n\n")
    assert read() == before


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_an_edit_of_the_logic_changes_exactly_the_runs_that_use_it(digests):
    read, edit = digests
    start = read()
    edit("structgan/losses/cluster.py", lambda text: text.replace(".mean()", ".sum()"))
    loss = read()
    assert changed(start, loss) == {"structural"}
    edit("baselines/simclr.py", lambda text: text.replace("views = 2", "views = 3"))
    baseline = read()
    assert changed(loss, baseline) == {"simclr"}
    edit("structgan/models/pair.py", lambda text: text.replace("1e-5", "1e-6") + "\nX = 1\n")
    encoder = read()
    assert changed(baseline, encoder) == set(start)
    edit("structgan/train.py", lambda text: text.replace("COLLAPSED = 1e-5", "COLLAPSED = 2e-5"))
    assert changed(encoder, read()) == set(start)


def test_what_no_run_uses_changes_no_digest(digests):
    read, edit = digests
    before = read()
    edit("structgan/cli.py", lambda text: text + "\nX = 1\n")
    edit("structgan/metrics/linear.py", lambda text: text + "\nX = 1\n")
    edit("structgan/report/page.py", lambda text: text + "\nX = 1\n")
    assert read() == before


def test_digest_covers_the_networks_losses_and_the_loop():
    files = {str(path.relative_to(ROOT)) for path in sources.closure([*sources.TRAINING])}
    assert {"structgan/train.py", "structgan/checkpoint.py", "structgan/augment.py", "structgan/method.py"} <= files
    files = {str(path.relative_to(ROOT)) for path in sources.closure([sources.method_file("structural")])}
    losses = {f"structgan/losses/{name}.py" for name in ("gaussian", "cluster", "smoothness", "adversarial")}
    models = {f"structgan/models/{name}.py" for name in ("pair", "discriminator", "generator", "memory")}
    assert losses | models | {"structgan/optim.py"} <= files


def times(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.json")}


def test_plan_is_written_only_where_its_content_changes(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan.write(demo, [str(DEMO)])
    first = times(tmp_path)
    assert len(first) == len(made["cells"]) + 3  # plan, protocol, one data set's settings
    for cell in made["cells"]:
        run = json.loads((tmp_path / cell["run"] / "config.json").read_text())
        assert run["identity"] == cell["identity"] == config.fingerprint({k: run[k] for k in run if k != "identity"})
        assert cell["run"] == "results/runs/demo/{dataset}/{method}/{augmentation}/{variant}/seed={seed}".format(**cell)
    plan.write(demo, [str(DEMO)])
    assert times(tmp_path) == first

    plan.write(config.merge(demo, {"methods": {"simclr": {"settings": {"temperature": 0.3}}}}), [str(DEMO)])
    touched = {str(path.relative_to(tmp_path)) for path, time in times(tmp_path).items() if time != first[path]}
    simclr = {f"{cell['run']}/config.json" for cell in made["cells"] if cell["method"] == "simclr"}
    assert touched == simclr | {"results/runs/demo/plan.json"}


def test_plan_survives_a_damaged_file(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan.write(demo, [str(DEMO)])
    victim = tmp_path / made["cells"][0]["run"] / "config.json"
    victim.write_text(victim.read_text()[:50])
    plan.write(demo, [str(DEMO)])
    assert json.loads(victim.read_text())["identity"] == made["cells"][0]["identity"]


def test_plan_of_the_paper(base):
    """3 data sets, 3 seeds: structural under 4 regimes, its 5 variants under one, 3 baselines under 4, random once."""
    made, runs = plan.make(base, [str(config.BASE)])
    cells = made["cells"]
    assert len(cells) == len(runs) == 3 * 3 * (4 + 5 + 3 * 4 + 1)
    assert len({cell["run"] for cell in cells}) == len({cell["identity"] for cell in cells}) == len(cells)
    assert {cell["dataset"] for cell in cells} == {"cifar10", "cifar100", "imagenet10"}
    assert {cell["seed"] for cell in cells} == {0, 1, 2}
    assert {cell["augmentation"] for cell in cells if cell["method"] == "random"} == {"none"}
    assert len(made["not_applicable"]) == 3 * 3 and all(row["reason"] for row in made["not_applicable"])
    assert list(made["augmentations"]) == ["none", "flip", "crop", "simclr"]
    assert made["methods"]["structural"]["kind"] == "method" and made["methods"]["structural"]["samples"]
    assert made["methods"]["supervised"]["uses_labels"] and made["methods"]["supervised"]["kind"] == "reference"
    assert not made["methods"]["simclr"]["samples"] and made["references"]


def test_grid_names_each_cell_once(base):
    block = {"datasets": ["digits"], "methods": ["random"], "augmentations": ["none"], "seeds": [0, 0, 1]}
    made, _ = plan.make({**base, "grid": [block, block]}, [])
    assert [cell["seed"] for cell in made["cells"]] == [0, 1]


def test_paper_values_are_those_of_method(base):
    """The numbers of METHOD (Zhang & Maire 2023 and its release), which no refactoring may move."""
    structural = base["methods"]["structural"]["settings"]
    assert structural["discriminator"] == {
        "width": 64,
        "blocks": [2, 2, 2, 2],
        "channels_per_group": 16,
        "hidden": 512,
        "embedding": 128,
    }
    assert structural["generator"] == {"latent": 128, "condition": 128, "channels": 512, "hidden": 128, "blocks": 2}
    assert structural["gaussian"] == {"form": "jsd", "epsilon": 0.5, "weight": 1.0}
    assert structural["cluster"] == {"weight": 3.0, "k": 1, "bank": 10240, "skip_best_for_generated": False}
    assert (structural["smoothness"]["weight"], structural["hinge"]["weight"], structural["ema"]) == (5.0, 20.0, 0.99)
    both = {"lr": 2e-4, "betas": [0.5, 0.999], "schedule": "constant", "warmup_fraction": 0.0}
    assert structural["optimiser"] == {
        "discriminator": {"name": "adamw", "weight_decay": 0.1, **both},
        "generator": {"name": "adam", "weight_decay": 0.0, **both},
    }
    assert (base["training"]["batch_size"], base["training"]["steps"]) == (512, 97000)
    crop = base["augmentations"]["crop"]
    assert (crop["flip"], crop["crop"]["scale"], crop["crop"]["interpolation"]) == (0.5, [0.5, 1.0], "bicubic")


def test_find_cell(demo):
    made, _ = plan.make(demo, [])
    cell = made["cells"][0]
    assert plan.find_cell(made, cell["run"] + "/") == cell
    with pytest.raises(UserError, match="unknown run"):
        plan.find_cell(made, cell["run"] + "1")


def test_configuration_is_the_only_place_with_values():
    """YAML of the repository's configuration parses to what the loader returns: no hidden defaults."""
    assert config.load([]) == yaml.safe_load(config.BASE.read_text())
