"""The configurations of the repository, each with the files that it is laid on, as its first lines say."""

from pathlib import Path

from structgan import config, published

FOLDER = config.BASE.parent
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in published.KEYS)
BELOW = {
    "ablations-small": ["demo", "field"],
    "cifar10-jpeg": ["cifar10-small"],
    "claims": ["demo", "field"],
    "field": ["demo"],
    "regimes": ["demo", "field"],
    "selection": ["demo", "field"],
}


def stack(stem: str) -> list[Path]:
    """The files to load for a configuration; none for config.yaml, which is below all of them."""
    return [FOLDER / f"{name}.yaml" for name in (*BELOW.get(stem, ()), stem) if name != "config"]
