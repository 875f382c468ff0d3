"""Detection by linear heads on frozen maps: for each cell of a grid a class or none, and the four edges of a box.

As in FCOS (Tian et al. 2019, arXiv 1904.01355), without anchors: a cell whose center lies in the middle part of a box
predicts that box, by the distances from its center to the four edges. Here both heads are linear: logistic regression
for the class, fitted to a small gradient (``tol``), and ridge regression for the edges.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from structgan.datasets.annotated import IGNORED, Annotated
from structgan.errors import UserError
from structgan.evaluation import features
from structgan.evaluation.dense_features import Gathered, Head


def grid(size: tuple[int, int], stride: int) -> tuple[tuple[int, int], Tensor]:
    """Cells of ``stride`` pixels, and their centers (x, y) in pixels. Shape: (h, w), and (h · w, 2)."""
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    steps = (size[0] / cells[0], size[1] / cells[1])
    rows, columns = ((torch.arange(count) + 0.5) * step for count, step in zip(cells, steps, strict=True))
    return cells, torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)


def assign(centers: Tensor, boxes: Tensor, middle: float) -> tuple[Tensor, Tensor]:
    """Which box each cell predicts.

    Args:
        centers: Shape: (P, 2).
        boxes: of one image. Shape: (m, 4).
        middle: share of a box's sides. Cells whose centers lie in this middle part predict the box, and the cell
            nearest to the middle always does. Where boxes overlap, a cell predicts the smallest.

    Returns:
        Index of the box, or -1; and whether the cell lies in some box and predicts none, so that it is neither object
        nor background. Shape: (P,) both.
    """
    owner = torch.full((len(centers),), -1)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offset = (centers[:, None] - middles[None]).abs()
    largest_first = sides.prod(dim=1).argsort(descending=True, stable=True).tolist()
    for box in largest_first:
        owner[(offset[:, box] <= middle / 2 * sides[box]).all(dim=1)] = box
    for box in largest_first:
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
    clipped: Tensor = clip_boxes_to_image(found, size)
    return clipped


def targets(train: Annotated, centers: Tensor, middle: float) -> tuple[Tensor, Tensor]:
    """What each cell of the training images predicts. Cells of difficult boxes are ignored.

    Returns:
        Class of each cell: 0 background, k + 1 for class k, or ``IGNORED``. Shape: (N, P), int64.
        Distances to the edges of its box. Shape: (N, P, 4).
    """
    classes = torch.zeros(len(train), len(centers), dtype=torch.int64)
    distances = torch.zeros(len(train), len(centers), 4)
    for image in range(len(train)):
        boxes, labels, difficult = train.of(image)
        owner, between = assign(centers, boxes, middle)
        inside = owner >= 0
        classes[image, between] = IGNORED
        classes[image, inside] = torch.where(difficult, IGNORED, labels + 1)[owner[inside]]
        distances[image, inside] = edges(centers[inside], boxes[owner[inside]])
    return classes, distances


def edge_head(cells: Gathered, distances: Tensor, ridge: float) -> Head:
    """Ridge regression of the distances to the edges, on the standardized features of chosen cells on objects.

    Raises:
        UserError: there is no such cell.
    """
    from sklearn.linear_model import Ridge

    on_object = cells.classes[cells.chosen] > 0
    if not on_object.any():
        raise UserError("dense detection: no box of the training images holds a cell's center")
    x = torch.cat(cells.parts)
    x = x[on_object.to(x.device)]
    shift, scale = features.scaling(x)
    wanted = distances.reshape(-1, 4)[cells.chosen[on_object]].double().numpy()
    model = Ridge(alpha=ridge).fit(((x - shift) * scale).double().cpu().numpy(), wanted)
    weight, bias = (torch.as_tensor(part, dtype=torch.float32).to(x) for part in (model.coef_, model.intercept_))
    return Head(weight, bias).unscaled(shift, scale)


def predict(
    class_head: Head, edge_head: Head, values: list[Tensor], size: tuple[int, int], settings: Mapping[str, Any]
) -> list[dict[str, Tensor]]:
    """Boxes in images: every class of every cell above a score, thinned by non-maximum suppression within its class.

    Args:
        values: the maps.
        size: of the images in pixels.
        settings: ``stride``, ``score`` (least probability), ``nms`` (largest overlap of two boxes of a class) and
            ``detections`` (most boxes of an image).

    Returns:
        For each image ``boxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,) on the CPU, as torchmetrics takes them.
    """
    cells, centers = grid(size, settings["stride"])
    centers = centers.to(values[0].device)
    probability = class_head.scores(values, cells).softmax(dim=1)[:, 1:].flatten(2)
    distances = edge_head.scores(values, cells).flatten(2)
    found = []
    for scores, distance in zip(probability, distances, strict=True):
        label, cell = (scores >= settings["score"]).nonzero(as_tuple=True)
        boxes = boxes_of(centers[cell], distance.T[cell], size)
        kept = batched_nms(boxes, scores[label, cell], label, settings["nms"])[: settings["detections"]]
        answer = {"boxes": boxes[kept], "scores": scores[label, cell][kept], "labels": label[kept]}
        found.append({key: value.cpu() for key, value in answer.items()})
    return found


def truth(test: Annotated, part: slice) -> list[dict[str, Tensor]]:
    """The boxes of some images as torchmetrics takes them.

    A difficult box is COCO's crowd: neither the box nor predictions that lie mostly inside it are counted.
    """
    found = []
    for image in range(part.start, part.stop):
        boxes, labels, difficult = test.of(image)
        found.append({"boxes": boxes, "labels": labels, "iscrowd": difficult.long()})
    return found
