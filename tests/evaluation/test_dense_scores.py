"""mIoU against a literal loop, and average precision of perfect, missing and difficult boxes."""

from __future__ import annotations

import pytest
import torch

from structgan.datasets.annotated import IGNORED, Annotated
from structgan.evaluation import dense, detection


def split(masks, boxes, labels, owners, difficult=None):
    """An annotated split of these answers; its images don't matter."""
    masks = torch.as_tensor(masks, dtype=torch.uint8)
    images = torch.zeros(len(masks), 3, *masks.shape[1:], dtype=torch.uint8)
    hard = torch.zeros(len(labels), dtype=torch.bool) if difficult is None else torch.tensor(difficult)
    numbers = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Annotated(images, masks, numbers, torch.tensor(labels), torch.tensor(owners), hard)


def literal_miou(predicted, masks, classes):
    """Mean over the classes that occur of |predicted and true| / |predicted or true|, ignored pixels left out."""
    scores = []
    for k in range(classes):
        both = either = 0
        for p, m in zip(predicted.flatten().tolist(), masks.flatten().tolist(), strict=True):
            if m != IGNORED:
                both += p == k and m == k
                either += p == k or m == k
        if either:
            scores.append(both / either)
    return sum(scores) / len(scores)


def test_miou_equals_a_loop_over_pixels_and_leaves_ignored_pixels_out():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 4, (5, 6, 7), generator=generator).to(torch.uint8)
    predicted = torch.where(torch.rand(5, 6, 7, generator=generator) < 0.6, masks.long(), 1)
    masks[torch.rand(5, 6, 7, generator=generator) < 0.2] = IGNORED
    scores = dense.SegmentationScores(6)  # two classes occur nowhere
    for part in (slice(0, 2), slice(2, 5)):
        scores.add(predicted[part], masks[part])
    found = scores.result()
    assert found["miou"] == pytest.approx(literal_miou(predicted, masks, 6), abs=1e-6)
    assert len(found["iou"]) == 6 and found["iou"][4:] == [0.0, 0.0]


def test_a_perfect_mask_has_an_miou_of_one_and_the_commonest_class_what_a_loop_gives():
    masks = torch.arange(24).reshape(2, 3, 4) % 3 * (torch.arange(24).reshape(2, 3, 4) > 12)
    scores = dense.SegmentationScores(3)
    scores.add(masks, masks.to(torch.uint8))
    assert scores.result()["miou"] == 1.0
    both = split(masks, [], [], [])
    expected = literal_miou(torch.zeros_like(masks), masks, 3)
    assert dense.majority(both, both, 3) == pytest.approx(expected, abs=1e-6)


def scored(found, test):
    scores = detection.Scores()
    entries = []
    for entry in found:
        boxes = torch.tensor([box for box, _, _ in entry], dtype=torch.float32).reshape(-1, 4)
        values, labels = (torch.tensor([row[at] for row in entry]) for at in (1, 2))
        entries.append({"boxes": boxes, "scores": values.float(), "labels": labels.long()})
    for part in (slice(0, 3), slice(3, len(found))):
        scores.add(entries[part], test, part)
    return scores.result()


def test_perfect_boxes_have_an_ap_of_one_and_a_difficult_one_need_not_be_found():
    boxes, labels, owners = [[2, 3, 12, 20], [5, 5, 9, 30], [0, 0, 8, 8]], [0, 1, 1], [0, 1, 3]
    found = [[] for _ in range(4)]
    for box, label, owner in zip(boxes, labels, owners, strict=True):
        found[owner].append((box, 0.9, label))
    test = split(torch.zeros(4, 32, 32), boxes, labels, owners)
    assert scored(found, test) == {"map": pytest.approx(1.0), "map50": pytest.approx(1.0)}
    found[3] = []
    assert scored(found, test)["map50"] < 0.9
    hard = split(torch.zeros(4, 32, 32), boxes, labels, owners, [False, False, True])
    assert scored(found, hard)["map50"] == pytest.approx(1.0)
