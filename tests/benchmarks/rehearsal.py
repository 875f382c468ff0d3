"""The short run of a GPU in a process of its own, on the CPU and in small, to its end or until it kills itself."""

import sys

from forked import CONTEXT, LIMIT_S, crash_at, write_to

OPTIONS = ("--device", "cpu", "--small", "--check", "structural", "--deadline", "3000")


def child(arguments, log, crash):
    """The command line, which kills its process at call number ``crash`` that changes a file."""
    write_to(log)
    calls = crash_at(crash)
    from benchmarks.gpu import short_run

    sys.argv = ["short_run", *map(str, arguments)]
    short_run.main()
    print(f"calls: {calls()}")


def run(place, name, crash=0):
    """Its exit code, what it said, and its folder."""
    folder, log = place / name, place / f"{name}.log"
    arguments = ("--data", place / "mine.tar.xz", "--out", folder, *OPTIONS)
    process = CONTEXT.Process(target=child, args=(arguments, log, crash))
    process.start()
    process.join(4 * LIMIT_S)
    return process.exitcode, log.read_text(), folder
