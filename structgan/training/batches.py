"""Which images a step sees: an endless shuffled order, cut into batches that are augmented on the device."""

import torch
from torch import Tensor

from structgan import augment, distributed
from structgan.datasets import Dataset
from structgan.errors import UserError


class Batches:
    """An endless shuffled order over a data set, whole batches only, augmented on the device.

    Args:
        dataset: images and labels on the device.
        batch_size: images a batch, of which each process takes its part.
        transform: the augmentation.
        views: augmented versions of each image.
        rng: source of the order and of the augmentation's parameters.

    Raises:
        UserError: the batch is larger than the data set, or its parts are not of one size.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, transform: augment.Augment, views: int, rng: torch.Generator
    ) -> None:
        self.images, self.labels = dataset.training_images, dataset.training_labels
        count = len(self.images)
        if batch_size > count:
            raise UserError(f"training.batch_size = {batch_size}: larger than the {count} images of '{dataset.name}'")
        distributed.split(batch_size)
        self.batch_size, self.transform, self.views, self.rng = batch_size, transform, views, rng
        self.order = torch.empty(0, dtype=torch.long)

    def view(self, images: Tensor) -> Tensor:
        """One random view of each image, drawn like the others. Shape: (N, 3, H, W), to values in [-1, 1]."""
        return self.transform(images, self.rng)

    def __next__(self) -> tuple[list[Tensor], Tensor | None]:
        if len(self.order) < self.batch_size:
            self.order = torch.randperm(len(self.images), generator=self.rng)
        rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        rows = distributed.shard(rows)
        if self.images.is_cuda:
            rows = rows.pin_memory()  # so that the copy waits for no step
        rows = rows.to(self.images.device, non_blocking=True)
        images = self.images[rows]
        views = [self.view(images) for _ in range(self.views)]
        return views, None if self.labels is None else self.labels[rows]
