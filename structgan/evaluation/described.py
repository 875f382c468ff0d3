"""What every metric file says of the data that its numbers were measured on."""

from __future__ import annotations

from typing import Any


def dataset_record(dataset: Any) -> dict[str, Any]:
    """What a metric file says of its data set."""
    return {
        "name": dataset.name,
        "content_hash": dataset.content_hash,
        "classes": len(dataset.classes),
        "training_images": len(dataset.training_images),
        "note": dataset.note,
    }
