"""The images that methods are shown, and their state before and after, compared bit for bit."""

from __future__ import annotations

import json

import torch

from structgan.training import checkpoint

IMAGES = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(9)) * 2 - 1


def snapshot(method):
    return {key: value.clone() for key, value in method.state_dict().items()}


def same(a, b):
    """Whether two nested values of tensors and numbers are bit for bit the same."""
    tensors = ({}, {})
    trees = [checkpoint.flatten(value, store) for value, store in zip((a, b), tensors, strict=True)]
    return json.dumps(trees[0]) == json.dumps(trees[1]) and all(
        torch.equal(value, tensors[1][key]) for key, value in tensors[0].items()
    )
