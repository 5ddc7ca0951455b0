"""The command iclglass: what it prints where, the files it writes, what it refuses, and its exit codes."""

import contextlib
import json
import math
import os
import pty
import random
import re
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import iclglass
from iclglass import commands
from iclglass.cli import main
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.storage import PROVENANCE, load
from iclglass.table import COMMANDS
from iclglass.validation import crosscheck, experiment
from tests.numerics.running.killing import PROGRAM, mpi_launcher, rows, running, wait_for

DONE, INTERNAL, USAGE, NOT_CONVERGED, DISAGREE, FILE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130
POINT = ["--tau", "2", "--alpha", "1"]
# Too little to judge by: what is not refused passes.
SMALL = [*POINT, "--dimension", "6,8,12", "--samples", "8", "--largest-unseen-bias", "100"]
SWEEP = ["sweep", "--tau", "0.5:2:4", "--alpha", "1", "--out", "a.nc"]
MAP = ["phase-diagram", "--tau", "0.5:4:8", "--alpha", "0.3:20:7:log", "--lam", "0.01", "--out", "a.nc"]
QUANTITIES = [*OBSERVABLES, "residual", "error_bound"]
PNG = b"\x89PNG\r\n\x1a\n"
SCRIPT = Path(sys.executable).with_name("iclglass")


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    """Every test runs in its own empty folder."""
    monkeypatch.chdir(tmp_path)


