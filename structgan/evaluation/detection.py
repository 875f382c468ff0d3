"""Detection by linear heads on frozen maps: for each cell of a grid a class or none, and the four edges of a box.

As in FCOS (Tian et al. 2019, arXiv 1904.01355), without anchors: a cell whose center lies in the middle part of a box
predicts that box, by the distances from its center to the four edges. Here both heads are linear and fitted to their
minimum: logistic regression for the class, ridge regression for the edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import batched_nms

from structgan.datasets.annotated import IGNORED, Annotated
from structgan.errors import UserError
from structgan.evaluation import dense_features, features
from structgan.evaluation.dense_features import Head

BACKEND: Literal["pycocotools"] = "pycocotools"
Found = dict[str, Tensor]
"""Of one image: ``boxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,); as torchmetrics has them."""


def grid(size: tuple[int, int], stride: int) -> tuple[tuple[int, int], Tensor]:
    """Cells of ``stride`` pixels, and their centers (x, y) in pixels. Shape: (h, w), and (h · w, 2)."""
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    steps = (size[0] / cells[0], size[1] / cells[1])
    rows, columns = ((torch.arange(count) + 0.5) * step for count, step in zip(cells, steps, strict=True))
    return cells, torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)


def assign(centers: Tensor, boxes: Tensor, middle: float) -> tuple[Tensor, Tensor]:
    """Which box each cell predicts.

    Args:
        centers: Shape: (P, 2). boxes: of one image. Shape: (m, 4).
        middle: share of a box's sides. Cells whose centers lie in this middle part predict the box, and the cell
            nearest to the middle always does. Where boxes overlap, a cell predicts the smallest.

    Returns:
        Index of the box, or -1; and whether the cell lies in some box and predicts none, so that it is neither object
        nor background. Shape: (P,) both.
    """
    owner = torch.full((len(centers),), -1)
    if not len(boxes):
        return owner, torch.zeros(len(centers), dtype=torch.bool)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offset = (centers[:, None] - middles[None]).abs()
    for box in sides.prod(dim=1).argsort(descending=True, stable=True).tolist():
        owner[(offset[:, box] <= middle / 2 * sides[box]).all(dim=1)] = box
    for box in sides.prod(dim=1).argsort(descending=True, stable=True).tolist():
        owner[offset[:, box].square().sum(dim=1).argmin()] = box
    inside = (offset <= sides[None] / 2).all(dim=2).any(dim=1)
    return owner, inside & (owner < 0)


def edges(centers: Tensor, boxes: Tensor) -> Tensor:
    """Distances from a center to the left, top, right and bottom edge. Shape: (n, 2), (n, 4) to (n, 4)."""
    return torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], dim=1)


def boxes_of(centers: Tensor, distances: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes from distances to their edges, cut off at the image's. Shape: (n, 2), (n, 4) to (n, 4)."""
    distances = distances.clamp_min(0)
    found = torch.cat([centers - distances[:, :2], centers + distances[:, 2:]], dim=1)
    height, width = size
    return found.clamp_min(0).minimum(found.new_tensor([width, height, width, height]))


class Fit:
    """Features at chosen cells of the training images, and both heads fitted to them.

    Args:
        train: the training images. Difficult boxes are left out, and their cells ignored.
        classes: without the background.
        settings: ``stride``, ``middle``, ``places`` (cells to fit on), C, max_iter and tol, and ``ridge``, the penalty
            of the regression on standardized features.
    """

    def __init__(self, train: Annotated, classes: int, settings: Mapping[str, Any], seed: int) -> None:
        self.classes, self.settings = classes, settings
        cells, centers = grid((train.images.shape[2], train.images.shape[3]), settings["stride"])
        self.targets = torch.zeros(len(train), len(centers), 4)
        labels = torch.zeros(len(train), len(centers), dtype=torch.int64)
        for image in range(len(train)):
            boxes, of_box, difficult = train.of(image)
            owner, between = assign(centers, boxes, settings["middle"])
            inside = owner >= 0
            labels[image, between] = IGNORED
            labels[image, inside] = torch.where(difficult[owner[inside]], IGNORED, of_box[owner[inside]] + 1)
            self.targets[image, inside] = edges(centers[inside], boxes[owner[inside]])
        self.gathered = dense_features.Gathered(labels, cells, settings["places"], seed)

    def heads(self) -> tuple[Head, Head, dict[str, Any]]:
        """The head of the class, the head of the edges, and how the first one's fit ended."""
        from sklearn.linear_model import Ridge

        head, ended = self.gathered.head(self.classes + 1, self.settings)
        chosen, x = self.gathered.chosen, torch.cat(self.gathered.parts)
        on_object = self.gathered.classes[chosen] > 0
        if not on_object.any():
            raise UserError("dense detection: no box of the training images holds a cell's center")
        x = x[on_object.to(x.device)]
        shift, scale = features.scaling(x)
        targets = self.targets.reshape(-1, 4)[chosen[on_object]].double().numpy()
        model = Ridge(alpha=self.settings["ridge"]).fit(((x - shift) * scale).double().cpu().numpy(), targets)
        weight, bias = (torch.as_tensor(part, dtype=torch.float32).to(x) for part in (model.coef_, model.intercept_))
        return head, dense_features.unscaled(weight, bias, shift, scale), ended


def predict(
    heads: tuple[Head, Head],
    values: list[Tensor],
    size: tuple[int, int],
    settings: Mapping[str, Any],
) -> list[Found]:
    """Boxes in images: every class of every cell above a score, thinned by non-maximum suppression within its class.

    Args:
        heads: of the class and of the edges.
        values: the maps. size: of the images in pixels.
        settings: ``stride``, ``score`` (least probability), ``nms`` (largest overlap of two boxes of a class) and
            ``detections`` (most boxes of an image).
    """
    cells, centers = grid(size, settings["stride"])
    centers = centers.to(values[0].device)
    probability = heads[0].scores(values, cells).softmax(dim=1)[:, 1:].flatten(2)
    distances = heads[1].scores(values, cells).flatten(2)
    found = []
    for scores, distance in zip(probability, distances, strict=True):
        label, cell = (scores >= settings["score"]).nonzero(as_tuple=True)
        boxes = boxes_of(centers[cell], distance.T[cell], size)
        kept = batched_nms(boxes, scores[label, cell], label, settings["nms"])[: settings["detections"]]
        found.append({"boxes": boxes[kept], "scores": scores[label, cell][kept], "labels": label[kept]})
    return found


class Scores:
    """Average precision of boxes, as COCO scores it, of the 100 boxes of an image with the highest scores.

    A difficult box is COCO's crowd: neither the box nor predictions that lie mostly inside it are counted.
    """

    def __init__(self) -> None:
        self.metric = MeanAveragePrecision(backend=BACKEND)

    def add(self, found: list[Found], test: Annotated, part: slice) -> None:
        """Take the boxes found in the images ``part`` of the test split."""
        truth = []
        for image in range(part.start, part.stop):
            boxes, labels, difficult = test.of(image)
            truth.append({"boxes": boxes, "labels": labels, "iscrowd": difficult.long()})
        self.metric.update([{key: value.cpu() for key, value in entry.items()} for entry in found], truth)

    def result(self) -> dict[str, float]:
        """``map`` (mean over overlaps of 0.5 to 0.95) and ``map50`` (at 0.5), in [0, 1], means over the classes."""
        found = self.metric.compute()
        if found["map"] < 0:  # COCO's answer where no box counts
            raise UserError("dense detection: the test images have no box that counts")
        return {"map": float(found["map"]), "map50": float(found["map_50"])}
