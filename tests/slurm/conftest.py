"""The cluster of a session, and scratch copies of the repository to run on it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import trees
from cluster import Cluster, ClusterError, cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A running cluster; a signal to the tests stops it as their end does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        with cluster() as made:
            yield made
    except ClusterError as error:
        pytest.exit(f"Slurm: {error}", returncode=2)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> trees.Tree:
    return trees.Tree.copy(tmp_path_factory.mktemp("tree"), "tests/slurm")
