"""The GPU campaign, rehearsed on the CPU: packed, trained in a bare folder, brought home, gone on with, in a table."""

from __future__ import annotations

import csv
import shutil

import pytest
import torch
from raw_data import pack, picture

from benchmarks.gpu import pieces, warm
from benchmarks.gpu.entries import WARM
from structgan import files, method, train
from structgan.errors import UserError

TINY = """
training: {batch_size: 16, steps: 6, log_every: 1, save_every: 4}
datasets: {cifar10_jpeg: {image_size: 16, path: data/raw/tiny.tar.xz}}
methods:
  structural:
    settings:
      discriminator: {width: 8, blocks: [1, 1], channels_per_group: 4, hidden: 16, embedding: 8}
      generator: {latent: 8, condition: 8, channels: 8, hidden: 8, blocks: 1}
      cluster: {bank: 32}
  random: {settings: {encoder: {width: 8, blocks: [1, 1], channels_per_group: 4}}}
grid:
  - {datasets: [cifar10_jpeg], methods: [structural], augmentations: [crop], variants: [full], seeds: [0]}
  - {datasets: [cifar10_jpeg], methods: [random], augmentations: [none], seeds: [0]}
evaluation:
  knn: {k: 3}
  kmeans: {n_init: 1}
  few_labels: {fractions: [0.5]}
  map: {kind: pca, points: 10}
  fidelity: {n_generated: 20, batch_size: 20, kid_subset_size: 10, kid_subsets: 2, is_splits: 2}
  extractor: {width: 4, epochs: 1, batch_size: 8}
"""
CAMPAIGN, OVERLAY = ("-m", "benchmarks.gpu.campaign"), ("--configfile", "tiny.yaml")
NAME, RUN = "structural-crop", "results/runs/cifar10-campaign/cifar10_jpeg/structural/crop/full/seed=0"
RESULTS = "benchmarks/gpu/results/cifar10-campaign"


@pytest.fixture(scope="module")
def home(tmp_path_factory, command):
    """A working folder with a tiny configuration and real JPEG files, and a way to type a verb there."""
    root = tmp_path_factory.mktemp("home")
    (root / "tiny.yaml").write_text(TINY)
    names = [f"{s}/{c}/{i}.jpg" for s, n in (("train", 12), ("test", 10)) for c in ("cat", "dog") for i in range(n)]
    pack(root / "mine.tar.xz", {name: picture(i, (16, 16), kind="JPEG") for i, name in enumerate(names)})

    def at_home(verb, *arguments):
        return command(*CAMPAIGN, verb, *arguments, *OVERLAY, cwd=root)

    return root, at_home


@pytest.fixture(scope="module")
def journey(home, command):
    """One entry there and back twice: one step, then to its end; what each verb said, and the table after each."""
    root, at_home = home
    said, tables = [], []
    for trip, minutes in enumerate((1e-6, 1)):
        said.append(at_home("pack", NAME, "random-none", "--to", f"trip{trip}", "--data", "mine.tar.xz"))
        there = root / f"trip{trip}"
        arguments = ("train", NAME, "--minutes", minutes, "--out", "../out" + str(trip), "--device", "cpu")
        said.append(command(*CAMPAIGN, *arguments, cwd=there, root=there))
        said.append(at_home("absorb", f"out{trip}"))
        said.append(at_home("table"))
        tables.append(list(csv.DictReader((root / RESULTS / "table.csv").open())))
        if not trip:
            said.append(at_home("list"))
    assert [done.returncode for done in said] == [0] * len(said), "\n".join(done.stderr for done in said)
    return root, said, tables


def test_an_entry_is_stopped_brought_home_and_trained_to_its_end(journey):
    root, said, (first, last) = journey
    assert "1 of 6 steps" in said[1].stdout and "6 of 6 steps" in said[6].stdout
    assert "structural-crop" in said[4].stdout and "1 of 6 steps, 0.0 GPU-minutes; goes on\n" in said[4].stdout
    assert "random-none                  not begun" in said[4].stdout
    for row, steps, restarts in ((first[0], 1, "0"), (last[0], 6, "1")):
        assert (row["entry"], row["steps"], row["images"]) == (NAME, str(steps), str(16 * steps))
        assert (row["warm_restarts"], row["precision"], row["device"]) == (restarts, "bfloat16", "cpu")
        assert float(row["epochs"]) == pytest.approx(16 * steps / 24) and float(row["gpu_minutes"]) == 0
        assert 0 <= float(row["linear"]) <= 1 and float(row["fid"]) > 0
    assert "| structural-crop | 4.0 | 96 | 0.0 |" in (root / RESULTS / "table.md").read_text()
    history = files.read_json(root / RESULTS / NAME / "history.json")["records"]
    assert [record["step"] for record in history] == [1, 2, 3, 4, 5, 6]


def test_only_a_finished_run_is_a_result_of_the_suite(journey, command):
    root, said, _ = journey
    assert "finished" not in said[2].stdout and said[7].stdout.endswith(f"also in {RUN}\n")
    names = {"probe.json", "fidelity.json", "env.json", "history.json", "samples.png"}
    assert names <= {path.name for path in (root / RUN).iterdir()}
    plan = root / "results/runs/cifar10-campaign/plan.json"
    done = command("-m", "structgan", "table", "--plan", plan, "--out", root / "tables", cwd=root)
    assert done.returncode == 0 and "Structural GAN" in (root / "tables/representation.md").read_text(), done.stderr


