"""Settings that fit one data set and not another: counts against the numbers of images. Imports no torch.

Planning checks them where it knows the numbers, and every job checks them again on the prepared data.
"""

from collections.abc import Mapping
from typing import Any

from structgan.errors import UserError


def check(settings: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Refuse settings that a data set is too small for.

    Args:
        settings: blocks of the configuration's ``evaluation``.
        sizes: images of "train", "test" and, where there is such a part, "unlabelled". A limit by a split that is not
            given is not checked.

    Raises:
        UserError: names the setting, its value and the largest allowed one.
    """
    if "knn" in settings and "train" in sizes:
        at_most("knn.k", settings["knn"]["k"], sizes["train"], f"{sizes['train']} training images")
    chosen = settings.get("map")
    if chosen and chosen["kind"] == "tsne" and "test" in sizes:
        points = min(chosen["points"], sizes["test"])
        if points < 4:
            raise UserError(f"evaluation.map.points: t-SNE needs at least 4 points, not {points}")
    if "fidelity" in settings:
        splits = ("test",) if settings["fidelity"]["reference"] == "test" else ("unlabelled", "train")
        if available := [sizes[split] for split in splits if split in sizes]:
            fidelity(settings["fidelity"], available[0])


def fidelity(settings: Mapping[str, Any], available: int) -> None:
    """The block "fidelity" against the number of reference images that a split has."""
    generated, metrics = settings["n_generated"], settings["metrics"]
    reference = available if settings["n_reference"] is None else settings["n_reference"]
    at_most("fidelity.n_reference", reference, available, f"{available} reference images")
    fewest, have = min(generated, reference), f"{generated} generated and {reference} reference images"
    if "kid" in metrics:
        at_most("fidelity.kid_subset_size", settings["kid_subset_size"], fewest, have)
    if "is" in metrics:
        at_most("fidelity.is_splits", settings["is_splits"], generated, have)
    if "prc" in metrics:
        at_most("fidelity.precision_recall_k", settings["precision_recall_k"], fewest - 1, have)


def at_most(key: str, value: int, most: int, have: str) -> None:
    """Refuse a value above ``most``."""
    if value > most:
        raise UserError(f"evaluation.{key}: {value} is too large for {have} (at most {most})")
