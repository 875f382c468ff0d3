"""An augmentation regime as it stands in the configuration: keys and ranges checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structgan.errors import UserError, unknown

WHERE = "augmentation regime"
OPERATIONS: dict[str, tuple[str, ...]] = {
    "flip": (),
    "crop": ("scale", "ratio", "interpolation"),
    "jitter": ("p", "brightness", "contrast", "saturation", "hue"),
    "grayscale": (),
    "blur": ("p", "sigma", "kernel"),
    "solarise": (),
}
"""Every operation, in the order of their draws, with its keys; one without keys is its probability.

All are needed but blur.kernel, which without a value is the odd number of pixels near a tenth of the image, at least 3.
"""
RANGES = ("crop.scale", "crop.ratio", "blur.sigma")
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
    """The regime in the order of OPERATIONS, its numbers checked. A key ``title`` is passed over.

    Raises:
        UserError: an unknown or missing key, or a value out of range.
    """
    for key in regime:
        if key not in OPERATIONS and key != "title":
            raise unknown("operation", str(key), OPERATIONS, WHERE)
    return {name: _operation(name, regime[name], image_size) for name in OPERATIONS if name in regime}


def _operation(name: str, value: Any, image_size: int) -> Any:
    keys = OPERATIONS[name]
    if not keys:
        return _number(name, value, 0.0, 1.0)
    if not isinstance(value, Mapping):
        raise _refused(name, value, f"a mapping with {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise unknown("key", str(key), keys, f"{WHERE}, {name}")
    resolved = {key: _value(f"{name}.{key}", value[key]) for key in keys if key in value}
    if name == "blur":
        resolved["kernel"] = _kernel(value.get("kernel"), image_size)
    for key in keys:
        if key not in resolved:
            raise UserError(f"{WHERE}: {name}.{key} is missing (needed: {', '.join(keys)})")
    return resolved


def _value(place: str, given: Any) -> Any:
    if place in BOUNDS:
        return (_range if place in RANGES else _number)(place, given, *BOUNDS[place])
    if place == "crop.interpolation" and given not in ("bilinear", "bicubic"):
        raise _refused(place, given, "bilinear, bicubic")
    return given


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