def test_what_a_restart_dropped_is_recorded(journey):
    root, _, _ = journey
    env = files.read_json(root / RESULTS / NAME / "env.json")
    first, second = env["submissions"]
    assert (first["steps"], second["steps"]) == (1, 5) and "warm_restart" not in second
    dropped = ["optimiser moments", "discriminator", "gan_generator", "bank"]
    record = {"step": 1, "weights": "float16", "dropped": dropped, "differs": []}
    assert first["warm_restart"] == record
    assert files.read_json(root / RESULTS / NAME / "campaign.json")["restarts"] == [record]


def test_the_extractor_of_the_first_trip_serves_the_second(journey):
    root, _, _ = journey
    one, two = (root / f"trip{i}/results/runs/cifar10-campaign/cifar10_jpeg/extractor.safetensors" for i in (0, 1))
    assert one.read_bytes() == two.read_bytes()
    assert "extractor …" in journey[1][1].stderr and "extractor …" not in journey[1][6].stderr


def test_a_warm_state_holds_averages_from_which_the_networks_start_again(journey):
    root, _, _ = journey
    found = warm.read(root / RUN / WARM)
    made = method.build(found.config, 2)
    assert warm.averages(made) == {"average_discriminator": "discriminator", "generator": "gan_generator"}
    assert {name.split(".")[0] for name in found.networks} == {"average_discriminator", "generator"}
    exact = files.load_tensors(root / "trip1" / RUN / "snapshot/encoder.safetensors")[0]
    kept = {name.removeprefix("average_discriminator.backbone."): value for name, value in found.networks.items()}
    for name, value in exact.items():
        assert torch.equal(kept[name], value.half() if value.ndim >= 2 else value), name


def test_a_state_of_other_settings_goes_on_only_where_that_is_asked_for(journey, command, tmp_path):
    root, _, _ = journey
    (root / "longer.yaml").write_text(TINY.replace("steps: 6", "steps: 7"))
    arguments = (*CAMPAIGN, "pack", NAME, "--configfile", "longer.yaml", "--data", "mine.tar.xz")
    refused = command(*arguments, "--to", "refused", cwd=root)
    assert refused.returncode == 2 and "otherwise than planned now (settings.training.steps)" in refused.stderr
    assert command(*arguments, "--to", "longer", "--from-other", cwd=root).returncode == 0
    assert files.read_json(root / "longer/pack.json")["from_other"] is True
    job = train.Run(root / "longer" / RUN, root / "trip1/data/prepared/cifar10_jpeg.safetensors", "cpu")
    with pytest.raises(UserError, match="trained otherwise than planned now"):
        warm.restart(job, warm.read(root / RUN / WARM))
    warm.restart(job, warm.read(root / RUN / WARM), other=True)
    job.resume()
    assert job.step == 6 and not job.method.optimiser_d.state
    restarts = [entry["warm_restart"] for entry in job.environment.entries()]
    assert [restart["differs"] for restart in restarts] == [[], ["settings.training.steps"]]


def test_an_untrained_encoder_needs_no_minutes_and_leaves_no_state(journey, command):
    there = journey[0] / "trip0"
    done = command(*CAMPAIGN, "train", "random-none", "--out", "out", "--device", "cpu", cwd=there, root=there)
    assert done.returncode == 0 and "0 of 0 steps" in done.stdout, done.stderr
    assert sorted(path.name for path in (there / "out").iterdir()) == ["results.000", "results.json"]


@pytest.mark.parametrize("harm", ["edit", "remove"])
def test_a_damaged_piece_is_one_line_and_nothing_is_taken_over(journey, home, harm):
    root, _, _ = journey
    folder = root / f"harmed-{harm}"
    shutil.copytree(root / "out0", folder)
    piece = folder / "state.000"
    piece.write_bytes(piece.read_bytes()[:-1] + b"!") if harm == "edit" else piece.unlink()
    before = {path: path.read_bytes() for path in (root / RESULTS / NAME).iterdir()}
    done = home[1]("absorb", folder)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"campaign: {piece}: {'damaged' if harm == 'edit' else 'missing'}")
    assert {path: path.read_bytes() for path in (root / RESULTS / NAME).iterdir()} == before


def test_pieces_are_small_and_come_together_again(tmp_path):
    contents = {"a": bytes(range(256)) * 5, "b": b"", "c": b"xyz"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    pieces.write(tmp_path / "out", "bundle", [tmp_path / name for name in contents], {"n": 1}, size=500)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").glob("bundle.0*")}
    assert sizes == {"bundle.000": 500, "bundle.001": 500, "bundle.002": 283}
    assert pieces.read(tmp_path / "out", "bundle", tmp_path / "back") == {"n": 1}
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == contents
    pieces.write(tmp_path / "out", "bundle", [tmp_path / "c"], {})
    assert [path.name for path in (tmp_path / "out").glob("bundle.0*")] == ["bundle.000"]


def test_unknown_entries_and_missing_data_are_one_line(home):
    root, at_home = home
    done = at_home("pack", "structural-crap", "--to", "x", "--data", "mine.tar.xz")
    assert done.returncode == 2 and "unknown entry 'structural-crap', did you mean 'structural-crop'?" in done.stderr
    done = at_home("pack", NAME, "--to", "x", "--data", "none.tar.xz")
    assert done.returncode == 2 and done.stderr.startswith("campaign: none.tar.xz: no such file")
    assert not (root / "x").exists()


def test_rounding_keeps_small_and_large_numbers():
    weight = torch.tensor([[0.05, -3.0]])
    assert warm.rounded(weight).dtype == torch.float16
    for exact in (torch.tensor([[1e6, 0.0]]), torch.tensor([0.1]), torch.tensor([[1, 2]])):
        assert warm.rounded(exact) is exact
    with pytest.raises(UserError, match="no such file"):
        warm.read(files.Path("absent"))
