"""The contract as a list of checks, and the run over all of them that ``structgan check`` prints."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from structgan import config, datasets
from structgan.contract import processes, reading, resume, training
from structgan.contract.subject import Broken, Subject, small

Check = Callable[[Subject], str | None]
FOUNDATIONS: dict[str, Check] = {
    "found": reading.found,
    "settings": reading.settings,
    "features": reading.encoding,
    "samples": reading.samples,
    "learning": training.learning,
}
"""Where one of these fails, the others would only say the same again."""
CHECKS: dict[str, Check] = {
    "labels": training.labels,
    "randomness": training.drawing,
    "modes": training.modes,
    "interruption": resume.interruption,
    "published": reading.published,
    "regimes": training.regimes,
    "variants": training.variants,
}
"""Each returns what it saw, or None where the method has no such thing, or raises ``Broken``."""


@dataclass(frozen=True)
class Verdict:
    """One line: what was looked at, and what came of it; ``kept`` is None where there was nothing to look at."""

    check: str
    kept: bool | None
    remark: str

    def __str__(self) -> str:
        mark = {True: "ok", False: "WRONG", None: "-"}[self.kept]
        return f"{mark:5}  {self.check:12}  {self.remark}"


def verdicts(name: str, files: list[str], together: int = 1) -> Iterator[Verdict]:
    """Check a method on tiny digits in a temporary folder; what training prints is not shown.

    Args:
        name: of the method.
        files: configuration files, laid on top of ``workflow/config/config.yaml``.
        together: processes of a run beside one; 1 leaves that check out.

    Raises:
        UserError: the configuration is refused.
    """
    shown = [str(Path(file).resolve()) for file in files]
    made = config.load(shown)
    todo = {**FOUNDATIONS, **CHECKS} | ({"processes": processes.agreement(together)} if together > 1 else {})
    with tempfile.TemporaryDirectory(prefix="structgan-check-") as folder, contextlib.chdir(folder):
        data = Path("data.safetensors")
        made = small(made)
        subject = Subject(name, made, [str(config.BASE), *shown], data)
        settings = made["datasets"][subject.dataset]
        datasets.prepare({"name": subject.dataset, **settings}, data, Path("raw"))
        for number, (check, look) in enumerate(todo.items(), 1):
            verdict = one(check, look, subject)
            yield verdict
            if verdict.kept is False and check in FOUNDATIONS:
                rest = list(todo)[number:]
                yield Verdict("not looked at", None, f"{', '.join(rest)}: mend the above first")
                return


def one(check: str, look: Check, subject: Subject) -> Verdict:
    """One check's verdict."""
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        try:
            remark = look(subject)
        except Broken as error:
            return Verdict(check, False, str(error))
    return Verdict(check, True, remark) if remark is not None else Verdict(check, None, "the method has none")
