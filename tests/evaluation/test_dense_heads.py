"""Linear heads on maps: where they read, that they find what is linear in the maps, and how they are scored."""

import pytest
import torch
import torch.nn.functional as F
from evaluated_tree import SETTINGS
from refusal import refused
from torchmetrics.detection import MeanAveragePrecision

from structgan.datasets import scenes
from structgan.datasets.annotated import IGNORED, Annotated
from structgan.evaluation import dense, dense_features, detection

SMALL = {"places": 4000, "C": 10.0, "max_iter": 500, "tol": 1e-4}
HEADS = {
    "segmentation": SMALL,
    "detection": {**SETTINGS["dense"]["detection"], **SMALL, "stride": 2, "ridge": 1e-3},
}
SCENES = {**SETTINGS["dense"]["images"]["scenes"], "train_size": 60, "test_size": 30}


@pytest.mark.parametrize("size", [(8, 9), (16, 17), (4, 4), (11, 13)])
def test_a_place_is_read_and_scored_as_on_resampled_maps(size):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(3, c, h, h + 1, generator=generator) for c, h in ((4, 8), (5, 4), (6, 2), (2, 16))]
    whole = torch.cat([dense_features.resample(part, size) for part in values], dim=1)
    gathered = dense_features.Gathered(torch.randint(0, 3, (6, size[0] * size[1]), generator=generator), size, 50, 0)
    for part in (slice(0, 3), slice(3, 6)):
        gathered.add(part, values)
    expected = whole.repeat(2, 1, 1, 1).permute(0, 2, 3, 1).flatten(0, 2)[gathered.chosen]
    torch.testing.assert_close(torch.cat(gathered.parts), expected)
    head = dense_features.Head(torch.randn(3, 17, generator=generator), torch.randn(3, generator=generator))
    literal = torch.einsum("kd,ndhw->nkhw", head.weight, whole) + head.bias[:, None, None]
    torch.testing.assert_close(head.scores(values, size), literal, rtol=1e-4, atol=1e-5)


def test_places_are_half_of_objects_and_never_ignored():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (1000,), generator=generator) * (torch.rand(1000, generator=generator) < 0.3)
    classes[:100] = IGNORED
    chosen = dense_features.choose(classes, 100, seed=1)
    found = classes[chosen]
    assert (found > 0).sum() == 50 and len(found) == 100 and not (found == IGNORED).any() and (chosen.diff() > 0).all()
    assert torch.equal(chosen, dense_features.choose(classes, 100, seed=1))
    assert len(dense_features.choose(classes, 10_000, seed=1)) == 900


def test_intercepts_of_chosen_places_are_those_of_all_places():
    """A head that is fitted on half objects, half background gives the probabilities of one that is fitted on all."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40_000, 3, generator=generator)
    rates = torch.stack([torch.full((40_000,), 4.0), 2 * x[:, 0], 2 * x[:, 1]], dim=1).softmax(dim=1)
    y = torch.multinomial(rates, 1, generator=generator).flatten()
    counts, settings = torch.bincount(y).double(), {"C": 1e3, "max_iter": 500, "tol": 1e-6}
    chosen = dense_features.choose(y, 4000, seed=0)
    part, _ = dense_features.classifier(x[chosen], y[chosen], counts, settings)
    whole, told = dense_features.classifier(x, y, counts, settings)
    one, two = ((x @ head.weight.T + head.bias).softmax(dim=1) for head in (part, whole))
    assert told["converged"] and counts[0] > 10 * counts[1]
    assert (one - two).abs().mean() < 0.01 and (two - rates).abs().mean() < 0.01


def test_each_cell_answers_for_the_smallest_box_around_it_and_each_box_has_a_cell():
    cells, centers = detection.grid((8, 12), 4)
    assert cells == (2, 3) and centers.tolist() == [[2, 2], [6, 2], [10, 2], [2, 6], [6, 6], [10, 6]]
    boxes = torch.tensor([[0.0, 0, 12, 8], [9.0, 5, 11, 7], [0.5, 0.5, 1.5, 1.5]])
    owner, between = detection.assign(centers, boxes, 0.6)
    # the large box's middle holds the two cells at x = 6, the two others belong to the small boxes near them
    assert owner.tolist() == [2, 0, -1, -1, 0, 1] and between.tolist() == [False, False, True, True, False, False]
    owner, between = detection.assign(centers, boxes[:0], 0.6)
    assert owner.tolist() == [-1] * 6 and not between.any()


def test_boxes_come_back_from_their_edges_and_stay_inside_the_image():
    centers, boxes = torch.tensor([[3.0, 4], [7, 2]]), torch.tensor([[1.0, 2, 6, 8], [5, 0, 9, 3]])
    assert torch.equal(detection.boxes_of(centers, detection.edges(centers, boxes), (8, 12)), boxes)
    wild = detection.boxes_of(centers, torch.full((2, 4), 50.0), (8, 12))
    assert wild.tolist() == [[0, 0, 12, 8]] * 2


def separable(images, splits):
    """Maps in which class and box are linear: the one-hot mask at full size, at half size a cell's class and edges."""
    split = next(split for split in splits if len(split) == len(images))
    one_hot = F.one_hot(split.masks.long(), 11).permute(0, 3, 1, 2).float()
    cells, centers = detection.grid((32, 32), 2)
    coarse = torch.zeros(len(split), 15, cells[0] * cells[1])
    for image in range(len(split)):
        boxes, labels, _ = split.of(image)
        owner, _ = detection.assign(centers, boxes, 0.5)
        on = owner >= 0
        coarse[image, labels[owner[on]], on.nonzero().flatten()] = 1
        coarse[image, 10, ~on] = 1
        coarse[image, 11:, on] = detection.edges(centers[on], boxes[owner[on]]).T
    return [one_hot, coarse.reshape(len(split), 15, *cells)]


