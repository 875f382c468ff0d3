"""The settings of a data set: defaults filled in, unknown keys refused, values checked by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structgan.errors import UserError, unknown

COMMON = ("builder", "name", "title", "note", "reference")
"""Keys that every data set may have; ``title`` and ``reference`` are for tables and change nothing here."""


def resolve(settings: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``settings`` over ``defaults``, with ``name`` filled in.

    Raises:
        UserError: a key that the builder does not know.
    """
    for key in settings:
        if key not in defaults and key not in COMMON:
            raise unknown("key", str(key), [*COMMON, *defaults], f"data set '{name}'")
    return {"name": name, **defaults, **settings}


def integer(settings: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """The whole number at ``key``.

    Raises:
        UserError: it is no whole number in [low, high].
    """
    value = settings[key]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refused(settings, key, f"a whole number from {low} to {high}")
    return value


def text(settings: Mapping[str, Any], key: str) -> str:
    """The non-empty string at ``key``.

    Raises:
        UserError: it is anything else.
    """
    value = settings[key]
    if not isinstance(value, str) or not value:
        raise _refused(settings, key, "a non-empty string")
    return value


def boolean(settings: Mapping[str, Any], key: str) -> bool:
    """The truth value at ``key``.

    Raises:
        UserError: it is anything else.
    """
    value = settings[key]
    if not isinstance(value, bool):
        raise _refused(settings, key, "true or false")
    return value


def span(settings: Mapping[str, Any], key: str, low: int, high: int) -> tuple[int, int]:
    """The half-open range ``[first, end]`` at ``key``, with low <= first < end <= high.

    Raises:
        UserError: it is anything else.
    """
    value = settings[key]
    whole = isinstance(value, list | tuple) and all(isinstance(x, int) and not isinstance(x, bool) for x in value)
    if not whole or len(value) != 2 or not low <= value[0] < value[1] <= high:
        raise _refused(settings, key, f"a range [first, end] with {low} <= first < end <= {high}")
    return value[0], value[1]


def _refused(settings: Mapping[str, Any], key: str, allowed: str) -> UserError:
    return UserError(f"data set '{settings['name']}': {key} is {settings[key]!r} (allowed: {allowed})")
