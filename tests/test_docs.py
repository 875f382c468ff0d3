"""README and docs: every command that a page says to type is valid, with its options and files, and links lead on."""

import re
import shlex

import pytest
from test_architecture import ROOT, WORKFLOW

from structgan import cli, config

FOLDERS = ("README.md", "results/README.md", "baselines/*.md", "benchmarks/**/*.md", "docs/**/*.md", "workflow/**/*.md")
PAGES = {str(path.relative_to(ROOT)): path.read_text() for name in FOLDERS for path in sorted(ROOT.glob(name))}
BLOCK, LINK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S), re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)")
WRITTEN = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$|'(?P<line>{[^']+)' > (?P<file>[\w./-]+)", re.M | re.S)
TYPED = re.compile(r"(?:[A-Z]+=\S+ )*((?:structgan|snakemake|make|dvc|python3? -m) .+)")
RULES = re.findall(r"^(?:rule|use rule \w+ as) (\w+)", "\n".join(path.read_text() for path in WORKFLOW), re.M)
OPTIONS = {*re.findall(r'"(--[\w-]+)"', "".join(path.read_text() for path in ROOT.glob("benchmarks/**/*.py")))}
NAMED = re.compile(r"\b(?:structgan|workflow|tests|benchmarks|baselines|docs)/[\w/.-]+\.(?:py|md|yaml|smk)\b")


@pytest.mark.parametrize(("page", "text"), PAGES.items(), ids=PAGES)
def test_links_and_named_files_exist(page, text):
    own = [match["file"] or match[1] for match in WRITTEN.finditer(text)] + re.findall(r"structgan new \w+ (\w+)", text)
    named = [file for file in NAMED.findall(text) if not re.search(rf"\b({'|'.join([*own, 'mine', 'NAME'])})\b", file)]
    links = [f"{page}/../{link}" for link in LINK.findall(BLOCK.sub("", text))]
    assert [file for file in [*named, *links] if not (ROOT / file).resolve().exists()] == []


@pytest.mark.parametrize(("page", "text"), PAGES.items(), ids=PAGES)
def test_commands_and_their_configurations_are_valid(page, text, tmp_path):
    from dvc.cli.parser import get_main_parser
    from snakemake.cli import get_argument_parser

    snakemake, dvc = get_argument_parser(), get_main_parser()
    files = {match["file"] or match[1]: match["line"] or match[2] for match in WRITTEN.finditer(text)}
    lines = "".join(code for kind, code in BLOCK.findall(text) if kind == "sh").replace("\\\n", " ").splitlines()
    lines += [code for code in re.findall("`([^`\n]+)`", BLOCK.sub("", text)) if "…" not in code]
    found = map(TYPED.fullmatch, re.split(r" *(?:&&|; |\n) *", "\n".join(lines)))
    typed = [shlex.split(match[1], comments=True) for match in found if match]
    assert page != "README.md" or (len(text.splitlines()) <= 130 and len(typed) > 15)
    for program, verb, *words in typed:
        used = []
        if program == "make":
            assert {verb, *words} <= {*re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M)}
        elif program.startswith("python"):
            assert {word for word in words if word.startswith("--")} <= OPTIONS, words
            assert (ROOT / words[0].replace(".", "/")).with_suffix(".py").exists()
        elif program == "dvc":
            dvc.parse_args([verb, *words])
        elif program == "structgan":
            used = cli.cli.commands[verb].make_context(verb, words, resilient_parsing=not words).params.get("files", ())
        elif "kubernetes" not in words:  # a plug-in that is not installed here
            parsed = snakemake.parse_args([verb, *words])
            used = [str(file) for file in parsed.configfile or ()]
            assert {*parsed.targets} <= {*RULES} and all((ROOT / each).is_dir() for each in parsed.profile or ())
        code = (
            *re.findall(r"\w+(?=\.py`:)|(?<=new baseline )\w+|(?<=new evaluation )\w+|(?<=new dataset )\w+", text),
            "mine",
            "FILE",
        )
        if used and not any(file.removesuffix(".yaml").endswith(code) for file in used):
            for number, file in enumerate(used):
                (tmp_path / f"{number}.yaml").write_text(files.get(file) or (ROOT / file).read_text())
            config.load(tmp_path / f"{number}.yaml" for number in range(len(used)))