def files():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def strict(text):
    """JSON without NaN and infinities, which it does not have."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


# --- help and usage --------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_exit_code(run):
    code, out, err = run("--help")
    assert (code, err) == (DONE, "")
    for command in COMMANDS:
        assert re.search(rf"^ +{command.name}\b", out, re.M)
        assert " ".join(command.help.split())[:30] in " ".join(out.split()).replace("- ", "-")
    for number in (0, 1, 2, 3, 4, 5, 130):
        assert re.search(rf"\b{number} \w+", out.replace("\n", " "))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_a_command_names_every_option(run, command):
    code, out, err = run(command.name, "--help")
    assert (code, err) == (DONE, "")
    for option in command.options:
        for name in option.names:
            assert f"--{name}" in out
    assert "--config" in out


def test_version(run):
    assert run("--version") == (DONE, f"iclglass {iclglass.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["solv"],
        ["solve", "--bogus", "1", *POINT],
        ["solve", "x"],
        ["solve", "--tau"],
        ["solve", "--tau", "2", "-x"],
    ],
)
def test_usage_errors_go_to_stderr_with_usage(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (USAGE, "")
    assert err.startswith("usage: iclglass")
    assert "error:" in err


def test_options_cannot_be_abbreviated(run):
    code, _, err = run("solve", "--task", "2", "--alpha", "1")
    assert code == USAGE
    assert "--task" in err


def test_an_unknown_option_shows_the_usage_of_its_command(run):
    """Not the list of commands: the user has chosen one."""
    _, _, err = run("solve", *POINT, "--bogus", "1")
    assert "--bogus" in err
    assert "usage: iclglass solve" in err


# --- solve -----------------------------------------------------------------------------------------------------


def test_solve_prints_parameters_quantities_and_status(run):
    code, out, err = run("solve", "--tau", "3", "--alpha", "5", "--lam", "1")
    assert (code, err) == (DONE, "")
    lines = {line.split()[0]: line.split()[1] for line in out.splitlines() if line}
    assert float(lines["e_icl"]) == pytest.approx(9 / 22, rel=1e-14)
    assert lines["status"] == "converged"
    assert lines["task_diversity"] == "3"
    for name in QUANTITIES:
        assert name in lines
    for meaning in OBSERVABLES.values():
        assert meaning in out


def test_solve_json_has_one_object_with_every_quantity(run):
    code, out, err = run("solve", *POINT, "--rho", "0.25", "--temperature", "0.5", "--json")
    assert (code, err) == (DONE, "")
    record = strict(out)
    assert list(record) == ["schema_version", "parameters", *QUANTITIES, "status"]
    assert record["schema_version"] == 1
    parameters = {
        "task_diversity": 2.0,
        "context_length": 1.0,
        "label_noise": 0.25,
        "ridge": 0.1,
        "temperature": 0.5,
        "test_context_length": 1.0,
    }
    assert record["parameters"].items() >= parameters.items()
    wanted = solve(task_diversity=2, context_length=1, label_noise=0.25, temperature=0.5)
    for name in QUANTITIES:
        assert record[name] == float(getattr(wanted, name)), name
    assert record["status"] == "converged"


def test_what_does_not_exist_is_null(run):
    record = strict(run("solve", *POINT, "--json")[1])
    assert record["entropy"] is None
    below = strict(run("solve", "--tau", "0.5", "--alpha", "1", "--lam", "0", "--temperature", "1", "--json")[1])
    assert below["chi"] is None
    assert below["e_icl"] > 0


def test_words_and_letters_are_the_same(run):
    letters = run("solve", "--tau", "2", "--alpha", "1", "--rho", "0.1", "--lam", "0.2", "--json")
    words = run(
        "solve", "--task-diversity", "2", "--context-length", "1", "--label-noise", "0.1", "--ridge", "0.2", "--json"
    )
    assert letters == words


def test_the_threshold_without_ridge_is_a_clear_status_and_no_number(run):
    code, out, err = run("solve", "--tau", "1", "--alpha", "1", "--lam", "0", "--json")
    record = strict(out)
    assert code == NOT_CONVERGED
    assert all(record[name] is None for name in QUANTITIES)
    assert record["status"].startswith("diverges at the interpolation threshold")
    code, out, err = run("solve", "--tau", "1", "--alpha", "1", "--lam", "0")
    assert code == NOT_CONVERGED
    assert "diverges at the interpolation threshold" in out + err
    code, out, _ = run("solve", "--tau", "1", "--alpha", "1", "--lam", "0", "--digits", "30", "--json")
    assert code == NOT_CONVERGED
    assert all(strict(out)[name] is None for name in QUANTITIES)


def test_beyond_floating_point_is_a_status_too(run):
    code, out, _ = run("solve", "--tau", "1e300", "--alpha", "1e-300", "--json")
    assert code == NOT_CONVERGED
    record = strict(out)
    assert all(record[name] is None for name in QUANTITIES)
    assert record["status"].startswith("not finite")


def test_digits_are_decimal_strings_right_to_38_digits(run):
    code, out, err = run("solve", "--tau", "3", "--alpha", "5", "--lam", "1", "--digits", "40", "--json")
    assert (code, err) == (DONE, "")
    record = strict(out)
    assert list(record) == ["schema_version", "parameters", *QUANTITIES, "status"]
    assert isinstance(record["e_icl"], str)
    assert abs(Fraction(record["e_icl"]) / Fraction(9, 22) - 1) < Fraction(1, 10**38)
    assert record["entropy"] is None
    for name in OBSERVABLES:
        assert record[name] is None or len(Decimal(record[name]).as_tuple().digits) <= 40


def test_digits_take_the_text_exactly(run):
    """0.1 is one tenth, not the binary number next to it."""
    record = strict(run("solve", *POINT, "--lam", "0", "--digits", "50", "--json")[1])
    assert Fraction(record["m"]) == Fraction(1, 2)
    text = "0." + "1234567890" * 4
    one, other = (
        strict(run("solve", "--tau", "2", "--alpha", text + end, "--digits", "45", "--json")[1])["m"] for end in "12"
    )
    assert one != other


@pytest.mark.parametrize("value", ["1e-400", "1e400", "0.1234567890123456789012345"])
def test_digits_report_the_parameters_that_were_used(run, value):
    """A parameter beyond floating point must not come back as 0 or null."""
    code, out, _ = run("solve", "--tau", value, "--alpha", "1", "--digits", "30", "--json")
    assert code == DONE
    assert Decimal(str(strict(out)["parameters"]["task_diversity"])) == Decimal(value)


@pytest.mark.parametrize("option", ["tau", "rho", "lam", "temperature"])
@pytest.mark.parametrize("value", ["-1e-400", "-1e400"])
def test_digits_refuse_a_negative_value_beyond_floating_point(run, option, value):
    """As a float it would be -0, which is not negative, or overflow."""
    given_ = {"tau": "2", "alpha": "1", option: value}
    code, out, err = run("solve", *[f"--{name}={text}" for name, text in given_.items()], "--digits", "20")
    assert (code, out) == (USAGE, "")
    assert "must be finite and >" in err


def test_digits_without_json_are_readable(run):
    code, out, _ = run("solve", *POINT, "--digits", "40")
    assert code == DONE
    assert re.search(r"^m +0\.4577855614887\d{24,27} +magnetization", out, re.M)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["tau", "alpha", "rho", "lam", "temperature", "test-context-length"]),
    st.one_of(
        st.text(max_size=12),
        st.floats().map(repr),
        st.integers().map(str),
        st.from_regex(r"-?[0-9]{0,3}(\.[0-9]{0,3})?([eE][-+]?[0-9]{1,4})?(/[0-9]{1,3})?", fullmatch=True),
        st.sampled_from(
            ["nan", "-nan", "inf", "Infinity", "sNaN", "1_0", "٣", "0x1", "1e", "--1", "1j", "\0", "1:2:3"]
        ),
    ),
    st.booleans(),
)
@example("tau", "1e-9999", True)
@example("lam", "-0", True)
@example("tau", "-1e400", True)
def test_whatever_is_typed_there_is_a_result_or_one_line(run, name, value, digits):
    """No traceback, no exit code 1, and never a finite number with a failed status."""
    given_ = {"tau": "2", "alpha": "1", name: value}
    arguments = [f"--{key}={text}" for key, text in given_.items()]
    code, out, err = run("solve", *arguments, "--json", *(["--digits", "5"] if digits else []))
    assert code in (DONE, USAGE, NOT_CONVERGED)
    if code == USAGE:
        assert out == ""
        assert err.startswith("iclglass: error: ")
        return
    record = strict(out)
    assert err == ""
    assert (record["status"] == "converged") == (code == DONE)
    if code == NOT_CONVERGED:
        assert all(record[quantity] is None for quantity in QUANTITIES)


# --- derive ----------------------------------------------------------------------------------------------------


def test_derive_one_stage(run):
    code, out, err = run("derive", "--stage", "saddle-point")
    assert (code, err) == (DONE, "")
    assert "Stationarity" in out
    assert "Wick" not in out


def test_derive_everything_in_order_as_text_and_latex(run):
    names = [stage.name for stage in iclglass.derive().stages]
    code, out, err = run("derive")
    assert (code, err) == (DONE, "")
    places = [out.index(f"[{name}]") for name in names]
    assert places == sorted(places)
    code, latex, err = run("derive", "--format", "latex")
    assert (code, err) == (DONE, "")
    assert latex.startswith(r"\documentclass")
    assert latex.rstrip().endswith(r"\end{document}")


# --- sweep -----------------------------------------------------------------------------------------------------


def test_sweep_writes_the_dataset(run):
    code, out, err = run(*SWEEP)
    assert code == DONE
    assert files() == ["a.nc"]
    dataset = load("a.nc")
    wanted = iclglass.sweep(task_diversity=np.linspace(0.5, 2, 4), context_length=1.0)
    assert dataset.drop_attrs().identical(wanted.drop_attrs())
    assert json.loads(dataset.attrs[PROVENANCE])["parameters"]["task_diversity"] == [0.5, 2.0, 4]
    assert "4 of 4 points: converged" in out + err


def test_sweep_draws_a_curve_or_a_map(run):
    assert run(*SWEEP, "--plot", "a.png", "--observable", "contrast")[0] == DONE
    assert Path("a.png").read_bytes().startswith(PNG)
    assert run("sweep", "--tau", "0.5:2:4", "--alpha", "1:2:3", "--out", "b.nc", "--plot", "b.svg")[0] == DONE
    assert files() == ["a.nc", "a.png", "b.nc", "b.svg"]


def test_a_sweep_through_the_threshold_says_so_and_keeps_the_rest(run):
    code, out, err = run("sweep", "--tau", "0.5:1.5:3", "--alpha", "1", "--lam", "0", "--out", "a.nc")
    assert code == NOT_CONVERGED
    assert "2 of 3 points: converged" in out + err
    assert "1 of 3 points: diverges at the interpolation threshold" in out + err
    assert load("a.nc").status.values.tolist() == [0, 1, 0]


def test_force_replaces_and_nothing_else_does(run):
    Path("a.nc").write_text("precious")
    code, out, err = run(*SWEEP)
    assert (code, out) == (FILE, "")
    assert "a.nc exists" in err
    assert "--force" in err
    assert Path("a.nc").read_text() == "precious"
    assert run(*SWEEP, "--force")[0] == DONE
    assert load("a.nc").sizes["task_diversity"] == 4


def test_sweep_over_every_parameter(run):
    axes = ["--rho", "0:1:2", "--lam", "0.01:1:3:log", "--temperature", "0:1:2", "--test-context-length", "1:5:2"]
    code, *_ = run("sweep", *POINT, *axes, "--out", "a.nc")
    assert code == DONE
    assert dict(load("a.nc").sizes) == {"label_noise": 2, "ridge": 3, "temperature": 2, "test_context_length": 2}


# --- phase-diagram ---------------------------------------------------------------------------------------------


def test_phase_diagram_writes_data_picture_and_lines(run):
    code, out, err = run(*MAP, "--line", "contrast=0.8", "--line", "peak=tau", "--line", "minimum=alpha")
    assert code == DONE
    assert files() == ["a.nc", "a.png"]
    assert Path("a.png").read_bytes().startswith(PNG)
    dataset = load("a.nc")
    assert set(dataset.line_name.values) == {"contrast=0.8", "peak=tau"}
    count = int((dataset.line_name == "contrast=0.8").sum())
    assert f"line contrast=0.8: {count} points in 1 parts" in out + err
    assert "line minimum=alpha: does not cross this grid" in out + err


def test_phase_diagram_defaults_and_names(run):
    assert run(*MAP, "--plot", "picture.svg", "--observable", "contrast")[0] == DONE
    assert files() == ["a.nc", "picture.svg"]
    assert set(load("a.nc").line_name.values) == {"interpolation-threshold", "contrast=0.8"}


# --- messages and data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [SWEEP, MAP, ["validate", *SMALL]], ids=["sweep", "phase-diagram", "validate"])
def test_what_was_written_is_a_message_for_stderr(run, arguments):
    """stdout carries data only: it can be piped on without a line that is none."""
    code, out, err = run(*arguments)
    assert code == DONE
    assert "wrote " in err
    assert "wrote " not in out


def test_an_output_to_a_folder_that_is_not_there_is_refused_before_any_work(run, monkeypatch):
    def fail(**parameters):
        raise AssertionError("solved before the outputs were checked")

    monkeypatch.setattr("iclglass.numerics.sweep.sweep", fail)
    for extra in (["--out", "none/a.nc"], ["--plot", "none/a.png"]):
        code, out, err = run(*SWEEP, *extra)
        assert (code, out) == (FILE, "")
        assert "none is not a folder: create it first" in err


# --- validate --------------------------------------------------------------------------------------------------

OUTPUTS = ["extrapolation.png", "samples.checkpoint", "validation.json", "validation.txt"]


def in_folder(folder):
    return [f"{folder}/{name}" for name in OUTPUTS]


def test_validate_prints_the_table_and_writes_it(run):
    code, out, _ = run("validate", *SMALL)
    assert code == DONE
    assert files() == in_folder("iclglass-validation")
    assert "D=6: P=72, N=6, D=8: P=128, N=8, D=12: P=288, N=12; norm N, seed 0, 8 data sets a size" in out
    assert "PASS: Theory and simulation agree" in out
    for name in ("m", "q", "chi", "e_icl", "e_train", "contrast", "energy"):
        assert re.search(rf"^ *{name} .* yes ", out, re.M)
    text = Path("iclglass-validation/validation.txt").read_text()
    assert text in out
    assert Path("iclglass-validation/extrapolation.png").read_bytes().startswith(PNG)
    assert len(rows("iclglass-validation/samples")) == 3 * 8


def test_validate_json_is_the_written_table(run):
    code, out, _ = run("validate", *SMALL, "--json", "--out", "v")
    assert code == DONE
    record = strict(out)
    assert record["schema_version"] == 1
    assert record["passed"] is True
    assert (record["dimensions"], record["prompts"], record["contexts"]) == ([6, 8, 12], [72, 128, 288], [6, 8, 12])
    assert record["norm"] == "N"
    assert record["rows"][0]["fit_p_value"] is None
    assert {row["quantity"] for row in record["rows"]} <= set(OBSERVABLES)
    written = strict(Path("v/validation.json").read_text())
    assert written.pop("provenance")["versions"]["iclglass"] == iclglass.__version__
    assert written == record


def test_two_sizes_and_two_samples_are_inconclusive_and_exit_6(run):
    arguments = ["validate", *POINT, "--dimension", "8,12", "--samples", "2", "--out", "v"]
    code, out, _ = run(*arguments)
    assert code == INCONCLUSIVE
    assert "INCONCLUSIVE: no quantity disagrees" in out
    assert re.search(r"^ *m .* \? ", out, re.M)
    code, out, _ = run(*arguments, "--json")
    record = strict(out)
    assert (code, record["passed"], record["largest_unseen_bias"]) == (INCONCLUSIVE, None, 0.25)
    assert record["sentence"].split()[0] == "Inconclusive:"
    assert all(row["agrees"] is None and row["unseen"] > 0.25 for row in record["rows"])
    # The same samples, with less asked of them.
    assert run(*arguments, "--largest-unseen-bias", "1e6")[0] == DONE


def test_the_help_lists_the_exit_code_of_an_inconclusive_verdict(run):
    assert "6 inconclusive" in " ".join(run("--help")[1].split())
    for command in ("validate", "reproduce"):
        assert "--largest-unseen-bias" in run(command, "--help")[1]


def test_progress_on_a_terminal_does_not_touch_the_data():
    """stderr is a terminal here, so the bar is drawn; stdout still is one JSON object."""
    leader, follower = pty.openpty()
    seen = []

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(leader, 65536):
                seen.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(
        [sys.executable, "-m", "iclglass", "validate", *SMALL, "--json"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
        timeout=120,
        check=False,
    )
    os.close(follower)
    reader.join(timeout=10)
    os.close(leader)
    assert done.returncode == DONE
    assert strict(done.stdout)["passed"] is True
    terminal = b"".join(seen).decode()
    assert "simulating" in terminal
    assert "24/24" in terminal


def test_a_broken_theory_exits_4_and_says_where(run, monkeypatch):
    """The theory with a factor 3/2 in front of the context length; simulation and check are the real ones."""

    def wrong(*, context_length, **parameters):
        return solve(context_length=1.5 * np.asarray(context_length), **parameters)

    arguments = ["validate", *POINT, "--dimension", "8,12,20", "--samples", "64", "--largest-unseen-bias", "1"]
    with monkeypatch.context() as broken:
        broken.setitem(crosscheck.validate.__kwdefaults__, "theory", wrong)
        code, out, _ = run(*arguments)
    assert code == DISAGREE
    assert "FAIL: Theory and simulation disagree in" in out
    assert re.search(r" NO ", out)
    # The same samples, with the theory that is not broken.
    assert run(*arguments)[0] == DONE


def test_a_broken_theory_exits_4_with_json_too(run, monkeypatch):
    def wrong(*, context_length, **parameters):
        return solve(context_length=1.5 * np.asarray(context_length), **parameters)

    monkeypatch.setitem(crosscheck.validate.__kwdefaults__, "theory", wrong)
    code, out, _ = run("validate", *POINT, "--dimension", "8,12,20", "--samples", "64", "--json")
    assert code == DISAGREE
    record = strict(out)
    assert record["passed"] is False
    assert "disagree in" in record["sentence"]
    assert any(not row["agrees"] for row in record["rows"])


def test_the_result_does_not_depend_on_the_order_of_dimensions_but_on_the_seed(run):
    one = run("validate", *SMALL, "--json", "--out", "one", "--workers", "1")
    two = run("validate", *POINT, "--dimension", "12,6,8", *SMALL[6:], "--json", "--out", "two")
    assert one[:2] == two[:2]
    assert run("validate", *SMALL, "--json", "--out", "three", "--seed", "1")[1] != one[1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [("--workers", "2"), ("--dask", "local", "--workers", "2"), ("--mpi",)])
def test_validate_has_the_bits_of_the_serial_run_on_every_engine(engine):
    if "--dask" in engine:
        pytest.importorskip("distributed")
    command = ("validate", *SMALL, "--json", "--out")
    with running(*command, "one", folder=Path.cwd()) as process:
        code, one, err = process.finish()
        assert code == DONE, err
    launcher = mpi_launcher() if "--mpi" in engine else PROGRAM
    with running(*command, "two", *engine, folder=Path.cwd(), launcher=launcher) as process:
        code, two, err = process.finish()
        assert code == DONE, err
    assert two == one
    bits = [{key: value for key, (_, value) in rows(f"{folder}/samples").items()} for folder in ("one", "two")]
    assert bits[0] == bits[1]
    assert len(bits[0]) == 24


@pytest.mark.slow
def test_a_validation_killed_five_times_resumes_to_the_same_bits():
    """R1: SIGKILL of the driver at random moments, resumed each time; no finished data set is lost."""
    command = ("validate", *POINT, "--dimension", "8,12,16", "--samples", "100", "--largest-unseen-bias", "100")
    command = (*command, "--json", "--out")
    chance, kept = random.Random(5), {}
    for _ in range(5):
        before = len(kept)
        with running(*command, "v", "--workers", "2", folder=Path.cwd()) as process:
            wait_for(lambda: len(rows("v/samples")) > before or process.process.poll() is not None)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.1))
            assert process.process.poll() is None, process.finish()
            process.kill()
            wait_for(lambda: not process.relatives(), 20)
        found = rows("v/samples")
        assert kept.items() <= found.items()
        kept = found
    assert 0 < len(kept) < 300
    outputs = []
    for folder, workers in (("v", "2"), ("whole", "1")):
        with running(*command, folder, "--workers", workers, folder=Path.cwd()) as process:
            outputs.append(process.finish())
    assert outputs[0][:2] == outputs[1][:2]
    assert outputs[0][0] == DONE, outputs[0]


def test_samples_of_other_parameters_are_refused_by_name_and_kept(run):
    assert run("validate", *SMALL, "--out", "v")[0] == DONE
    before = Path("v/samples.checkpoint").read_bytes(), Path("v/validation.json").read_bytes()
    code, out, err = run("validate", *SMALL, "--lam", "0.2", "--out", "v")
    assert (code, out) == (USAGE, "")
    assert "ridge is 0.1 there and 0.2 here" in err
    assert (Path("v/samples.checkpoint").read_bytes(), Path("v/validation.json").read_bytes()) == before
    assert run("validate", *SMALL, "--lam", "0.2", "--out", "v", "--force")[0] == DONE
    assert strict(Path("v/validation.json").read_text())["ridge"] == 0.2


def test_force_with_a_bad_value_does_not_cost_the_finished_samples(run):
    assert run("validate", *SMALL, "--out", "v")[0] == DONE
    before = Path("v/samples.checkpoint").read_bytes()
    assert run("validate", *SMALL, "--samples", "1", "--out", "v", "--force")[0] == USAGE
    assert Path("v/samples.checkpoint").read_bytes() == before


@pytest.mark.parametrize("name", ["validation.json", "validation.txt", "extrapolation.png"])
def test_a_file_that_no_validation_made_is_not_overwritten(run, name):
    """Results follow from the samples beside them; without samples an existing file is someone else's."""
    Path("v").mkdir()
    Path("v", name).write_text("precious")
    code, _, err = run("validate", *SMALL, "--out", "v")
    assert code == FILE
    assert name in err
    assert "--force" in err
    assert Path("v", name).read_text() == "precious"


