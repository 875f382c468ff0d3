"""What mkdocs adds to the site: pages and files beside the code, the configuration, the commands, and mathematics."""

import html
import json
import os
import re
from pathlib import Path

import click
from latex2mathml.converter import convert
from mkdocs.structure.files import File

from structgan import builders, sources
from structgan.cli import cli
from structgan.yaml_reader import read

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "baselines/README.md": "how-to/own-method.md",
    "workflow/README.md": "how-to/versions.md",
    "workflow/profiles/slurm/README.md": "how-to/slurm.md",
    "benchmarks/README.md": "reference/benchmarks.md",
    "benchmarks/gpu/README.md": "how-to/gpu-short-run.md",
}
"""Pages of the repository outside of docs/, and where the site has them."""
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
MATH = re.compile(r'<(?:span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.S)
SCHEMAS = ROOT / "workflow" / "schemas"


def source(uri):
    """The file of the repository that a page of the site is made from."""
    beside = {there: here for here, there in PAGES.items()}
    return ROOT / beside.get(uri, f"docs/{uri}")


def place(path):
    """Where the site has a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    return PAGES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else f"repository/{name}")


def target(uri, link):
    """The file that a relative link of a page leads to."""
    return Path(os.path.normpath(source(uri).parent / link))


def on_files(files, config):
    """Add the pages beside the code, and every file that some page links to."""
    for here, there in PAGES.items():
        files.append(File.generated(config, there, abs_src_path=str(ROOT / here)))
    for page in list(files.documentation_pages()):
        for _, link, _ in LINK.findall(source(page.src_uri).read_text(encoding="utf-8")):
            path = target(page.src_uri, link)
            if path.is_file() and files.get_file_from_path(place(path)) is None:
                files.append(File.generated(config, place(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links at the places that the site has; a link to a folder becomes its text."""
    uri = page.file.src_uri
    if uri.startswith("repository/"):
        return markdown

    def moved(found):
        text, link, anchor = found.groups()
        path = target(uri, link)
        if path.is_dir():
            return text
        return f"[{text}]({os.path.relpath(place(path), Path(uri).parent)}{anchor or ''})"

    made = {"<!-- tables of the schemas -->": configuration, "<!-- help of the commands -->": commands}
    markdown = re.sub(r"On GitHub this page ends here:.*\n", "", markdown)
    return re.sub("|".join(made), lambda mark: made[mark[0]](), LINK.sub(moved, markdown))


def on_page_content(text, page, config, files):
    """Equations as MathML, which browsers show without a script and without a network."""
    return MATH.sub(
        lambda found: convert(html.unescape(found[2]), display="inline" if found[1] == "(" else "block"), text
    )


def commands():
    """The help of every command."""
    made = []
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"structgan {name}", terminal_width=100)
        made += [f"## structgan {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(made)


def configuration():
    """Every key of the configuration: type and range, its value in config.yaml, and what it is."""
    values, schema = (read(ROOT / "workflow" / path) for path in ("config/config.yaml", "schemas/config.schema.yaml"))
    parts = ("datasets", "augmentations", "methods", "evaluation")
    whole = {**schema, "properties": {key: entry for key, entry in schema["properties"].items() if key not in parts}}
    text = ["## All keys", *table(whole, schema, values)]
    for section in parts[:3]:
        text += [f"## {section}.NAME", *table(schema["properties"][section]["additionalProperties"], schema, {})]
        if section == "datasets":
            declared = {name: sources.literals(builders.FOLDER / f"{name}.py", "DEFAULTS") for name in builders.names()}
            rows = (f"| `{name}` | `{found['DEFAULTS']}` |" for name, found in declared.items())
            text += ["", "| builder | its further keys, with their defaults |", "|---|---|", *rows, ""]
    text += ["## evaluation", *table(schema["properties"]["evaluation"], schema, values["evaluation"])]
    for path in sorted((SCHEMAS / "methods").glob("*.yaml")):
        own = values["methods"][path.stem].get("settings", {})
        text += [f"## methods.{path.stem}.settings", *table(read(path), read(path), own)]
    return "\n".join(text)


def table(schema, root, values):
    rows = ("| " + " | ".join(row) + " |" for row in keys(schema, root, values))
    return ["", "| key | allowed | value | what |", "|---|---|---|---|", *rows, ""]


def keys(schema, root, values, prefix=""):
    """A row for each key below a schema, depth first."""
    for name, entry in schema.get("properties", {}).items():
        inner, at = resolve(entry, root)
        value = values.get(name) if isinstance(values, dict) else None
        if "properties" in inner:
            if value is None and "description" in inner:
                yield f"`{prefix}{name}`", allowed(inner), shown(value), inner["description"]
            yield from keys(inner, at, value, f"{prefix}{name}.")
        else:
            yield f"`{prefix}{name}`", allowed(inner), shown(value), inner.get("description", "")


def resolve(entry, root):
    """A schema behind its reference, and the file that its own references are of."""
    if "$ref" not in entry:
        return entry, root
    file, _, name = entry["$ref"].partition("#/$defs/")
    root = read(SCHEMAS / file) if file else root
    return {**root["$defs"][name], **{key: value for key, value in entry.items() if key != "$ref"}}, root


def allowed(schema):
    """Type, range or choices in words."""
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kinds = schema.get("type", "any")
    words = {
        "array": "list",
        "object": "mapping",
        "integer": "whole number",
        "boolean": "true, false",
        "string": "text",
    }
    text = " or ".join(words.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    limits = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return ", ".join([text, *(f"{sign} {schema[key]}" for key, sign in limits if key in schema)])


def shown(value):
    """A value of config.yaml in a cell; mappings and long texts are left to the file."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if value is not None and not isinstance(value, dict) and len(text) < 40 else ""
