"""The data set builders and the settings they take, read from their syntax trees: importing one would import torch.

A builder is a file ``structgan/datasets/NAME.py`` with

- ``DEFAULTS``: every setting and its default. A setting has the type of its default. A list is a range [first, end).
  If the default itself is not allowed, as ``""`` is not, the setting is required.
- ``LIMITS`` (optional): the lowest and the highest value of a setting as a tuple, or a set of choices.
- ``PICTURES`` (optional): the folder or archive of a person's class folders, such as ``"{path}"`` with settings in
  braces; ``CLASSES``, if not all of them are read. Planning gives ``build`` their digest as the setting ``content``.
- ``build(settings, raw)``: returns ``Parts``. ``raw`` is the folder of downloaded files.

All but ``build`` are literals.
"""

from collections.abc import Callable, Mapping
from typing import Any

from structgan import sources
from structgan.errors import UserError, unknown

FOLDER = sources.ROOT / "structgan" / "datasets"
DECLARED = ("DEFAULTS", "LIMITS")
COMMON = ("builder", "title", "note", "reference", "training")
"""Keys that every data set may have. Only ``builder`` and ``note`` matter to the prepared file."""
LIMITS = {"image_size": (4, 1024)}


def names() -> list[str]:
    """The names of all builders."""
    return [path.stem for path in sorted(FOLDER.glob("[!_]*.py")) if "DEFAULTS" in sources.literals(path, *DECLARED)]


def resolve(settings: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """The settings of a data set with defaults filled in.

    Args:
        settings: ``builder`` and what is to differ from its defaults.
        where: returns the place of a key, for the error message.

    Raises:
        UserError: an unknown builder, an unknown key, or a value that is not allowed.
    """
    known = names()
    if settings.get("builder") not in known:
        raise unknown("builder", str(settings.get("builder")), known, where("builder"))
    declared = sources.literals(FOLDER / f"{settings['builder']}.py", *DECLARED)
    defaults, limits = declared["DEFAULTS"], {**LIMITS, **declared.get("LIMITS", {})}
    for key in settings:
        if key not in defaults and key not in COMMON:
            raise unknown("key", str(key), [*COMMON, *defaults], where(str(key)))
    resolved = {**defaults, **settings}
    for key, default in defaults.items():
        fits, allowed = _compare(resolved[key], default, limits.get(key))
        if not fits:
            found = f"is {resolved[key]!r}" if key in settings else "is missing"
            raise UserError(f"{where(key)}: {key} {found} (allowed: {allowed})")
    return resolved


def _compare(value: Any, default: Any, limits: Any) -> tuple[bool, str]:
    """Whether a value is allowed, and in words what is."""
    same = type(value) is type(default)
    if isinstance(limits, set):
        return same and value in limits, ", ".join(map(str, sorted(limits)))
    if isinstance(default, bool):
        return same, "true or false"
    if isinstance(default, str):
        return same and value != "", "a non-empty string"
    low, high = limits or (float("-inf"), float("inf"))
    if isinstance(default, list):
        whole = same and len(value) == 2 and all(type(edge) is int for edge in value)
        return whole and low <= value[0] < value[1] <= high, f"[first, end] with {low} <= first < end <= {high}"
    kind = "a whole number" if isinstance(default, int) else "a number"
    number = same or (isinstance(default, float) and type(value) is int)
    return number and low <= value <= high, f"{kind} from {low} to {high}" if limits else kind