def test_an_interrupted_validation_keeps_its_samples_and_resumes_to_the_same_result(run, monkeypatch):
    assert run("validate", *SMALL, "--out", "whole")[0] == DONE

    @contextlib.contextmanager
    def interrupting(label):
        def advance(done, total):
            if done == 10:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr("iclglass.progress.bar", interrupting)
        code, out, err = run("validate", *SMALL, "--out", "v")
    assert (code, out) == (INTERRUPTED, "")
    said = "what was finished is kept in v/samples.checkpoint: the same command goes on from there"
    assert err == f"iclglass: interrupted; {said}\n"
    assert files() == ["v/samples.checkpoint", *in_folder("whole")]
    kept = rows("v/samples")
    assert len(kept) == 10

    drawn = []
    measure = experiment.measure
    monkeypatch.setattr(experiment, "measure", lambda data, **options: drawn.append(1) or measure(data, **options))
    assert run("validate", *SMALL, "--out", "v")[0] == DONE
    assert len(drawn) == 14
    for name in OUTPUTS[2:]:
        assert Path("v", name).read_bytes() == Path("whole", name).read_bytes(), name
    drawn.clear()
    assert run("validate", *SMALL, "--out", "v")[0] == DONE
    assert drawn == []


def test_an_interrupt_from_a_worker_is_an_interrupt_too(run, monkeypatch):
    def interrupted(data, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "measure", interrupted)
    assert run("validate", *SMALL)[0] == INTERRUPTED


