"""``python -m structgan``."""

from structgan.cli import main

main()
