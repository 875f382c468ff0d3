"""The tables in git are what the records in git give."""

import tarfile

import pytest

from structgan import plan
from structgan.report import tables
from structgan.sources import ROOT

REFERENCE = ROOT / "results/reference"


@pytest.mark.parametrize("archive", sorted((REFERENCE / "records").glob("*.tar.xz")), ids=lambda path: path.name)
def test_the_records_give_the_tables_to_the_byte(archive, tmp_path, monkeypatch):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    suite = archive.name.partition(".")[0]
    tables.write(plan.newest(suite), "made")
    made, kept = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (tmp_path / "made", REFERENCE / "tables" / suite)
    )
    assert made == kept and len(made) > 10
