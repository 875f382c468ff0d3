"""Turns the svg file of a figure into a drawing inside the page: its own ids, colors of the reader's color scheme."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from structgan.report import style
from structgan.report.suite import Suite

VARIABLES = {style.INK: "ink", style.MUTED: "muted", style.GRID: "grid", style.HALO: "card"}
VARIABLES |= {color: f"c-{color[1:]}" for color in style.COLORS + style.GRAYS}


def variables(suite: Suite, dark: bool) -> Markup:
    """CSS variables for every color that a figure uses."""
    pairs = zip(style.COLORS + style.GRAYS, style.DARK_COLORS + style.DARK_GRAYS, strict=True)
    found = {f"--c-{light[1:]}": other if dark else light for light, other in pairs}
    found |= {f"--m-{index}": color for index, color in enumerate(style.colors(suite, dark).values())}
    return Markup("".join(f"{name}:{value};" for name, value in found.items()))


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
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = text[text.index("<svg") :].replace("xlink:href", "href")
    used, seen = set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)), set[str]()

    def own(match: re.Match[str]) -> str:
        """The first mention of an id that something refers to; Matplotlib repeats equal definitions under one id."""
        fresh = match[1] in used - seen
        seen.add(match[1])
        return f' id="{name}-{match[1]}"' if fresh else ""

    text = re.sub(r'\s+id="([^"]*)"', own, text)
    text = text.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    box = re.search(r'viewBox="0 0 ([\d.]+) [^"]*"', text)
    assert box is not None, path
    style_ = f'style="width:{float(box[1]) * 4 / 3:.0f}px"'
    head = f'<svg {box[0]} {style_} role="img" aria-label="{escape(words)}">'
    text = re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).replace(f"fill: {style.PAPER}", "fill: none")
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return Markup(text)
