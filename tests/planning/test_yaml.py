"""One reader of YAML: what words mean, and what is refused in one line."""

import pytest
import suites
import yaml
from refusal import refused

from structgan import cli, config, sources, yaml_reader

LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, 12)
)
BAD = {
    "nothing": ("", "mapping of keys, found nothing"),
    "a comment": ("# training: {steps: 5}", "mapping of keys, found nothing"),
    "a list": ("- 1\n- 2", "mapping of keys, found list"),
    "a number": ("5", "mapping of keys, found int"),
    "two documents": ("a: 1\n---\nb: 1", "another document in line 2"),
    "a tab": ("a:\n\tb: 1", "line 2, column 1"),
    "no end": ("a: {b: [1", "not valid YAML"),
    "a key twice": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3", "key 'c' is written twice, in lines 3 and 5"),
    "a key twice, quoted": ("a: 1\n'a': 1", "key 'a' is written twice, in lines 1 and 2"),
    "a key that is a list": ("{[1]: 2}", "a key must be a word in line 1"),
    "a billion laughs": (LAUGHS, "50000 values"),
    "a long list": ("a: [" + "1, " * 200_000 + "]", "50000 values"),
    "an alias of itself": ("a: &a {b: *a}", "50 levels"),
    "deep": ("a: " + "[" * 200_000, "not valid YAML"),  # libyaml may refuse it before we do
    "object": ("a: !!python/name:os.system", "python/name"),
    "tag": ("a: !!int x", "'x'"),
    "a long number": ("a: " + "9" * 5000, "not valid YAML"),
    "a long number in hexadecimal": ("a: 0x" + "f" * 5000, "64 bits"),
    "control character": (r'a: "\0"', r"control character '\x00'"),
    "control character in a key": (r'"a\x07": 1', r"control character '\x07'"),
    "half a character": (r'a: "\ud800"', "Unicode"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_configuration_is_one_line(user_file, case):
    text, words = BAD[case]
    with refused("mine.yaml", words):
        yaml_reader.read(user_file(text))


def test_a_file_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"a: caf\xe9")
    with refused("mine.yaml", "utf-8"):
        yaml_reader.read(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("word", "value"),
    [("010", 10), ("0o10", 8), ("0x1F", 31), ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("-7E+2", -700.0), ("8.0", 8.0)]
    + [(word, word) for word in ("no", "on", "y", "1_000", "1:30", "2026-01-01", "0b1", "NaN", "1e")]
    + [("true", True), ("FALSE", False), ("~", None), ("", None), ("null", None), ("'010'", "010")],
)  # fmt: skip
def test_words_mean_what_they_mean_in_yaml_1_2(user_file, word, value):
    found = yaml_reader.read(user_file(f"a: {word}\n{word or '~'}: b"))
    assert found == {"a": value, word.strip("'") or "~": "b"} and type(found["a"]) is type(value)


def test_aliases_and_merged_keys_are_read(user_file):
    text = "base: &base {a: 1, b: [1, 2]}\nmine: {<<: *base, a: 2}\nsame: *base"
    base = {"a": 1, "b": [1, 2]}
    assert yaml_reader.read(user_file(text)) == {"base": base, "mine": {**base, "a": 2}, "same": base}


FILES = [path for part in ("workflow/config", "workflow/schemas", "structgan/report")
         for path in (sources.ROOT / part).rglob("*.yaml")]  # fmt: skip


def test_files_of_the_repository_mean_the_same_to_snakemake():
    """It has PyYAML read them, as YAML 1.1."""
    assert len(FILES) > 20
    for path in FILES:
        assert yaml_reader.read(path) == yaml.safe_load(path.read_text()), path


def test_values_of_the_command_line_are_named_as_such(user_file):
    given = yaml_reader.OPTION + '{"training": {"steps": "5"}, "suite": "x"}'
    with refused('--config: training.steps = "5": must be of type integer'):
        config.load([user_file("training: {steps: 5}"), given])


@pytest.mark.parametrize("given", ["8.0", "8.5", "true", "'8'"])
def test_a_whole_number_is_written_without_a_point(user_file, given):
    with refused("mine.yaml: training.batch_size = ", "integer"):
        config.load([user_file(f"training: {{batch_size: {given}}}")])


@pytest.mark.parametrize("verb", [["configure"], ["check", "simclr"]], ids=lambda verb: verb[0])
@pytest.mark.parametrize("second", ["--configfile", "--configfile=b.yaml", "--configfiles"])
def test_a_second_configfile_is_refused_as_in_the_rules(verb, second):
    with refused("--configfile is given twice"):
        cli.cli.main([*verb, "--configfile", "a.yaml", second, "b.yaml"], standalone_mode=False)


def test_one_configfile_takes_several_files(user_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    user_file("training: {steps: 5}", "a.yaml")
    user_file("training: {log_every: 0}", "b.yaml")
    for order in (["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]):
        with refused("b.yaml: training.log_every = 0"):
            cli.cli.main(["configure", "--configfile", *order], standalone_mode=False)


@pytest.mark.parametrize(
    ("suite", "file", "methods"),
    [("demo", "demo", ["structural", "plain_gan", "simclr"]), ("cifar10", "config", ["supervised"])],
)
def test_a_note_names_the_methods_that_do_not_take_a_value(user_file, suite, file, methods):
    mine = user_file("training: {steps: 5, log_every: 1}")
    files = [*map(str, suites.stack(suite)), str(mine)]
    (note,) = config.hidden(config.load(files), [str(config.BASE), *files])
    named = ", ".join(f"{name} (workflow/config/{file}.yaml)" for name in methods)
    assert note.startswith(f"{mine}: training.steps does not count for {named}, each ")


def test_planning_prints_the_note(user_file, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    user_file("training: {steps: 5}")
    cli.cli.main(["configure", "--configfile", *map(str, suites.stack("demo")), "mine.yaml"], standalone_mode=False)
    assert capsys.readouterr().err.startswith(
        "structgan: note: mine.yaml: training.steps does not count for structural"
    )


@pytest.mark.parametrize("stem", [*filter("check".__ne__, suites.SHIPPED)])  # which has sizes, and is no suite
def test_no_suite_of_ours_hides_a_value_of_its_own(stem):
    files = [*map(str, suites.stack(stem))]
    assert not list(config.hidden(config.load(files), [str(config.BASE), *files]))
