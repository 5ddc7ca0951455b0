"""Options: text to values, the configuration file, and which of them wins."""

import argparse
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.options import (
    MOST_POINTS,
    Option,
    add_options,
    grid,
    integer,
    integers,
    number,
    resolve,
    text,
)
from iclglass.table import COMMANDS

OPTIONS = (
    Option(("task-diversity", "tau"), number, "task diversity", required=True),
    Option(("ridge", "lam"), number, "ridge", default=0.1),
    Option(("dimension",), integers, "sizes", default=(16, 24)),
    Option(("samples",), integer, "samples"),
    Option(("out",), text, "file"),
    Option(("line",), text, "line", repeat=True),
    Option(("force",), text, "replace", switch=True),
)


def parse(*arguments, config=None):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_options(parser, OPTIONS)
    return resolve(vars(parser.parse_args(arguments)), OPTIONS, config)


@pytest.fixture
def toml(tmp_path):
    def write(content):
        path = tmp_path / "run.toml"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


# --- conversions -----------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False))
def test_a_number_is_read_exactly(value):
    assert number("tau", repr(value)) == value


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_refused_by_name(value):
    try:
        wanted = float(value)
    except ValueError:
        with pytest.raises(ParameterError, match=r"^--tau .* is not a number: write it as 0\.1 or 1e-3$"):
            number("tau", value)
    else:
        assert number("tau", value) == wanted or math.isnan(wanted)


@given(st.text(max_size=20))
def test_any_text_is_a_grid_or_refused_by_name(value):
    try:
        found = grid("tau", value)
    except ParameterError as error:
        message = str(error)
    else:
        message = "--tau "
        assert isinstance(found, float) or (found.ndim == 1 and found.size >= 1 and np.isfinite(found).all())
    assert message.startswith("--tau ")


@given(st.integers())
def test_a_whole_number_is_read_exactly(value):
    assert integer("samples", str(value)) == value


@pytest.mark.parametrize("value", ["", "x", "1.0", "1e3", "0x10", "nan", "1,2"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ParameterError, match=f"^--samples {value!r} is not a whole number$"):
        integer("samples", value)


def test_a_list_of_whole_numbers():
    assert integers("dimension", "16, 24 ,32") == (16, 24, 32)
    assert integers("dimension", "16") == (16,)
    for value in ("", "16,", ",16", "16;24", "16,x"):
        with pytest.raises(ParameterError, match=r"--dimension .* is not a whole number"):
            integers("dimension", value)


# --- grids -----------------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 50))
def test_a_grid_has_both_ends_and_its_count(start, stop, count):
    found = grid("tau", f"{start!r}:{stop!r}:{count}")
    assert found.size == count
    assert (found[0], found[-1]) == (start, stop)
    np.testing.assert_array_equal(found, np.linspace(start, stop, count))


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 50))
def test_a_logarithmic_grid_has_both_ends_its_count_and_equal_ratios(start, stop, count):
    found = grid("tau", f"{start!r}:{stop!r}:{count}:log")
    assert found.size == count
    assert (found[0], found[-1]) == (start, stop)
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(stop / start) / (count - 1), atol=1e-9)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0:1:0", "COUNT = 0 must be at least 1"),
        ("0:1:-3", "COUNT = -3 must be at least 1"),
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
        grid("tau", value)


# --- command line, file, defaults ------------------------------------------------------------------------------


def test_defaults_fill_what_is_not_given():
    assert parse("--tau", "2") == {
        "task_diversity": 2.0,
        "ridge": 0.1,
        "dimension": (16, 24),
        "samples": None,
        "out": None,
        "line": None,
        "force": None,
    }


def test_either_name_of_an_option_will_do_and_the_last_one_wins():
    assert parse("--task-diversity", "3")["task_diversity"] == 3
    assert parse("--tau", "3", "--task-diversity", "4")["task_diversity"] == 4
    assert parse("--tau=-1e-3")["task_diversity"] == -1e-3


def test_a_repeatable_option_is_a_list_in_order():
    assert parse("--tau", "1", "--line", "b", "--line", "a")["line"] == ["b", "a"]


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(toml):
    path = toml('tau = 2\nlam = 0.5\nforce = true\nline = ["x", "y"]\ndimension = [8, 12]\n')
    assert parse("--lam", "0.7", config=path) == {
        "task_diversity": 2.0,
        "ridge": 0.7,
        "dimension": (8, 12),
        "samples": None,
        "out": None,
        "line": ["x", "y"],
        "force": True,
    }
    assert parse("--tau", "3", "--line", "z", "--dimension", "5,6", config=path)["line"] == ["z"]


def test_a_file_may_use_dashes_underscores_letters_strings_and_grids(toml):
    assert parse(config=toml("task-diversity = 2"))["task_diversity"] == 2
    assert parse(config=toml("task_diversity = '2'"))["task_diversity"] == 2
    assert parse(config=toml("tau = 2.5e0"))["task_diversity"] == 2.5
    assert parse(config=toml("tau = 1\ndimension = '8,12'"))["dimension"] == (8, 12)
    assert parse(config=toml("tau = 1\nline = 'contrast=0.8'"))["line"] == ["contrast=0.8"]
    assert parse(config=toml("tau = 1\nforce = false"))["force"] is False


def test_an_empty_file_changes_nothing(toml):
    assert parse("--tau", "2", config=toml("# nothing\n")) == parse("--tau", "2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task_diversty = 1", "unknown key 'task_diversty' in .*run.toml; did you mean 'task_diversity'"),
        ("sampels = 1", "did you mean 'samples'"),
        ("qqqq = 1", "unknown key 'qqqq' in .*; known: dimension, force, lam"),
        ("[solve]\ntau = 1", "unknown key 'solve'"),
        ("tau = 1\ntask-diversity = 2", "gives task-diversity a second time"),
        ("tau = true", "'tau' = True in .* must be a number or a string"),
        ("tau = {a = 1}", "must be a number or a string"),
        ("tau = [1, 2]", "--tau .* is not a number|must be a number"),
        ("tau = 2024-01-01", "--tau '2024-01-01' is not a number"),
        ("tau = 'x'", "--tau 'x' is not a number"),
        ("force = 1", "'force' in .* must be true or false"),
        ("force = 'yes'", "'force' in .* must be true or false"),
        ("tau = 1\nsamples = 1.5", "--samples '1.5' is not a whole number"),
        ("tau = 1\nsamples = true", "must be a number or a string"),
        ("tau = 1\nout = ['a', 'b']", "out"),
        ("lam = 1", "--tau is required: task diversity"),
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


def test_a_missing_required_option_is_named_with_its_meaning():
    with pytest.raises(ParameterError, match=r"^--tau is required: task diversity$"):
        parse()


# --- the table of commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_of_every_command_is_fit_to_be_shown(command):
    names = [name for option in command.options for name in option.names]
    assert len(names) == len(set(names))
    assert "config" not in names
    for option in command.options:
        assert option.help
        assert option.help == option.help.strip().rstrip(".")
        assert not (option.required and option.default is not None)
        assert not (option.switch and option.repeat)
        assert option.key.isidentifier()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_says_default_or_required(command):
    parser = argparse.ArgumentParser()
    add_options(parser, command.options)
    shown = " ".join(parser.format_help().split())
    for option in command.options:
        assert option.help.split("(")[0].strip() in shown
    assert shown.count("(required)") == sum(option.required for option in command.options)
