"""A person's pictures as class folders: which files a data set has, and the digest that its identity holds.

Planning calls it, so it imports neither NumPy nor torch. The digest covers names and bytes, not times, so that a copy
has the same one. Bytes are read again only where a name, a size or a time changed.
"""

import contextlib
import hashlib
import os
import sys
import time
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from structgan import builders, provenance, sources, trees
from structgan.errors import UserError
from structgan.files import write_json
from structgan.progress import Progress

RECORD = provenance.DATA / "pictures.json"
"""Digests of the pictures of each data set when it was planned last, for machines that do not have the pictures."""
CACHE = provenance.DATA / "pictures.cache"
"""Digests by names, sizes and times. It holds for one machine, so it is not versioned."""
ANY, GONE = "any", "missing"
"""Values of ``content`` in place of a digest: not planned, and planned without the pictures."""
SETTLED_S = 2.0
"""Age from which a file's times tell of every change to it."""
SHOWN = 5
Splits: TypeAlias = dict[str, dict[str, dict[str, trees.Node]]]
"""Files by split, class and name."""
Digests: TypeAlias = dict[str, list[Any]]
"""Number of files and SHA-256 of each class folder, or of an archive as a whole."""


def find(tree: trees.Tree, flat: bool, only: Collection[str] = ()) -> Splits:
    """The files of train/<class>/ and test/<class>/; without a folder test/, val/ is the test split.

    These folders may be inside one common folder. All that is outside of class folders is passed over.

    Args:
        tree: a folder or an archive.
        flat: there are only class folders; they are returned as the split ``""``.
        only: the classes to find, if not all.

    Raises:
        UserError: a split, a class or its images are missing; there is one class only; a class folder holds a folder
            or what cannot be read; names are not UTF-8; names of classes differ only by case or normalization.
    """
    root = _root(tree, flat)
    top = tree.scan(root) if not flat else {}
    splits: Splits = {}
    for split in ("",) if flat else ("train", "test" if isinstance(top.get("test"), str) else "val"):
        folder = "/".join(part for part in (root, split) if part)
        inside = tree.scan(folder) if flat or (split in top and _is_folder(tree, folder, top[split])) else {}
        classes = [name for name, node in inside.items() if isinstance(node, str) and (not only or name in only)]
        splits[split] = {name: _images(tree, f"{folder}/{name}".lstrip("/"), inside[name]) for name in classes}
        if not any(splits[split].values()):
            wanted = "<class>/" if flat else "train/<class>/" if split == "train" else "test/<class>/ (or val/<class>/)"
            hint = "; if there are only class folders, set split, such as split: 0.2" if split == "train" else ""
            raise UserError(f"{tree.path}: no folder {wanted} with images{hint}")
    _check_classes(tree, splits, only)
    return splits


def _root(tree: trees.Tree, flat: bool) -> str:
    """The common folder that the others are in; "" if they are at the top."""
    top = tree.scan()
    folders = [name for name, node in top.items() if node is trees.FOLDER]
    if flat:
        nested = len(folders) == 1 and trees.FOLDER in tree.scan(folders[0]).values()
        return folders[0] if nested else ""
    found = [] if "train" in top else [name for name in folders if "train" in tree.scan(name)]
    if len(found) > 1:
        raise UserError(f"{tree.path}: train/ is both in {trees.text(found[0])}/ and in {trees.text(found[1])}/")
    return "".join(found)


