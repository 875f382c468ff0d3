"""Turns a figure's svg into a drawing inside the page: ids of its own, colours that follow the colour scheme."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from structgan.report import style
from structgan.report.records import Suite


def variables(suite: Suite, dark: bool) -> str:
    """CSS variables for every colour that a figure uses."""
    own = dict(zip(style.COLOURS + style.GREYS, style.DARK_COLOURS + style.DARK_GREYS, strict=True))
    light = {f"--c-{colour[1:]}": other if dark else colour for colour, other in own.items()}
    methods = {f"--m-{index}": colour for index, colour in enumerate(style.colours(suite, dark).values())}
    return "".join(f"{name}:{value};" for name, value in {**light, **methods}.items())


def inline(path: Path, name: str, words: str) -> Markup | None:
    """The svg as an element of the page; None where the file does not exist.

    Args:
        path: the svg that figures.write made.
        name: prefix for its ids, unique on the page.
        words: what it shows, for those who cannot see it.
    """
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href")
    used, seen = set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)), set[str]()

    def own(match: re.Match[str]) -> str:
        """The first mention of an id that something refers to; Matplotlib repeats equal definitions under one id."""
        key = match.group(1)
        fresh = key in used and key not in seen
        seen.add(key)
        return f' id="{name}-{key}"' if fresh else ""

    text = re.sub(r'\s+id="([^"]*)"', own, text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    width = re.search(r'viewBox="0 0 ([\d.]+) ', text)
    size = float(width.group(1)) * 4 / 3 if width else 800.0
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {box.group(0) if box else ""} style="width:{size:.0f}px" role="img" aria-label="{escape(words)}">'
    text = re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)
    for colour, variable in ((style.INK, "ink"), (style.MUTED, "muted"), (style.GRID, "grid"), (style.HALO, "card")):
        text = text.replace(colour, f"var(--{variable})")
    text = text.replace(f"fill: {style.PAPER}", "fill: none")
    for colour in style.COLOURS + style.GREYS:
        text = text.replace(colour, f"var(--c-{colour[1:]})")
    return Markup(text)