def test_a_damaged_checkpoint_is_a_file_error(run):
    Path("v").mkdir()
    Path("v/samples.checkpoint").write_text("not a checkpoint\n")
    code, _, err = run("validate", *SMALL, "--out", "v")
    assert code == FILE
    assert "is not an unfinished simulation" in err
    assert Path("v/samples.checkpoint").read_text() == "not a checkpoint\n"


@pytest.mark.slow
def test_control_c_of_a_real_process_keeps_its_samples_and_resumes():
    arguments = [*POINT, "--dimension", "10,14,20", "--samples", "60", "--largest-unseen-bias", "100"]
    command = [sys.executable, "-m", "iclglass", "validate", *arguments, "--out"]
    # A shell may start tests with SIGINT ignored, which children inherit.
    process = subprocess.Popen(
        [*command, "v"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: len(rows("v/samples")) > 5 or process.poll() is not None, 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert err.startswith("iclglass: interrupted; what was finished is kept in v/samples.checkpoint")
    assert 5 < len(rows("v/samples")) < 180
    assert not Path("v/validation.json").exists()
    for folder in ("v", "whole"):
        done = subprocess.run([*command, folder], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == DONE, done.stderr
    assert Path("v/validation.json").read_bytes() == Path("whole/validation.json").read_bytes()


# --- configuration files ---------------------------------------------------------------------------------------


def test_a_configuration_file_fills_options_and_the_command_line_wins(run):
    Path("run.toml").write_text("tau = 3\nalpha = 5\nlam = 1\njson = true\n")
    code, out, _ = run("solve", "--config", "run.toml")
    assert code == DONE
    assert strict(out)["e_icl"] == pytest.approx(9 / 22, rel=1e-14)
    assert strict(run("solve", "--config", "run.toml", "--tau", "2")[1])["parameters"]["task_diversity"] == 2.0


def test_a_configuration_file_may_hold_grids_lists_and_switches(run):
    Path("run.toml").write_text('tau = "0.5:4:6"\nalpha = "0.3:20:6:log"\nout = "a.nc"\nline = ["peak=tau"]\n')
    assert run("phase-diagram", "--config", "run.toml")[0] == DONE
    assert run("phase-diagram", "--config", "run.toml")[0] == FILE
    Path("v.toml").write_text(
        "tau = 2\nalpha = 1\ndimension = [6, 8, 12]\nsamples = 8\njson = true\nlargest-unseen-bias = 100\n"
    )
    code, out, _ = run("validate", "--config", "v.toml")
    assert code == DONE
    assert strict(out)["dimensions"] == [6, 8, 12]


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("tau = 2\nalpha = 1\nrigde = 1\n", USAGE, "unknown key 'rigde' in run.toml; did you mean 'ridge'"),
        ("tau = 2\nalpha = 1\nsamples = 1\n", USAGE, "unknown key 'samples'"),
        ("tau = true\nalpha = 1\n", USAGE, "'tau' = True in run.toml must be a number or a string"),
        ("tau = 'x'\nalpha = 1\n", USAGE, "is not a number"),
        ("tau = nan\nalpha = 1\n", USAGE, "task_diversity = nan must be finite and > 0"),
        ("tau = 2\n", USAGE, "--alpha is required: context length"),
        ("tau = \n", FILE, "run.toml is not TOML"),
        (None, FILE, "run.toml cannot be read: No such file"),
    ],
)
def test_a_bad_configuration_file_is_refused_in_words(run, content, code, message):
    if content is not None:
        Path("run.toml").write_text(content)
    found, out, err = run("solve", "--config", "run.toml")
    assert (found, out) == (code, "")
    assert message in err


# --- bad values: every option of every command -----------------------------------------------------------------

NUMBERS = [
    ("nan", "must be finite"),
    ("inf", "must be finite"),
    ("-inf", "must be finite"),
    ("-1", "must be finite and >"),
    ("x", "'x' is not a number: write it as 0.1 or 1e-3"),
    ("", "'' is not a number"),
    ("1j", "is not a number"),
]
POSITIVE = {"tau": "task_diversity", "alpha": "context_length", "test-context-length": "test_context_length"}
ALL = {**POSITIVE, "rho": "label_noise", "lam": "ridge", "temperature": "temperature"}
BASES = {"solve": ["solve"], "sweep": ["sweep", "--out", "a.nc"], "phase-diagram": ["phase-diagram", "--out", "a.nc"]}


def refused(run, arguments, code, *messages):
    """One line on stderr, nothing on stdout, no file."""
    before = files()
    folders = sorted(str(path) for path in Path().iterdir() if path.is_dir())
    found, out, err = run(*arguments)
    assert (found, out) == (code, ""), (found, out, err)
    assert err.startswith("iclglass: error: ")
    assert err.count("\n") == 1
    for message in messages:
        assert message in err
    assert files() == before
    assert sorted(str(path) for path in Path().iterdir() if path.is_dir()) == folders


@pytest.mark.parametrize(("value", "message"), NUMBERS)
@pytest.mark.parametrize("option", ALL)
@pytest.mark.parametrize("command", BASES)
def test_a_bad_parameter_is_refused_by_name(run, command, option, value, message):
    given_ = {"tau": "2", "alpha": "1", option: value}
    arguments = [f"--{name}={text}" for name, text in given_.items()]
    name = ALL[option] if "must be" in message else f"--{option} "
    refused(run, [*BASES[command], *arguments], USAGE, message, name)


@pytest.mark.parametrize("option", POSITIVE)
@pytest.mark.parametrize("command", BASES)
def test_zero_is_refused_where_it_means_nothing(run, command, option):
    given_ = {"tau": "2", "alpha": "1", option: "0"}
    arguments = [f"--{name}={text}" for name, text in given_.items()]
    refused(run, [*BASES[command], *arguments], USAGE, f"{POSITIVE[option]} = 0.0 must be finite and > 0: ")


@pytest.mark.parametrize("option", ["tau", "alpha", "rho", "lam", "temperature"])
@pytest.mark.parametrize(("value", "message"), NUMBERS)
def test_validate_refuses_a_bad_parameter_before_it_makes_a_folder(run, option, value, message):
    given_ = {"tau": "2", "alpha": "1", option: value}
    arguments = [f"--{name}={text}" for name, text in given_.items()]
    refused(run, ["validate", *arguments], USAGE, message.replace(" >", ""))


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--dimension", "1,8"], ["dimension must be at least 2, got 1"]),
        (["--dimension", "0,8"], ["dimension must be at least 2, got 0"]),
        (["--dimension=-8,8"], ["dimension must be at least 2, got -8"]),
        (["--dimension", "8"], ["dimension must hold at least 2 values"]),
        (["--dimension", "8,8"], ["dimensions must be distinct"]),
        (["--dimension", "8,x"], ["--dimension 'x' is not a whole number"]),
        (["--dimension", "8.5,9"], ["--dimension '8.5' is not a whole number"]),
        (["--dimension", ""], ["--dimension '' is not a whole number"]),
        (["--samples", "1"], ["samples must be at least 2", "got 1"]),
        (["--samples", "0"], ["samples must be at least 2"]),
        (["--samples", "1.5"], ["--samples '1.5' is not a whole number"]),
        (["--samples", "1000000000000"], ["1000000000000 samples", "need about", "GiB are free", "fewer samples"]),
        (["--dimension", "8,2000"], ["need about", "GiB are free", "smaller dimensions"]),
        (["--seed", "-1"], ["seed must be at least 0, got -1"]),
        (["--seed", "x"], ["--seed 'x' is not a whole number"]),
        (["--norm", "n"], ["norm must be one of N, N+1, got 'n'"]),
        (["--false-alarm", "0"], ["false_alarm must be finite and > 0 and < 1, got 0.0"]),
        (["--false-alarm", "1"], ["false_alarm must be finite and > 0 and < 1"]),
        (["--false-alarm", "nan"], ["false_alarm must be finite"]),
        (["--false-alarm", "x"], ["--false-alarm 'x' is not a number"]),
        (["--workers", "0"], ["workers must be at least 1, got 0"]),
        (["--workers", "x"], ["--workers 'x' is not a whole number"]),
        (
            ["--tau", "1e-6"],
            ["task_diversity = 1e-06 gives P = round(tau D^2) = 0 at dimension", "smallest usable dimension"],
        ),
        (["--alpha", "1e-3"], ["context_length = 0.001 gives N = round(alpha D) = 0 at dimension"]),
        (["--tau", "1", "--lam", "0"], ["the theory has no finite e_icl at task_diversity = 1 and ridge = 0"]),
        (["--tau", "1.01", "--lam", "0"], ["other side of the interpolation threshold"]),
    ],
)
def test_validate_refuses_bad_options_before_it_makes_a_folder(run, arguments, messages):
    refused(run, ["validate", *POINT, *arguments], USAGE, *messages)


