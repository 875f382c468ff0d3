"""The weighted k-nearest-neighbour classifier by cosine (Wu et al. 2018, "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination", section 3.4), found by scikit-learn on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structgan.evaluation.features import normalise


def predict(train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float) -> Tensor:
    """Class with the largest sum of exp(cosine / temperature) over the k nearest training samples.

    Args:
        train: Shape: (N, D). labels: Shape: (N,), int64. queries: Shape: (M, D).

    Returns:
        Shape: (M,), int64.

    Raises:
        ValueError: k is not in [1, N], or the temperature is not positive.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if not 1 <= k <= len(train) or temperature <= 0:
        raise ValueError(f"k={k} must be in [1, {len(train)}] and temperature={temperature} positive")

    def weights(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of unit vectors, cosine = 1 − d²/2; relative to the nearest one: no overflow at a low temperature."""
        squares: NDArray[np.float64] = np.square(distance)
        return np.exp((squares[:, :1] - squares) / (2 * temperature))

    model = KNeighborsClassifier(k, weights=weights, algorithm="brute")
    model.fit(normalise(train).cpu().numpy(), labels.cpu().numpy())
    return torch.from_numpy(model.predict(normalise(queries).cpu().numpy())).to(queries.device)
