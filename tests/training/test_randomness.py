"""The process's generators are put back where they stood, through a state file too."""

import json
import random

import numpy as np
import pytest
import torch

from structgan.training import checkpoint

DRAWS = {
    "torch": lambda: torch.randn(5).tolist(),
    "numpy": lambda: np.random.standard_normal(5).tolist(),
    "python": lambda: [random.gauss(0, 1) for _ in range(5)],
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("through_a_file", [False, True])
def test_a_generator_goes_on_where_it_stood(name, through_a_file):
    draw = DRAWS[name]
    checkpoint.seed(7)
    first = draw()
    state = checkpoint.random_state("cpu")
    if through_a_file:
        tensors = {}
        state = checkpoint.restore(json.loads(json.dumps(checkpoint.flatten(state, tensors))), tensors)
    second = draw()
    assert first != second
    draw()
    checkpoint.set_random_state(state, "cpu")
    assert draw() == second
    checkpoint.seed(7)
    assert draw() == first
