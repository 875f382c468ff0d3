"""Synthetic suites: one for each test to change, and one with its page and figures for all tests to read."""

from pathlib import Path

import pytest
from synthetic_suite import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree(tmp_path_factory.mktemp("whole"))
    made.page(drawn=True)
    return made
