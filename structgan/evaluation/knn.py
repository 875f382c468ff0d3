"""The weighted k-nearest-neighbor classifier by cosine (Wu et al. 2018, arXiv 1805.01978, section 3.4), on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structgan.evaluation.features import Features, Scored, accuracy, normalize


def predict(train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float) -> Tensor:
    """Class with the largest sum of exp(cosine / temperature) over the k nearest training samples.

    Shape: train (N, D), labels (N,) int64, queries (M, D) → (M,) int64.
    """
    from sklearn.neighbors import KNeighborsClassifier

    def weights(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """For unit vectors cosine = 1 − d²/2. Relative to the nearest one, so that nothing overflows."""
        squares: NDArray[np.float64] = np.square(distance)
        return np.exp((squares[:, :1] - squares) / (2 * temperature))

    model = KNeighborsClassifier(k, weights=weights, algorithm="brute")
    model.fit(normalize(train).cpu().numpy(), labels.cpu().numpy())
    return torch.from_numpy(model.predict(normalize(queries).cpu().numpy())).to(queries.device)


def classify(data: Features, settings: Mapping[str, Any]) -> Scored:
    """The classifier's accuracy on test; ``settings`` is the block "knn"."""
    predicted = predict(data.train, data.train_labels, data.test, settings["k"], settings["temperature"])
    return {"top1": accuracy(predicted, data.test_labels)}, {
        **data.sizes,
        "normalization": "unit length",
        "solver": "scikit-learn, brute force",
        "weights": "exp(cosine / temperature)",
        "k": settings["k"],
        "temperature": settings["temperature"],
    }
