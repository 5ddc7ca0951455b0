"""Options: text to values, the configuration file, which of them wins, what the help and a shell are told."""

import contextlib
import math

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iclglass.cli import main
from iclglass.cli.kinds import FILE, INTEGER, INTEGERS, MOST_POINTS, NUMBER, TEXT, grid, integer, integers, number
from iclglass.cli.options import command, option, switch
from iclglass.cli.program import COMMANDS
from iclglass.numerics.errors import OutputError, ParameterError

NAMES = list(COMMANDS.commands)


@command(
    option("--task-diversity --tau", NUMBER, "task diversity", required=True, waived_by="suite"),
    option("--ridge --lam", NUMBER, "ridge", default="0.1"),
    option("--dimension", INTEGERS, "sizes", default="16,24"),
    option("--samples", INTEGER, "samples"),
    option("--out", FILE, "file"),
    option("--line", TEXT, "line", multiple=True),
    option("--road", TEXT, "road", is_flag=False, flag_value="simulation"),
    option("--suite", TEXT, "suite", is_eager=True),
    switch("--force", "replace"),
    switch("--row/--no-row", "row", default=True),
    example="none",
)
def trial(**values):
    """A trial."""
    return values


DEFAULTS = {
    "task_diversity": 2.0,
    "ridge": 0.1,
    "dimension": (16, 24),
    "samples": None,
    "out": None,
    "line": (),
    "road": None,
    "suite": None,
    "force": False,
    "row": True,
}


def parse(*arguments, config=None):
    more = [] if config is None else ["--config", config]
    with trial.make_context("trial", [*arguments, *more]) as context:
        return trial.invoke(context)


@pytest.fixture
def toml(tmp_path):
    def write(content):
        path = tmp_path / "run.toml"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


# --- conversions -----------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False), st.integers())
def test_numbers_are_read_exactly(value, count):
    assert number("--tau", repr(value)) == value
    assert integer("--samples", str(count)) == count


@given(st.text(max_size=20))
def test_any_text_is_a_number_and_a_grid_or_refused_by_name(value):
    try:
        wanted = float(value)
    except ValueError:
        with pytest.raises(ParameterError, match=r"^--tau .* is not a number: write it as 0\.1 or 1e-3$"):
            number("--tau", value)
    else:
        assert number("--tau", value) == wanted or math.isnan(wanted)
    found = 0.0
    with contextlib.suppress(ParameterError):
        found = grid("--tau", value)
    assert isinstance(found, float) or (found.ndim == 1 and found.size >= 1 and np.isfinite(found).all())


@pytest.mark.parametrize("value", ["", "x", "1.0", "1e3", "0x10", "nan", "1,2"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ParameterError, match=f"^--samples {value!r} is not a whole number$"):
        integer("--samples", value)


def test_a_list_of_whole_numbers():
    assert integers("--dimension", "16, 24 ,32") == (16, 24, 32)
    assert integers("--dimension", "16") == (16,)
    for value in ("", "16,", ",16", "16;24", "16,x"):
        with pytest.raises(ParameterError, match=r"--dimension .* is not a whole number"):
            integers("--dimension", value)


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 50))
def test_a_grid_has_both_ends_its_count_and_equal_steps_or_ratios(start, stop, count):
    found = grid("--tau", f"{start!r}:{stop!r}:{count}")
    np.testing.assert_array_equal(found, np.linspace(start, stop, count))
    assert (found[0], found[-1]) == (start, stop)
    stop = abs(stop) + 1e-6
    found = grid("--tau", f"{start!r}:{stop!r}:{count}:log")
    assert (found.size, found[0], found[-1]) == (count, start, stop)
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(stop / start) / (count - 1), atol=1e-9)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0:1:0", "COUNT = 0 must be at least 1"),
        ("0:1:-3", "COUNT = -3 must be at least 1"),
        ("0:1:1", "COUNT = 1 has no place for two ends"),
        (f"0:1:{MOST_POINTS + 1}", f"must be at most {MOST_POINTS}"),
        ("0:1:" + "9" * 30, "must be at most"),
        ("0:1:2.5", "'2.5' is not a whole number"),
        ("0:1:x", "'x' is not a whole number"),
        ("0:1:", "'' is not a whole number"),
        ("0:x:3", "'x' is not a number"),
        (":1:3", "'' is not a number"),
        ("nan:1:3", "both ends must be finite"),
        ("0:inf:3", "both ends must be finite"),
        ("-inf:1:3:log", "both ends must be finite"),
        ("0:1:3:log", "both ends of a logarithmic grid must be > 0"),
        ("1:-1:3:log", "both ends of a logarithmic grid must be > 0"),
        ("1:2", r"must be a number or START:STOP:COUNT\[:log\]"),
        ("1:2:3:lin", r"must be a number or START:STOP:COUNT\[:log\]"),
        ("1:2:3:log:4", r"must be a number or START:STOP:COUNT\[:log\]"),
        ("::", "is not a number"),
        ("", "is not a number"),
    ],
)
def test_a_bad_grid_is_refused_with_the_reason(value, reason):
    with pytest.raises(ParameterError, match=f"^--tau .*{reason}"):
        grid("--tau", value)


