"""mIoU and average precision against literal loops, and 1 for predictions that are perfect."""

from __future__ import annotations

import numpy as np
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


def overlap(one, two):
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    both = max(0.0, width) * max(0.0, height)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return both / (area - both)


def literal_ap(found, truth, k, least):
    """COCO: greedy matches by falling score, precision made monotone, mean of it at 101 values of recall."""
    candidates = sorted(
        ((score, image, box) for image, entry in enumerate(found) for box, score, label in entry if label == k),
        key=lambda candidate: -candidate[0],
    )
    wanted = {(image, n) for image, entry in enumerate(truth) for n, (_, label) in enumerate(entry) if label == k}
    if not wanted:
        return None
    free, hits = set(wanted), []
    for _, image, box in candidates:
        rivals = [(overlap(box, truth[i][n][0]), (i, n)) for i, n in free if i == image]
        best = max(rivals, default=(0.0, None))
        hits.append(best[0] >= least)
        if best[0] >= least:
            free.remove(best[1])
    right = np.cumsum(hits)
    recall, precision = right / len(wanted), right / np.arange(1, len(hits) + 1)
    levels = [max(precision[recall >= level], default=0.0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(levels))


def some_boxes(rng, count):
    corner = rng.uniform(0, 40, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(6, 20, (count, 2))], 1)


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


def test_average_precision_equals_coco_by_loops():
    rng = np.random.default_rng(3)
    truth, found = [], []
    for _ in range(8):
        boxes = some_boxes(rng, 3)
        truth.append([(list(map(float, np.float32(box))), int(rng.integers(3))) for box in boxes])
        near = [(np.float32(box + rng.normal(0, 1.2, 4)).tolist(), k) for box, k in truth[-1] if rng.random() < 0.9]
        wrong = [(np.float32(box).tolist(), int(rng.integers(3))) for box in some_boxes(rng, 2)]
        found.append([(box, float(np.float32(rng.random())), k) for box, k in [*near, *wrong]])
    boxes = [box for entry in truth for box, _ in entry]
    labels, owners = [k for entry in truth for _, k in entry], [i for i, entry in enumerate(truth) for _ in entry]
    result = scored(found, split(torch.zeros(8, 64, 64), boxes, labels, owners))
    by_overlap = {
        least: np.mean([ap for k in range(3) if (ap := literal_ap(found, truth, k, least)) is not None])
        for least in np.linspace(0.5, 0.95, 10)
    }
    assert 0.1 < result["map"] < 0.9
    assert result["map50"] == pytest.approx(by_overlap[0.5], abs=1e-5)
    assert result["map"] == pytest.approx(np.mean(list(by_overlap.values())), abs=1e-5)


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