def test_memory_is_judged_by_what_is_free(run, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    refused(run, ["validate", *SMALL], USAGE, "need about", "9.3e-07 GiB are free")
    refused(run, SWEEP, USAGE, "4 grid points need about", "take fewer points, or several sweeps")


@pytest.mark.parametrize(
    ("arguments", "code", "messages"),
    [
        (["solve"], USAGE, ["--tau is required: task diversity P/D^2"]),
        (["solve", "--tau", "2"], USAGE, ["--alpha is required"]),
        (["solve", *POINT, "--digits", "0"], USAGE, ["digits must be at least 1, got 0"]),
        (["solve", *POINT, "--digits", "-5"], USAGE, ["digits must be at least 1"]),
        (["solve", *POINT, "--digits", "1.5"], USAGE, ["--digits '1.5' is not a whole number"]),
        (["solve", *POINT, "--digits", "100001"], USAGE, ["digits = 100001 must be at most 100000"]),
        (["solve", "--tau", "0.1:4:5", "--alpha", "1"], USAGE, ["--tau '0.1:4:5' is not a number"]),
        (["derive", "--stage", "no"], USAGE, ["--stage 'no' must be one of model, disorder"]),
        (["derive", "--format", "html"], USAGE, ["--format 'html' must be text or latex"]),
        (["sweep", *POINT], USAGE, ["--out is required"]),
        ([*SWEEP, "--tau", "0.5:2:0"], USAGE, ["--tau '0.5:2:0'", "COUNT = 0 must be at least 1"]),
        ([*SWEEP, "--tau", "0.5:2:-1"], USAGE, ["COUNT = -1 must be at least 1"]),
        ([*SWEEP, "--tau", "0:2:5:log"], USAGE, ["both ends of a logarithmic grid must be > 0"]),
        ([*SWEEP, "--tau", "0:2:5"], USAGE, ["task_diversity = 0.0 must be finite and > 0"]),
        ([*SWEEP, "--tau", "0.5:nan:5"], USAGE, ["both ends must be finite"]),
        ([*SWEEP, "--tau", "0.5:2"], USAGE, ["must be a number or START:STOP:COUNT[:log]"]),
        ([*SWEEP, "--tau", "0.5:2:x"], USAGE, ["--tau 'x' is not a whole number"]),
        ([*SWEEP, "--tau", "0.5:2:5:lin"], USAGE, ["must be a number or START:STOP:COUNT[:log]"]),
        ([*SWEEP, "--tau", "0.5:2:999999999999"], USAGE, ["must be at most"]),
        ([*SWEEP, "--tau", "0.5:2:300000", "--alpha", "1:2:300000"], USAGE, ["need about", "GiB are free"]),
        ([*SWEEP, "--observable", "e_ilc"], USAGE, ["quantity 'e_ilc' is unknown; did you mean 'e_icl'?"]),
        ([*SWEEP, "--observable", "zzz", "--plot", "a.png"], USAGE, ["quantity 'zzz' is unknown; known: m, q"]),
        ([*SWEEP, "--out", "a.png", "--plot", "a.png"], USAGE, ["--plot and --out both name a.png: choose two"]),
        ([*SWEEP, "--out", "a.png", "--plot", "./a.png"], USAGE, ["--plot and --out both name"]),
        ([*SWEEP, "--plot", "a.xyz"], USAGE, ["picture format 'xyz' of a.xyz is unknown; known: ", "png"]),
        ([*SWEEP, "--alpha", "1:2:3", "--lam", "0:1:3", "--plot", "a.png"], USAGE, ["one or two axes, not 3"]),
        (["sweep", *POINT, "--out", "a.nc", "--plot", "a.png"], USAGE, ["one or two axes, not 0"]),
        ([*SWEEP, "--out", "."], FILE, [". is a folder: name a file in it"]),
        ([*SWEEP, "--out", "none/a.nc"], FILE, ["none is not a folder: create it first"]),
        ([*SWEEP, "--out", "/proc/a.nc"], FILE, ["/proc"]),
        ([*SWEEP, "--plot", "none/a.png"], FILE, ["none is not a folder"]),
        ([*MAP, "--alpha", "1"], USAGE, ["exactly two axes of at least two values, not ['task_diversity']"]),
        ([*MAP, "--rho", "0:1:3"], USAGE, ["exactly two axes"]),
        ([*MAP, "--tau", "2:2:1"], USAGE, ["at least two values"]),
        ([*MAP, "--tau", "2:1:5"], USAGE, ["the axis task_diversity must increase"]),
        ([*MAP, "--line", "contrst=0.8"], USAGE, ["line 'contrst=0.8' is unknown; did you mean 'contrast=LEVEL'?"]),
        ([*MAP, "--line", "zzz"], USAGE, ["line 'zzz' is unknown; known: interpolation-threshold"]),
        ([*MAP, "--line", "contrast=2"], USAGE, ["must be a number between 0 and 1"]),
        ([*MAP, "--line", "minimum=lam"], USAGE, ["the axis must be one of the diagram's, task_diversity or"]),
        ([*MAP, "--observable", "contrst"], USAGE, ["did you mean 'contrast'?"]),
        ([*MAP, "--plot", "a.xyz"], USAGE, ["picture format 'xyz'"]),
        (["validate", *SMALL, "--out", "/proc/v"], FILE, ["/proc/v cannot be used as a folder"]),
        (["demo", "--out", "/proc/v"], FILE, ["/proc/v cannot be used as a folder"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, arguments, code, messages):
    refused(run, arguments, code, *messages)


@pytest.mark.parametrize("command", [["validate", *SMALL], ["demo"]], ids=["validate", "demo"])
def test_a_file_is_no_folder(run, command):
    Path("taken").write_text("precious")
    refused(run, [*command, "--out", "taken"], FILE, "taken cannot be used as a folder")
    assert Path("taken").read_text() == "precious"


@pytest.mark.parametrize("name", ["report.html", "sweep.nc", "samples.checkpoint"])
def test_the_demo_refuses_existing_files_before_any_work(run, name):
    Path("d").mkdir()
    Path("d", name).write_text("precious")
    refused(run, ["demo", "--out", "d"], FILE, f"{name} exists", "--force")
    assert Path("d", name).read_text() == "precious"


def test_an_existing_picture_is_refused_before_the_dataset_is_written(run):
    Path("a.png").write_text("precious")
    refused(run, [*SWEEP, "--plot", "a.png"], FILE, "a.png exists")
    refused(run, MAP, FILE, "a.png exists")
    assert Path("a.png").read_text() == "precious"


def test_a_picture_through_a_link_to_the_dataset_is_refused(run):
    """Two names of one file."""
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    refused(run, [*SWEEP, "--out", "folder/a.png", "--plot", "link/a.png"], USAGE, "--plot and --out both name")


# --- internal errors, and processes ----------------------------------------------------------------------------


def test_an_internal_error_exits_1_with_a_traceback_and_a_request(monkeypatch, capsys):
    def broken(values):
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(commands._COMMANDS, "solve", broken)
    assert main(["solve", *POINT]) == INTERNAL
    out, err = capsys.readouterr()
    assert out == ""
    assert "ZeroDivisionError: a bug" in err
    assert err.endswith("iclglass: internal error, please report it with the lines above\n")


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "iclglass", *arguments],
        **{"capture_output": True, "text": True, "timeout": 120, "check": False, **options},
    )


def test_the_installed_script_is_the_same_command():
    assert SCRIPT.exists()
    done = subprocess.run([SCRIPT, "solve", *POINT, "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert done.stdout == process("solve", *POINT, "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], DONE),
        (["solve", "--tau", "nan", "--alpha", "1"], USAGE),
        (["nothing"], USAGE),
        (["solve", "--tau", "1", "--alpha", "1", "--lam", "0"], NOT_CONVERGED),
        (["sweep", "--tau", "1:2:3", "--alpha", "1", "--out", "none/a.nc"], FILE),
    ],
)
def test_exit_codes_of_real_processes(arguments, code):
    done = process(*arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["solve --tau 2 --alpha 1 | true", "--help | true", "--version | true"])
