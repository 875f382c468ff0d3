"""The test cluster keeps its hands off a machine that has a Slurm of its own."""

from pathlib import Path

import cluster
import pytest


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cluster, "CONFIGURATION", tmp_path / "etc")
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def test_a_configuration_of_others_is_refused_and_stays(etc: Path, tmp_path: Path) -> None:
    (etc / "slurm.conf").write_text("ClusterName=theirs\n")
    made = cluster.Cluster(tmp_path)
    with pytest.raises(cluster.ClusterError, match="has a cluster of its own"):
        made.link()
    made.stop()
    assert (etc / "slurm.conf").read_text() == "ClusterName=theirs\n"
    assert [path.name for path in etc.iterdir()] == ["slurm.conf"]


def test_the_links_of_a_killed_test_cluster_are_replaced_and_taken_away(etc: Path, tmp_path: Path) -> None:
    gone = tmp_path / f"{cluster.PREFIX}gone"
    (etc / "slurm.conf").symlink_to(gone / "slurm.conf")
    made = cluster.Cluster(tmp_path)
    made.link()
    assert (etc / "slurm.conf").readlink() == tmp_path / "slurm.conf"
    made.stop()
    assert list(etc.iterdir()) == []
