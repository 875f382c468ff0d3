"""Settings of a plan that do not fit each other or the data, refused before anything is trained. Imports no torch."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from structgan import builders, provenance, sources
from structgan.errors import UserError, unknown
from structgan.grid import RunConfig


def sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """Images of each part of a data set, as far as its prepared file, its settings or its builder's defaults tell."""
    prepared = prepared_sizes(Path(provenance.data_path(settings["name"], settings["identity"])))
    known = with_defaults(settings)
    asked = {part: known.get(f"{part}_size") for part in ("train", "test")}
    return prepared or {part: size for part, size in asked.items() if isinstance(size, int)}


def prepared_sizes(path: Path) -> dict[str, int]:
    """Images of "train", "test" and "unlabelled" in a prepared data set; empty where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1_000_000)))
        return {name.split("/")[0]: entry["shape"][0] for name, entry in header.items() if name.endswith("/images")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def with_defaults(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of a data set, and its builder's defaults for the others; those of dense images have no builder."""
    if "builder" not in settings:
        return settings
    declared = sources.literals(builders.FOLDER / f"{settings['builder']}.py", *builders.DECLARED)
    return {**declared["DEFAULTS"], **settings}


def check_run(run: RunConfig, images: Mapping[str, int], where: Callable[..., str]) -> None:
    """Refuse a run whose settings do not fit each other or the ``images`` of its data; ``where`` is ``Grid.where``."""
    method, batch = run.settings["method"], run.settings["training"]["batch_size"]
    labeled = sources.capabilities(run.method)["uses_labels"]
    available = images.get("train" if labeled else "unlabelled", images.get("train", float("inf")))
    group = method.get("per_process") or batch
    cluster = method.get("cluster")
    if not isinstance(cluster, Mapping) or not cluster.get("weight"):
        cluster = {"k": 0, "bank": 0}
    candidates = min(group, batch) + cluster["bank"]
    pixels = run.settings["dataset"]["image_size"]
    kernel = run.settings["augmentation"].get("blur", {}).get("kernel", 1)
    own = ("methods", run.method, "settings")
    pool = method.get("clustering", {}).get("pool", 0)
    for fits, key, value, words in (
        *networks(method, run.dataset, pixels, own),
        (pool <= available, (*own, "clustering", "pool"), pool, f"more than the {available} images of '{run.dataset}'"),
        (batch <= available, ("training", "batch_size"), batch,
         f"more than the {available} training images of '{run.dataset}'"),
        (group >= batch or batch % group == 0, (*own, "per_process"), group,
         f"must divide training.batch_size = {batch}"),
        (cluster["k"] < candidates, (*own, "cluster", "k"), cluster["k"],
         f"must be less than the {candidates} candidates of a process and the bank"),
        (kernel % 2 == 1 and kernel < 2 * pixels, ("augmentations", run.augmentation, "blur", "kernel"), kernel,
         f"must be odd and at most {2 * pixels - 1} for images of {pixels} pixels"),
    ):  # fmt: skip
        if not fits:
            raise UserError(f"{where(*key)} = {value}: {words}")


def check_scans(trained: Mapping[str, Any], tested: Mapping[str, Any], where: str) -> None:
    """Refuse test images of digit scans that are also trained on. Images that are not of scans pass."""
    known = with_defaults(trained).get("train_scans", [0, 0])
    asked = with_defaults(tested).get("test_scans", [0, 0])
    if max(known[0], asked[0]) < min(known[1], asked[1]):
        owner = f" of data set '{trained['name']}'" if "name" in trained else ""
        raise UserError(f"{where}: test_scans {asked} overlap train_scans {known}{owner}")


def check_transfers(targets: Mapping[str, Iterable[str]], known: Set[str], where: Callable[..., str]) -> None:
    """Refuse a transfer from or to a data set that does not exist, or to itself."""
    for name, listed in targets.items():
        for each, allowed in ((name, known), *((target, known - {name}) for target in listed)):
            if each not in allowed:
                raise unknown("data set", each, allowed, where("evaluation", "transfer", "targets", name))


def check_target(
    trained: Mapping[str, Any], target: Mapping[str, Any], resize: bool, where: Callable[..., str]
) -> None:
    """Refuse a transfer to images of another size, unless they may be resized, or to those that are trained on."""
    place = where("evaluation", "transfer", "targets", trained["name"])
    check_scans(trained, target, f"{place}: '{target['name']}'")
    sizes = target["image_size"], trained["image_size"]
    if sizes[0] != sizes[1] and not resize:
        words = f"'{target['name']}' has {sizes[0]} pixels, '{trained['name']}' has {sizes[1]}"
        raise UserError(f"{place}: {words} (evaluation.transfer.resize: true makes it fit)")


def check_dense(images: Mapping[str, Mapping[str, Any]], trained: Mapping[str, Any], where: Callable[..., str]) -> None:
    """Refuse images of the dense evaluation that cannot be made, or that test on what a data set trains on."""
    for kind, asked in images.items():
        place = where("evaluation", "dense", "images", kind)
        for known in (asked, trained):
            check_scans(known, asked, place)
        if "objects" in asked:
            size, side, most = asked["image_size"], asked["digit_size"], asked["objects"][-1]
            if most > (size // side) ** 2:
                raise UserError(f"{place}: {most} scans of {side} pixels do not fit in {size} (objects, digit_size)")


def networks(
    method: Mapping[str, Any], dataset: str, pixels: int, own: tuple[str, ...]
) -> Iterator[tuple[bool, tuple[str, ...], Any, str]]:
    """Whether images are large enough for each network's stages: fits, key, value, words."""
    for name, block in ((name, block) for name, block in method.items() if isinstance(block, Mapping)):
        if "latent" in block:
            fits = pixels // (pixels & -pixels) in (1, 3, 5, 7)
            yield fits, ("datasets", dataset, "image_size"), pixels, f"halving must reach 4 to 7 for the {name}"
        if isinstance(block.get("blocks"), list):
            first, halved = pixels // (1 if pixels <= 48 else 2 if pixels <= 96 else 4), len(block["blocks"]) - 1
            words = f"images of {pixels} pixels cannot be halved {halved} times"
            yield first >= 2**halved, (*own, name, "blocks"), block["blocks"], words
