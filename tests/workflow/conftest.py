"""The tiny suite, made by one real run of Snakemake."""

from __future__ import annotations

import pytest
from tree import Tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Tests copy it before they change anything."""
    tree = Tree.copy(tmp_path_factory.mktemp("tiny"))
    tree.snakemake()
    return tree
