"""Protocols of evaluations: which settings and sources each kind has, and what a job refuses."""

from __future__ import annotations

import json

import pytest
from refusal import refused

from structgan import files, sources
from structgan.identity import protocol

EVALUATION = {"seed": 0, "knn": {"k": 5}, "fidelity": {"extractor": "embedded"}, "extractor": {"width": 8}}


def test_each_kind_has_the_settings_that_it_uses():
    made = {kind: protocol.make(EVALUATION, kind)["settings"] for kind in protocol.KINDS}
    assert made["probe"] == {"seed": 0, "knn": {"k": 5}}
    assert made["extractor"] == {"extractor": {"width": 8}}
    assert made["fidelity"] == {"fidelity": {"extractor": "embedded"}, "extractor": {"width": 8}}
    inception = protocol.make({**EVALUATION, "fidelity": {"extractor": "inception"}}, "fidelity")
    assert inception["settings"] == {"fidelity": {"extractor": "inception"}}


def test_every_setting_of_the_configuration_is_some_kinds(base):
    assert set(base["evaluation"]) == {key for keys in protocol.KINDS.values() for key in keys}


def test_a_mark_changes_with_the_settings_and_with_the_sources():
    made = protocol.make(EVALUATION, "probe")
    assert protocol.mark(made) == {
        "protocol": sources.fingerprint(made["settings"]),
        "sources": sources.evaluation_digest("probe"),
    }
    other = protocol.mark(protocol.make({**EVALUATION, "knn": {"k": 6}}, "probe"))
    assert other["protocol"] != protocol.mark(made)["protocol"] and other["sources"] == made["sources"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "fidelity"}, ["protocol of 'fidelity'", "not of 'probe'"]),
        ({"sources": "0" * 64}, ["planned for other sources", "plan again"]),
        ({"settings": None, "sources": None, "kind": None}, ["not of 'probe'"]),
    ],
)
def test_a_job_refuses_what_was_not_planned_for_it(tmp_path, change, words):
    path = tmp_path / "probe.json"
    files.write_json(path, protocol.make(EVALUATION, "probe"))
    assert protocol.read(path, "probe")["settings"]["knn"] == {"k": 5}
    path.write_text(json.dumps(protocol.make(EVALUATION, "probe") | change))
    with refused(str(path), *words):
        protocol.read(path, "probe")
    path.write_text('{"seed": 0}')
    with refused("not a protocol"):
        protocol.read(path, "probe")
