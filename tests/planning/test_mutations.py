"""Any mutation of a valid configuration plans, or is refused in one line."""

import contextlib
import copy
import functools
import json
import operator
import os

import pytest
import suites
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structgan import config, plan
from structgan.errors import UserError

ODD = [
    None, True, False, 0, -1, 1, 2, 7, 10**30, 2**63 - 1, 1e-300, 1e300, 0.5, 8.0, float("nan"), float("inf"), -0.0,
    "", " ", "010", "1e-3", "no", "~", "é", "日本", "a/b", "..", "$_$", r"$\foo$", "{v2}", "{", "%s", "x" * 300, "a.b",
    "<b>", "[a](b)", "\n", "\u202e", "\u2028", "base", "full", "none", "digits", "training.steps", [], [[]], [0], {},
    {"": None}, {"a": {"b": 1}}, [1, "a", None], [1.0, 0.0], [0, 10**30], ["base", "base"], [{}],
]  # fmt: skip
"""Values and types that no key, or some other key, expects."""
NAMES = ("", "X", "base", "full", "a/b", "é", "x" * 300, "training", "settings", "sweep", "variants", "upstream")
MARKS = [*"\t:-[{&*!|>#%\0\"'\u2028", "", "---", "? ", "<<: ", "\n", "\n\n  - a", ": ", "*a", "!!set", "010", "é"]


def small(stem):
    """A shipped configuration without what makes it slow: of its grid a part, and the blocks that it names."""
    found = config.load(suites.stack(stem))
    block = {key: listed[-2:] for key, listed in found["grid"][0].items()}
    names = set(block["methods"])
    names |= {found["methods"][name].get("upstream", {}).get("method", name) for name in names}
    found |= {"grid": [block], "references": None, "paper": None, "main": block["methods"][0]}
    for key, kept in (("methods", names), ("augmentations", {*block["augmentations"], "none"})):
        found[key] = {name: found[key][name] for name in sorted(kept)}
    targets = (found["evaluation"].get("transfer") or {}).get("targets", {})
    kept = {*block["datasets"], *targets.get(block["datasets"][0], ())}
    found["datasets"] = {name: found["datasets"][name] for name in sorted(kept)}
    for entry in found["methods"].values():
        kept = entry.get("variants", {}).keys() & {"full", "no_cluster", *block.get("variants", ())}
        entry["variants"] = {name: entry["variants"][name] for name in sorted(kept)}
        kept = entry.get("sweep", {}).keys() & {"cluster.k", *block.get("variants", ())}
        entry["sweep"] = {name: entry["sweep"][name] for name in sorted(kept)}
    return found


CONFIGURATIONS = {stem: small(stem) for stem in suites.SHIPPED}


def places(node, path=()):
    """The path of every value in a configuration."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = {stem: list(places(found)) for stem, found in CONFIGURATIONS.items()}


KINDS = ("odd", "odd", "odd", "drop", "text", "list", "nest", "scale", "copy", "rename", "add", "mix")


def mutated(chance):
    """The YAML text of a configuration with one to three values dropped, replaced, nested, renamed or added."""
    stem = chance.choice(suites.SHIPPED)
    found = copy.deepcopy(CONFIGURATIONS[stem])
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        with contextlib.suppress(LookupError, TypeError, AttributeError):  # the place is gone, or of another type now
            mutate(chance, found, chance.choice(PLACES[stem]), chance.choice(PLACES[stem]))
    text = yaml.dump(found, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
    if chance.randint(0, 9) == 0:
        at = chance.randint(0, len(text))
        text = text[:at] + chance.choice(MARKS) + text[at + chance.randint(0, 3) :]
    return text


def mutate(chance, root, path, other):
    """Change the value at ``path``, perhaps to the one at ``other``."""
    *above, key = path
    node = functools.reduce(operator.getitem, above, root)
    value, odd, kind = node[key], copy.deepcopy(chance.choice(ODD)), chance.choice(KINDS)
    if kind == "drop":
        del node[key]
    elif kind == "rename":
        node[chance.choice(NAMES)] = node.pop(key)
    elif kind == "add":
        value[chance.choice(NAMES)] = odd
    elif kind == "mix":
        value.append(odd)
    elif kind == "copy":
        node[key] = copy.deepcopy(functools.reduce(operator.getitem, other, root))
    else:
        changed = {"odd": odd, "text": str(value), "list": [value], "nest": {key: value}}
        node[key] = changed[kind] if kind in changed else +value * chance.choice([-1, 0, 3, 0.5, 1000])


MANY = int(os.environ.get("MUTATIONS", "20000"))
"""Of the slow test; each takes about 20 ms."""


@pytest.mark.parametrize("examples", [500, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_mutated_configuration_plans_or_is_refused_in_one_line(examples, tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    monkeypatch.setattr(config, "BASE", path)

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.randoms(use_true_random=False).map(mutated))
    def plans_or_refuses(text):
        path.write_text(text, encoding="utf-8")
        try:
            made = plan.Plan(config.load([]), [str(path)])
        except UserError as error:
            assert str(error) and len(str(error).splitlines()) == 1
            return
        written = [made.content, *(run.content for run in made.runs), *made.protocols.values(), *made.datasets.values()]
        json.dumps(written, allow_nan=False, ensure_ascii=False).encode()

    plans_or_refuses()
