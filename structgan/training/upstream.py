"""Loads the finished run that another one depends on: verified, of the planned identity, frozen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from structgan import method, provenance, sources
from structgan.errors import UserError


class Upstream(NamedTuple):
    """A run that others are trained with: its frozen method, and what env.json says of it.

    ``record`` holds ``run`` and ``identity`` as planned, and ``files``: SHA-256 of each file of weights, by name.
    """

    method: method.Method
    record: dict[str, Any]


def load(run: Path, config: Mapping[str, Any], content_hash: str, device: str) -> Upstream | None:
    """The upstream run that the ``config`` of a folder ``run`` names, on ``device``, or None where it names none.

    Raises:
        UserError: it is not finished, damaged, of other images than ``content_hash``, of another identity than planned
            or of other sources than these.
    """
    wanted = config.get("upstream")
    if wanted is None:
        return None
    folder = provenance.tree_of(run) / wanted["run"]
    try:
        found = method.load_run(folder, content_hash, device)
        own, made = provenance.read_config(folder), provenance.read_training(folder)["checksums"]["files"]
        if found.identity != wanted["identity"]:
            raise UserError(
                f"{folder} is of identity {found.identity[:12]}, planned is {wanted['identity'][:12]};"
                " plan again and train it first"
            )
        if own["sources"] != sources.run_digest(own["method"]):
            raise UserError(f"{folder} was trained with other sources than these; plan again and train it first")
    except UserError as error:
        raise UserError(f"{run}: its upstream run cannot be used: {error}") from error
    files = {path.name: made[path.name] for path in method.network_files(folder, own["method"])}
    return Upstream(found, {**wanted, "files": files})
