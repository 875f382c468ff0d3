"""Checksums inside JSON, and file times by verdict."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from structgan.errors import UserError
from structgan.identity import seal, times
from structgan.identity.times import Finding, Rung


@pytest.fixture
def sealed(tmp_path):
    """A sealed file with one file beside it and one that it was made from."""
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "picture").write_bytes(b"picture")
    path = tmp_path / "result.json"
    record = {"identity": "ab", "scores": {"top1": 0.1 + 0.2, "rows": (1, 2)}, "by_step": {10: None, 9: True}}
    seal.write(path, record, made=[tmp_path / "picture"], inputs=[tmp_path / "weights"], results="cd")
    return path


def test_a_sealed_file_is_whole_and_names_its_files(sealed):
    record, problem = seal.read(sealed)
    assert problem is None and record["scores"] == {"top1": 0.1 + 0.2, "rows": [1, 2]}
    assert record["checksums"]["files"] == {"picture": hashlib.sha256(b"picture").hexdigest()}
    assert record["checksums"]["inputs"] == {"weights": hashlib.sha256(b"weights").hexdigest(), "results": "cd"}


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["scores"].update(top1=0.31),
        lambda value: value.pop("identity"),
        lambda value: value["checksums"]["files"].update(picture="0" * 64),
        lambda value: value["checksums"]["inputs"].pop("weights"),
        lambda value: value["checksums"].update(self="0" * 64),
    ],
)
def test_any_change_is_seen_and_another_layout_is_none(sealed, change):
    value = json.loads(sealed.read_text())
    sealed.write_text(json.dumps(dict(reversed(value.items()))))
    assert seal.read(sealed)[1] is None
    change(value)
    sealed.write_text(json.dumps(value))
    assert "damaged or edited" in seal.read(sealed)[1]


@pytest.mark.parametrize("text", ["{}", "[]", '{"checksums": 3}', '{"checksums": {"self": "a"}}'])
def test_a_file_without_checksums_cannot_be_verified(tmp_path, text):
    (tmp_path / "old.json").write_text(text)
    assert "no checksums" in seal.read(tmp_path / "old.json")[1]


def test_a_truncated_file_is_one_line(sealed):
    sealed.write_text(sealed.read_text()[:-20])
    with pytest.raises(UserError, match="not valid JSON"):
        seal.read(sealed)


def test_times_follow_the_order_of_making_and_the_past(tmp_path):
    paths = [tmp_path / rung.name for rung in Rung]
    for path in paths:
        path.touch()
        os.utime(path, (2e9, 2e9))
    stale, edited = tmp_path / "stale", tmp_path / "edited"
    for path in (stale, edited):
        path.touch()
        os.utime(path, (5e8, 5e8))
    findings = [Finding(path, rung, None) for path, rung in zip(paths, Rung, strict=True)]
    times.stamp(
        [
            *findings,
            Finding(stale, Rung.RUN, "old"),
            Finding(edited, Rung.SETTINGS, "new"),
            Finding(tmp_path / "no", Rung.RUN, None),
        ],
        now=1e9,
    )
    found = [path.stat().st_mtime for path in paths]
    assert found == sorted(found) and len(set(found)) == len(found) and found[-1] < 1e9
    assert stale.stat().st_mtime < found[0] and edited.stat().st_mtime == 5e8 and not (tmp_path / "no").exists()
