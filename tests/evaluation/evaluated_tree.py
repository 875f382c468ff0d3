"""A tree of runs with fresh weights and of protocols, on the data set "halves": images with one bright half."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from structgan import config, evaluate, evaluation, files, method, provenance, sources
from structgan.datasets import Dataset, Parts, Split, load, store
from structgan.evaluation import extractor

DEMO = Path(__file__).parents[2] / "workflow/config/demo.yaml"
CLASSES = ("low", "high", "left", "right")
RUNS = {"random": "base", "plain_gan": "base", "structural": "full"}
"""Methods of the tree and the variant of each."""
DATA = sources.fingerprint({"name": "halves"})
ONLINE = config.load([])["training"]["online_probe"]
BASE = config.load([])["evaluation"]
SOLVER = {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2}
SETTINGS: dict[str, Any] = {
    **BASE,
    "knn": {"k": 5, "temperature": 0.07},
    "map": {**BASE["map"], "points": 50},
    "extractor": {**BASE["extractor"], "width": 4, "epochs": 4, "batch_size": 32, "lr": 0.01},
    "fidelity": {
        **BASE["fidelity"], "extractor": "embedded", "n_generated": 120, "batch_size": 50, "kid_subset_size": 60,
        "kid_subsets": 7, "is_splits": 4,
    },
    "dense": {
        "maps": "all",
        "segmentation": SOLVER,
        "detection": {
            **SOLVER, "stride": 4, "middle": 0.5, "ridge": 10.0, "score": 0.05, "nms": 0.5, "detections": 100,
        },
        "images": {
            "scenes": {
                "image_size": 32, "digit_size": 12, "objects": [1, 2], "ink": 0.5, "train_size": 20, "test_size": 10,
                "train_scans": [500, 1797], "test_scans": [0, 500], "seed": 0,
            },
        },
    },
}  # fmt: skip


def pictures(n: int, seed: int) -> Split:
    """Noise with one bright half: a task that a tiny classifier learns in a second."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 120, (n, 3, 16, 16), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        half = (image[:, 8:], image[:, :8], image[:, :, :8], image[:, :, 8:])[label]
        half += 100
    return Split(images.to(torch.uint8), labels)


class Tree:
    """Data sets, protocols and finished runs below ``root``, laid out as planned."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.targets: dict[str, dict[str, str]] = {}
        self.data = root / provenance.data_path("halves", DATA)
        planned = provenance.protocol("extractor", {"extractor": SETTINGS["extractor"]})
        self.extractor = root / provenance.extractor_path("halves", DATA, planned)

    @classmethod
    def write(cls, root: Path, methods: Iterable[str] = RUNS) -> "Tree":
        """The data set, a trained extractor and a run of each method."""
        tree = cls(root)
        tree.add_data("halves", Parts(CLASSES, pictures(400, 0), pictures(200, 1)))
        for name in methods:
            tree.add_run(name)
        tree.train_extractor(tree.extractor)
        return tree

    def copy(self, root: Path) -> "Tree":
        """The same tree elsewhere, free to be changed."""
        shutil.copytree(self.root, root)
        return Tree(root)

    def add_data(self, name: str, parts: Parts) -> Path:
        """Write a prepared data set; ``transfer`` can name it as a target."""
        identity = sources.fingerprint({"name": name})
        self.targets[name] = {"identity": identity}
        path = self.root / provenance.data_path(name, identity)
        store.save(path, parts, {"name": name}, identity)
        return path

    def add_run(self, name: str) -> None:
        """A finished run with fresh weights, as its training leaves it."""
        suite = config.load([DEMO])
        networks = suite["methods"][name]["settings"]
        networks["encoder" if "encoder" in networks else "discriminator"]["width"] = 32  # the goldens' size
        content = {
            "dataset": "halves", "method": name, "augmentation": "none", "variant": RUNS[name], "seed": 0,
            "data": DATA, "sources": "of this test",
            "settings": {
                "dataset": {"image_size": 16}, "training": {**suite["training"], "online_probe": ONLINE},
                "method": networks, "augmentation": {},
            },
        }  # fmt: skip
        described = {**content, "identity": sources.fingerprint(content)}
        run, images = self.root / provenance.run_path(described), self.dataset.content_hash
        files.write_json(run / "config.json", described)
        torch.manual_seed(0)
        built = method.build(described, len(CLASSES))
        metadata = {"identity": described["identity"], "content_hash": images, "num_classes": str(len(CLASSES))}
        networks = method.published_files(run, name)
        for path in networks:
            files.save_tensors(path, built.get_submodule(path.stem).state_dict(), metadata)
        scored = {"online_top1": 0.625, "online_top1_ema": 0.5}
        files.write_json(run / "history.json", {"records": [{"step": 20, "images": 320, "losses": scored}]})
        record = {"identity": described["identity"], "dataset": {"name": "halves", "content_hash": images}}
        provenance.write_sealed(run / "env.json", record, made=[run / "history.json", *networks])

    def train_extractor(self, out: Path) -> dict[str, str]:
        """Train the extractor that the fidelity's protocol names; returns its metadata."""
        return extractor.train(self.data, self.protocol("extractor", extractor=SETTINGS["extractor"]), out)

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return load(self.data)

    def run(self, name: str) -> Path:
        """The folder of a method's run."""
        return next((self.root / provenance.RUNS / "halves" / name).glob("*/*/*/*/config.json")).parent

    def protocol(self, name: str, **changes: Any) -> Path:
        """Write a protocol with the settings of this module; ``changes`` replaces or adds blocks."""
        declared = evaluation.found().get(name)
        asked = {key: SETTINGS.get(key) for key in (declared.settings if declared else ())}
        if name == "fidelity":
            asked["extractor"] = SETTINGS["extractor"]
        if name == "transfer":
            names = [target for target in self.targets if target != "halves"]
            asked["transfer"] = {"targets": {"halves": names}, "resize": True, "data": self.targets}
        planned = provenance.protocol(name, {**asked, **changes})
        path = self.root / provenance.protocol_path(planned)
        files.write_json(path, planned)
        return path

    def evaluate(self, method: str, name: str, **changes: Any) -> dict[str, Any]:
        """Evaluate a run and read the result through its seals."""
        run = self.run(method)
        out = evaluate.run(run, self.protocol(name, **changes), raw=self.root / "raw")
        return provenance.read_evaluation(run, out.name)
