"""A method's settings that remember which of them were read, for ``structgan check``."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

from structgan import config, method

OTHERS = ("betas", "momentum", "trust")
"""What some optimizers need: a file that names another one cannot take them out of the file that it is laid on."""


class Reads(dict[str, Any]):
    """A mapping, and those below it, which note each key that is read.

    Args:
        content: the settings.
        seen: the dotted keys that were read; one set for all.
        path: the dotted key of this mapping, with a dot at its end.
    """

    def __init__(self, content: Mapping[str, Any], seen: set[str], path: str = "") -> None:
        super().__init__(
            (key, Reads(value, seen, f"{path}{key}.") if isinstance(value, Mapping) else value)
            for key, value in content.items()
        )
        self.seen, self.path = seen, path

    def __getitem__(self, key: str) -> Any:
        self.seen.add(f"{self.path}{key}")
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:  # its own, or ** would not call __getitem__
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401

    def copy(self) -> dict[str, Any]:
        return {key: self[key] for key in self}

    def items(self) -> Any:
        return self.copy().items()

    def values(self) -> Any:
        return self.copy().values()

    def unread(self) -> Iterator[str]:
        """The dotted keys that nobody read, but for ``OTHERS``; of a mapping that was not read, its own alone."""
        for key, value in super().items():
            if f"{self.path}{key}" not in self.seen and key not in OTHERS:
                yield f"{self.path}{key}"
            elif isinstance(value, Reads):
                yield from value.unread()


def unread(block: Mapping[str, Any], seen: set[str]) -> list[str]:
    """The keys of a method's settings, and of those of its variants, that were not read."""
    changes = [{}, *filter(None, block.get("variants", {}).values())]
    merged = [config.merge(block.get("settings", {}), each.get("settings", {})) for each in changes]
    return sorted({key for settings in merged for key in Reads(settings, seen).unread()})


@contextlib.contextmanager
def recorded(name: str, seen: set[str]) -> Iterator[None]:
    """Within it, methods of this name that are built note in ``seen`` which settings they read."""
    build = method.build

    def built(run: Mapping[str, Any], num_classes: int) -> method.Method:
        settings = run["settings"]
        if run["method"] == name:
            settings = {**settings, "method": Reads(settings["method"], seen)}
        return build({**run, "settings": settings}, num_classes)

    with mock.patch.object(method, "build", built):
        yield