# --- command line, file, defaults ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "content", "changed"),
    [
        (["--tau", "2"], None, {}),
        (["--tau", "2"], "# nothing\n", {}),
        (["--task-diversity", "3"], None, {"task_diversity": 3}),
        (["--tau", "3", "--task-diversity", "4"], None, {"task_diversity": 4}),
        (["--tau=-1e-3"], None, {"task_diversity": -1e-3}),
        (["--tau", "-1e-3"], None, {"task_diversity": -1e-3}),
        (["--tau", "-inf"], None, {"task_diversity": -math.inf}),
        (["--tau", "2", "--line", "b", "--line", "a"], None, {"line": ("b", "a")}),
        (["--tau", "2", "--no-row"], None, {"row": False}),
        (["--tau", "2", "--road"], None, {"road": "simulation"}),
        (["--road", "--tau", "2"], None, {"road": "simulation"}),
        (["--road", "training", "--tau", "2"], None, {"road": "training"}),
        (["--road=", "--tau", "2"], None, {"road": ""}),
        (["--suite", "full"], None, {"task_diversity": None, "suite": "full"}),
        ([], "suite = 'full'", {"task_diversity": None, "suite": "full"}),
        ([], "task-diversity = 2", {}),
        ([], "task_diversity = '2'", {}),
        ([], "tau = 2.5e0", {"task_diversity": 2.5}),
        ([], "tau = 2\ndimension = '8,12'", {"dimension": (8, 12)}),
        ([], "tau = 2\ndimension = [8, 12]", {"dimension": (8, 12)}),
        ([], "tau = 2\nline = 'contrast=0.8'", {"line": ("contrast=0.8",)}),
        ([], "tau = 2\nline = ['x', 'y']", {"line": ("x", "y")}),
        ([], "tau = 2\nforce = true\nrow = false", {"force": True, "row": False}),
        (["--row"], "tau = 2\nforce = false\nrow = false", {}),
        ([], "tau = 2\nroad = true", {"road": "simulation"}),
        ([], "tau = 2\nroad = false", {}),
        ([], "tau = 2\nroad = 'theory'", {"road": "theory"}),
        (["--tau", "2", "--line", "z", "--dimension", "5,6", "--lam", "0.7"],
         "tau = 3\nlam = 0.5\nline = ['x']\ndimension = [8]",
         {"line": ("z",), "dimension": (5, 6), "ridge": 0.7}),
    ],
)  # fmt: skip
def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(toml, arguments, content, changed):
    assert parse(*arguments, config=None if content is None else toml(content)) == DEFAULTS | changed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task_diversty = 1", "unknown key 'task_diversty' in .*run.toml; did you mean 'task_diversity'"),
        ("sampels = 1", "did you mean 'samples'"),
        ("qqqq = 1", "unknown key 'qqqq' in .*; known: dimension, force, lam"),
        ("config = 'a.toml'", "unknown key 'config'"),
        ("[solve]\ntau = 1", "unknown key 'solve'"),
        ("tau = 1\ntask-diversity = 2", "gives task-diversity a second time"),
        ("tau = true", "'tau' = True in .* must be a number or a string"),
        ("tau = {a = 1}", "must be a number or a string"),
        ("tau = [1, 2]", r"'tau' = \[1, 2\] in .* must be a number or a string"),
        ("tau = 2024-01-01", "--tau '2024-01-01' is not a number"),
        ("tau = 'x'", "--tau 'x' is not a number"),
        ("force = 1", "'force' in .* must be true or false"),
        ("force = 'yes'", "'force' in .* must be true or false"),
        ("tau = 1\nsamples = 1.5", "--samples '1.5' is not a whole number"),
        ("tau = 1\nsamples = true", "must be a number or a string"),
        ("tau = 1\nout = ['a', 'b']", "out"),
        ("lam = 1", "^--tau is required, or --suite: task diversity$"),
    ],
)
def test_a_bad_file_is_refused_in_words(toml, content, message):
    with pytest.raises(ParameterError, match=message):
        parse(config=toml(content))


def test_a_file_that_is_missing_a_folder_or_not_toml(tmp_path, toml):
    with pytest.raises(OutputError, match=r"none\.toml cannot be read: No such file"):
        parse(config=str(tmp_path / "none.toml"))
    with pytest.raises(OutputError, match="cannot be read: Is a directory"):
        parse(config=str(tmp_path))
    for content in ("tau = ", "tau = 1\ntau = 2", "= 1", "tau 2"):
        with pytest.raises(OutputError, match="is not TOML"):
            parse(config=toml(content))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match="is not TOML"):
        parse(config=str(tmp_path / "binary.toml"))


# --- help and completion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_says_meaning_default_or_required_and_an_example(run, name):
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    shown = " ".join(out.split()).replace("- ", "-")
    for parameter in COMMANDS.commands[name].params:
        if not isinstance(parameter, click.Option):
            continue
        assert parameter.name.isidentifier()
        assert parameter.help == parameter.help.strip().rstrip(".")
        assert parameter.help.replace("- ", "-") in shown
        assert all(name in out for name in [*parameter.opts, *parameter.secondary_opts])
        if isinstance(parameter.default, (str, int, float)) and not parameter.is_flag:
            assert f"[default: {parameter.default}]" in shown
    assert f"example: iclglass {name} " in shown


def complete(monkeypatch, capsys, words):
    monkeypatch.setenv("_ICLGLASS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"iclglass {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    assert main([]) == 0
    return [tuple(line.split(",", 1)) for line in capsys.readouterr().out.splitlines()]


def test_a_shell_is_told_commands_options_and_that_a_file_is_wanted(monkeypatch, capsys):
    assert complete(monkeypatch, capsys, "s") == [("plain", name) for name in ("solve", "sweep", "sample")]
    assert ("plain", "--tau") in complete(monkeypatch, capsys, "solve --t")
    assert complete(monkeypatch, capsys, "sweep --out a") == [("file", "a")]
    assert complete(monkeypatch, capsys, "validate --out a") == [("dir", "a")]
