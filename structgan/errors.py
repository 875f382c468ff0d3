"""The one exception that a user is meant to see, a single clear line without a traceback, and the words in it."""

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Bad input or a state that only the user can fix. The command line prints it and exits with code 2."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # of names and values that have more than one line


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> UserError:
    """An error for a name that does not exist: the file and key, the name, the nearest known one, the allowed set."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean '{near[0]}'?" if near else ""
    place = f"{where}: " if where else ""
    return UserError(f"{place}unknown {kind} '{name}'{hint} (allowed: {', '.join(names) or 'none'})")


WORDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "type": "must be of type {}",
    "enum": "must be one of {}",
    "pattern": "must match {}",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "maxLength": "must have at most {} characters",
}


def limits(error: Any) -> str:
    """What a JSON schema allows where a value violates it, in words; ``error`` is jsonschema's ValidationError."""
    expected = error.validator_value
    if error.validator not in WORDS:
        return str(error.message)[:160]
    return WORDS[error.validator].format(", ".join(map(str, expected)) if isinstance(expected, list) else expected)
