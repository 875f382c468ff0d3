"""An augmentation regime as it stands in the configuration: keys and ranges checked, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structgan.errors import UserError, unknown

WHERE = "augmentation regime"
OPERATIONS: dict[str, dict[str, Any]] = {
    "flip": {},
    "crop": {"scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "interpolation": "bicubic"},
    "jitter": {"p": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "grayscale": {},
    "blur": {"p": 1.0, "sigma": [0.1, 2.0], "kernel": None},
    "solarise": {},
}
"""Every operation, in the order of their draws, with its keys and defaults; one without keys is its probability.

Crop and sigma are SimCLR's; blur.kernel is by default the odd number of pixels near a tenth of the image, at least 3.
"""
BOUNDS: dict[str, tuple[float, float]] = {
    "crop.scale": (1e-4, 1.0),
    "crop.ratio": (0.01, 100.0),
    "jitter.p": (0.0, 1.0),
    "jitter.brightness": (0.0, 10.0),
    "jitter.contrast": (0.0, 10.0),
    "jitter.saturation": (0.0, 10.0),
    "jitter.hue": (0.0, 0.5),
    "blur.p": (0.0, 1.0),
    "blur.sigma": (0.01, 100.0),
}


def resolve(regime: Mapping[str, Any], image_size: int) -> dict[str, Any]:
    """The regime with defaults filled in, in the order of OPERATIONS. A key ``title`` is passed over.

    Raises:
        UserError: an unknown key, or a value out of range.
    """
    for key in regime:
        if key not in OPERATIONS and key != "title":
            raise unknown("operation", str(key), OPERATIONS, WHERE)
    return {name: _operation(name, regime[name], image_size) for name in OPERATIONS if name in regime}


def _operation(name: str, value: Any, image_size: int) -> Any:
    defaults = OPERATIONS[name]
    if not defaults:
        return _number(name, value, 0.0, 1.0)
    if not isinstance(value, Mapping):
        raise _refused(name, value, f"a mapping with {', '.join(defaults)}")
    for key in value:
        if key not in defaults:
            raise unknown("key", str(key), defaults, f"{WHERE}, {name}")
    resolved = {**defaults, **value}
    for key, given in resolved.items():
        place = f"{name}.{key}"
        if place in BOUNDS:
            check = _range if isinstance(defaults[key], list) else _number
            resolved[key] = check(place, given, *BOUNDS[place])
    if name == "crop" and resolved["interpolation"] not in ("bilinear", "bicubic"):
        raise _refused("crop.interpolation", resolved["interpolation"], "bilinear, bicubic")
    if name == "blur":
        resolved["kernel"] = _kernel(resolved["kernel"], image_size)
    return resolved


def _kernel(value: Any, image_size: int) -> int:
    """Odd, and short enough that one reflection at the border is all that it needs."""
    if value is None:
        value = max(3, 2 * (image_size // 20) + 1)
    most = 2 * image_size - 1
    if isinstance(value, bool) or not isinstance(value, int) or value % 2 == 0 or not 1 <= value <= most:
        raise _refused("blur.kernel", value, f"an odd whole number from 1 to {most}")
    return value


def _number(place: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _refused(place, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _range(place: str, value: Any, low: float, high: float) -> tuple[float, float]:
    numbers = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(x, int | float) for x in value)
    if not numbers or not low <= value[0] <= value[1] <= high:
        raise _refused(place, value, f"a range [least, greatest] within {low:g} to {high:g}")
    return float(value[0]), float(value[1])


def _refused(place: str, value: Any, allowed: str) -> UserError:
    return UserError(f"{WHERE}: {place} is {value!r} (allowed: {allowed})")