def test_heads_find_what_is_linear_in_the_maps_and_nothing_in_noise(monkeypatch):
    monkeypatch.setattr(dense_features, "BATCH_PIXELS", 10**9)  # a whole split in one batch
    splits = scenes.build(SCENES)
    metrics, told = dense.evaluate(lambda batch: separable(batch, splits), splits, scenes.CLASSES, HEADS, 0)
    assert metrics["miou"] == pytest.approx(1.0) and metrics["map50"] > 0.99 and metrics["map"] > 0.95
    assert metrics["segmentation_fit"]["converged"] and metrics["detection_fit"]["converged"]
    assert told["n_test"] == 30 and told["classes"] == 10 and len(told["test_sha256"]) == 64

    def noise(batch):
        return [torch.randn(len(batch), 4, 8, 8, generator=torch.Generator().manual_seed(len(batch)))]

    blind, _ = dense.evaluate(noise, splits, scenes.CLASSES, HEADS, 0)
    assert blind["miou"] == pytest.approx(blind["miou_of_the_commonest_class"], abs=0.01) and blind["map50"] < 0.05


def test_the_size_of_a_batch_changes_nothing_and_maps_must_be_finite(monkeypatch):
    splits = scenes.build({**SCENES, "train_size": 12, "test_size": 8})
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0))

    def maps(batch):
        fine = F.conv2d(batch, weight, padding=1)
        return [fine, F.avg_pool2d(fine, 4)]

    whole = dense.evaluate(maps, splits, scenes.CLASSES, HEADS, 0)
    monkeypatch.setattr(dense_features, "BATCH_PIXELS", 3 * 32 * 32)
    parts = dense.evaluate(maps, splits, scenes.CLASSES, HEADS, 0)
    assert parts[1] == whole[1]
    assert parts[0]["miou"] == pytest.approx(whole[0]["miou"], abs=1e-3)
    with refused("NaN or infinity", "diverged"):
        dense.evaluate(lambda b: [torch.full((len(b), 2, 8, 8), torch.nan)], splits, scenes.CLASSES, HEADS, 0)


def literal_miou(predicted, masks, classes):
    """Mean over the classes that occur of |predicted and true| / |predicted or true|, ignored pixels left out."""
    scores = []
    for k in range(classes):
        both = ((predicted == k) & (masks == k)).sum()
        either = (((predicted == k) | (masks == k)) & (masks != IGNORED)).sum()
        scores += [float(both / either)] if either else []
    return sum(scores) / len(scores)


def test_miou_is_over_all_pixels_and_leaves_ignored_ones_out():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 4, (5, 6, 7), generator=generator).to(torch.uint8)
    assert dense.segmentation(masks, masks, 4)["miou"] == 1.0
    predicted = torch.where(torch.rand(5, 6, 7, generator=generator) < 0.6, masks, 1)
    masks[torch.rand(5, 6, 7, generator=generator) < 0.2] = IGNORED
    found = dense.segmentation(predicted, masks, 6)  # two classes occur nowhere
    assert found["miou"] == pytest.approx(literal_miou(predicted, masks, 6), abs=1e-6)
    assert len(found["iou"]) == 6 and found["iou"][4:] == [0.0, 0.0]


def test_perfect_boxes_have_an_ap_of_one_and_a_difficult_one_need_not_be_found():
    boxes, labels = torch.tensor([[2.0, 3, 12, 20], [5, 5, 9, 30], [0, 0, 8, 8]]), torch.tensor([0, 1, 1])
    owners, masks = torch.tensor([0, 1, 3]), torch.zeros(4, 32, 32, dtype=torch.uint8)

    def map50(found, difficult):
        test = Annotated(torch.zeros(4, 3, 32, 32), masks, boxes, labels, owners, torch.tensor(difficult))
        precision = MeanAveragePrecision(backend=dense.BACKEND)
        for part in (slice(0, 3), slice(3, 4)):
            mine = [(owners == image) & found for image in range(part.start, part.stop)]
            answer = [{"boxes": boxes[own], "labels": labels[own], "scores": torch.full_like(labels[own], 0.9).float()}
                      for own in mine]  # fmt: skip
            precision.update(answer, detection.truth(test, part))
        return float(precision.compute()["map_50"])

    first_two = torch.tensor([True, True, False])
    assert map50(torch.ones(3, dtype=torch.bool), [False] * 3) == pytest.approx(1.0)
    assert map50(first_two, [False] * 3) < 0.9
    assert map50(first_two, [False, False, True]) == pytest.approx(1.0)