def test_a_reader_that_leaves_is_no_error(command):
    line = f"set -o pipefail; {sys.executable} -m iclglass {command}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (DONE, "")


@pytest.mark.slow
def test_a_reader_that_leaves_a_long_derivation_is_no_error():
    line = f"set -o pipefail; {sys.executable} -m iclglass derive | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert done.stdout.startswith("== The model")


def test_a_full_disk_behind_stdout_is_a_file_error():
    with open("/dev/full", "w") as full:
        done = process("solve", *POINT, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == FILE
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_stdout_is_no_internal_error():
    line = f"{sys.executable} -m iclglass solve --tau 2 --alpha 1 >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (DONE, FILE)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_knows_no_greek_still_gets_the_derivation(encoding):
    """LANG=C with a strict encoding: letters may be replaced, but no traceback."""
    done = process("derive", "--stage", "model", env={**os.environ, "PYTHONIOENCODING": encoding}, text=False)
    assert done.returncode == DONE, done.stderr.decode()
    assert b"Traceback" not in done.stderr


def best_time(*arguments):
    """The best of three runs in seconds: processor time, which a busy machine does not stretch, or the wall clock."""
    times = []
    for _ in range(3):
        before, started = os.times(), time.perf_counter()
        assert process(*arguments).returncode == DONE
        after, elapsed = os.times(), time.perf_counter() - started
        used = after.children_user + after.children_system - before.children_user - before.children_system
        times.append(min(elapsed, used))
    return min(times)


def test_help_and_solve_are_quick_from_a_cold_start():
    assert best_time("--help") < 0.3
    assert best_time("solve", *POINT) < 1.5


@pytest.mark.slow
def test_the_derivation_takes_less_than_fifteen_seconds():
    assert best_time("derive") < 15


def loaded_by(arguments, names):
    code = (
        "import sys\nfrom iclglass.cli import main\n"
        f"code = main({arguments!r})\nfound = set(sys.modules) & set({names!r})\n"
        "sys.stderr.write(' '.join(sorted(found)))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == DONE, done.stderr
    return done.stderr.split()


HEAVY = ["numpy", "scipy", "sympy", "mpmath", "matplotlib", "xarray", "h5netcdf", "rich", "psutil"]


def test_help_imports_nothing_heavy():
    assert loaded_by(["--help"], HEAVY) == []
    assert loaded_by(["validate", "--help"], HEAVY) == []


def test_solve_imports_numpy_alone():
    allowed = {"numpy"}
    assert set(loaded_by(["solve", *POINT, "--json"], HEAVY)) <= allowed
    digits = loaded_by(["solve", *POINT, "--digits", "20"], HEAVY)
    assert {"sympy", "xarray", "matplotlib", "scipy"}.isdisjoint(digits)


@pytest.mark.slow
def test_derive_draws_and_solves_nothing():
    assert {"xarray", "matplotlib", "h5netcdf", "scipy"}.isdisjoint(loaded_by(["derive", "--stage", "model"], HEAVY))


def test_every_number_in_a_record_is_finite(run):
    """The JSON of every command that prints one, at the awkward corners of its parameters."""
    for lam in ("0", "1e-12", "1e3"):
        for tau in ("1e-3", "0.5", "1", "1e3"):
            record = strict(run("solve", "--tau", tau, "--alpha", "1", "--lam", lam, "--temperature", "1", "--json")[1])
            assert all(
                value is None or not isinstance(value, float) or math.isfinite(value) for value in record.values()
            )