def _is_folder(tree: trees.Tree, name: str, node: trees.Node) -> bool:
    """Whether a node is a folder and not a file; refused if it is neither, or if its name is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{tree.path}: {trees.text(name)}: the name is not UTF-8") from error
    if isinstance(node, str) and node is not trees.FOLDER:
        raise UserError(f"{tree.path}: {trees.text(name)}: {node}")
    return node is trees.FOLDER


def _images(tree: trees.Tree, folder: str, node: trees.Node) -> dict[str, trees.Node]:
    """The files of a class folder."""
    found = tree.scan(folder) if _is_folder(tree, folder, node) else {}
    for name, inner in found.items():
        if _is_folder(tree, f"{folder}/{name}", inner):
            place = trees.text(f"{folder}/{name}")
            raise UserError(f"{tree.path}: {place}: a folder inside a class folder (wanted: <class>/<image>)")
    return found


def _check_classes(tree: trees.Tree, splits: Splits, only: Collection[str]) -> None:
    names = sorted({*only, *(name for classes in splits.values() for name in classes)})
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise UserError(f"{tree.path}: classes {other!a} and {name!a} differ only by case or Unicode normalization")
    for split, classes in splits.items():
        for name in names:
            if not classes.get(name):
                place = f"is missing from {split}/, or has no image there" if split else "has no image"
                raise UserError(f"{tree.path}: class '{trees.text(name)}' {place}")
    if len(names) < 2:
        raise UserError(f"{tree.path}: '{trees.text(names[0])}' is the only class (at least 2 are needed)")


def digests(path: Path, flat: bool, only: Collection[str], known: Mapping[str, str]) -> tuple[Digests, dict[str, str]]:
    """The digests of a folder or an archive, and what to remember of them, as ``known`` is.

    Args:
        path: the folder, or an archive, which is not opened.
        flat, only: see ``find``.
        known: SHA-256 by a digest of names, sizes and times.

    Raises:
        UserError: see ``find``; a file cannot be read.
    """
    groups: dict[str, Mapping[str, Any]] = {path.name: {path.name: path}}
    if trees.is_folder(path):
        splits = find(trees.Tree(path), flat, only)
        groups = {f"{split}/{name}".lstrip("/"): files for split in splits for name, files in splits[split].items()}
    found, seen = Digests(), dict[str, str]()
    with Progress(f"hash {path.name}", None, "file") as progress:
        for group, files in groups.items():
            try:
                stats = [(name, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
                         for name, each in ((name, file.stat()) for name, file in files.items())]  # fmt: skip
                times = sources.fingerprint(stats)
                digest = known.get(times) or _sha256(files)
            except OSError as error:
                raise UserError(f"{path}: {error.filename}: cannot be read: {error.strerror}") from error
            found[group] = [len(files), digest]
            if max(max(each[2:]) for each in stats) / 1e9 < time.time() - SETTLED_S:
                seen[times] = digest
            progress.advance(len(files))
    return found, seen


def _sha256(files: Mapping[str, Any]) -> str:
    """SHA-256 of names and bytes of files, in the order of their names."""
    total = hashlib.sha256()
    for name, entry in files.items():
        with open(entry, "rb", buffering=0) as file:
            total.update(f"{name}\0{os.fstat(file.fileno()).st_size}\0".encode())
            while chunk := file.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def check(path: Path, content: str, flat: bool = False, only: Collection[str] = ()) -> None:
    """Refuse pictures that changed after they were planned with this ``content``."""
    if content != ANY and sources.fingerprint(digests(path, flat, only, _load(CACHE))[0]) != content:
        raise UserError(f"{path}: changed after planning; plan again")


class Record:
    """The digests of all data sets, as they were planned last and as they are now.

    Args:
        fresh: look at the pictures; otherwise only at those without a record.
    """

    def __init__(self, fresh: bool = True) -> None:
        self.fresh = fresh
        self.planned, self.cache = _load(RECORD), _load(CACHE)
        self.found: dict[str, Digests] = {}
        self.seen: dict[str, str] = {}

    def content(self, name: str, settings: Mapping[str, Any], where: str) -> dict[str, str]:
        """The setting ``content`` of a data set whose builder declares ``PICTURES``, unless its block has one.

        Without the pictures, it is what it was when the data set was planned last.
        """
        file = builders.FOLDER / f"{settings['builder']}.py"
        if "content" in settings or not sources.literals(file, "PICTURES"):
            return {}
        declared = sources.literals(file, "DEFAULTS", "PICTURES", "CLASSES")
        resolved = {**declared["DEFAULTS"], **settings}
        path, flat = Path(declared["PICTURES"].format(**resolved)), bool(resolved.get("split"))
        key = f"{name}: {path}"
        if _gone(path) or (key in self.planned and not self.fresh):
            return {"content": sources.fingerprint(self.planned[key]) if key in self.planned else GONE}
        try:
            self.found[key], seen = digests(path, flat, declared.get("CLASSES", ()), self.cache)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        self.seen |= seen
        return {"content": sources.fingerprint(self.found[key])}

    def write(self) -> None:
        """Write what is new, and say what changed."""
        for key, now in self.found.items():
            before = self.planned.get(key, now)
            changed = [group for group in sorted({*before, *now}) if before.get(group) != now.get(group)]
            words = [_change(group, before, now) for group in changed[:SHOWN]]
            words += [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
            if words:
                told = f"data set {key} changed since it was planned last: {', '.join(words)}"
                print(f"structgan: {told}", file=sys.stderr)
        if any(self.planned.get(key) != now for key, now in self.found.items()):
            write_json(RECORD, dict(sorted({**_load(RECORD), **self.found}.items())))
        if any(key not in self.cache for key in self.seen):
            with contextlib.suppress(UserError):  # another person's folder: the next planning takes longer
                write_json(CACHE, {**_load(CACHE), **self.seen})


def _change(group: str, before: Digests, now: Digests) -> str:
    """What happened to a class folder or an archive."""
    old, new = before.get(group), now.get(group)
    what = "new" if not old else "gone" if not new else "other content"
    return f"{trees.text(group)}: {f'{old[0]} → {new[0]} files' if old and new and old[0] != new[0] else what}"


def _gone(path: Path) -> bool:
    """Whether there is nothing at ``path``, or an empty folder, as where a disk is not mounted."""
    try:
        return not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError:
        return False


def _load(path: Path) -> dict[str, Any]:
    return provenance.read_json_object(path) if path.exists() else {}
