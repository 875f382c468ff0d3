"""The contract over every method that discovery finds, and discovery itself."""

from __future__ import annotations

import pytest
import torch
from snapshots import IMAGES, same

from structgan import config, files, sources
from structgan import method as contract
from structgan.contract import checks
from structgan.contract.subject import Subject
from structgan.errors import UserError

METHODS = list(sources.methods())


CONTRACT = {**checks.FOUNDATIONS, **checks.CHECKS}
del CONTRACT["variants"]  # their sizes are the configuration's and not the small ones of the tests


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def subject(demo, digits, tmp_path, monkeypatch, name):
    """The method as ``structgan check`` sees it; its runs go to the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return Subject(name, demo, [], digits)


def test_discovery_finds_the_paper_and_its_baselines():
    assert {"structural", "simclr", "plain_gan", "random", "supervised"} <= set(METHODS)
    assert sorted(METHODS) == METHODS


def test_every_method_has_settings(demo, name):
    assert name in demo["methods"], f"workflow/config/config.yaml has no block methods.{name}"
    assert (config.SCHEMAS / "methods" / f"{name}.yaml").exists() or "settings" not in demo["methods"][name]


@pytest.mark.parametrize("check", CONTRACT)
def test_the_contract_is_kept(subject, check):
    seen = CONTRACT[check](subject)
    assert (seen is None) == (check == "samples" and not sources.traits(subject.name)["samples"])


def test_features_and_samples_of_a_training_run_are_those_of_evaluation(subject):
    run = subject.start("modes", steps=2)
    run.fit()

    def read():
        with torch.no_grad():
            samples = hasattr(run.method, "sample") and run.method.sample(6, torch.Generator().manual_seed(1))
            return [run.method.encode(IMAGES), samples]

    run.method.train()
    training = read()
    run.method.eval()
    assert same(training, read())


def test_labels_reach_only_a_method_that_declares_them(subject):
    given, run = [], subject.start("labels", steps=4)
    step = run.method.step

    def watched(views, labels):
        assert len(views) == run.method.views
        given.append(labels)
        return step(views, labels)

    run.method.step = watched
    run.fit()
    assert len(given) == 4 and all((labels is not None) == run.method.uses_labels for labels in given)
    assert [record["step"] for record in run.history.records] == [2, 4]


def test_published_run_is_refused_for_other_images_or_settings(subject):
    checks.CHECKS["published"](subject)
    run = subject.start("published", steps=2)
    assert (run.folder / "generator.safetensors").exists() == sources.traits(subject.name)["samples"]
    with pytest.raises(UserError, match="trained on other images"):
        contract.load_run(run.folder, "0" * 64)
    changed = {**files.read_json(run.folder / "config.json"), "identity": "0" * 64}
    files.write_json(run.folder / "config.json", changed)
    with pytest.raises(UserError, match=r"another config\.json"):
        contract.load_run(run.folder, run.dataset.content_hash)


NEW = '''
"""A method of a reader."""
import torch
from structgan.method import Method

class Mine(Method):
    """Learns nothing much."""

    def sample(self, n, generator):
        return torch.zeros(n, 3, 8, 8)
'''


def test_a_new_file_is_found_and_a_name_taken_twice_is_refused(tmp_path, copy_tree, command, refusal):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(NEW)
    listed = command("-m", "structgan", "methods", cwd=tmp_path, root=root)
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert [row[0] for row in rows] == sorted([*METHODS, "mine"])
    assert ["mine", "baselines/mine.py", "samples"] in rows
    (root / "baselines" / "structural.py").write_text(NEW)
    line = refusal(command("-m", "structgan", "methods", cwd=tmp_path, root=root))
    assert "'structural'" in line and "baselines/structural.py" in line and "structgan/methods/structural.py" in line


def test_unknown_method_offers_the_nearest():
    with pytest.raises(UserError, match="did you mean 'simclr'") as caught:
        contract.find("simclrr")
    assert all(name in str(caught.value) for name in METHODS)


@pytest.mark.parametrize(("source", "count"), [("", 0), (NEW + "class Other(Mine):\n    pass\n", 2)])
def test_a_file_without_exactly_one_method_is_named(tmp_path, copy_tree, command, source, count):
    root = copy_tree(tmp_path)
    (root / "baselines" / "mine.py").write_text(source)
    code = "from structgan import method, errors\ntry: method.find('mine')\nexcept errors.UserError as e: print(e)"
    done = command("-c", code, cwd=tmp_path, root=root)
    assert "baselines/mine.py" in done.stdout and f"found {count}" in done.stdout, done.stderr
