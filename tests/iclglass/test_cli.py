"""The command iclglass: what it prints where, the files it writes, what it refuses, and its exit codes."""

import contextlib
import json
import math
import os
import pty
import random
import re
import shlex
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
from iclglass.cli import main
from iclglass.cli.program import COMMANDS
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.storage import PROVENANCE, load
from iclglass.replica import derivation
from iclglass.validation import crosscheck, experiment
from tests.iclglass.conftest import process, refused
from tests.numerics.running.killing import PROGRAM, mpi_launcher, rows, running, wait_for

DONE, INTERNAL, USAGE, NOT_CONVERGED, DISAGREE, FILE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130
POINT = "--tau 2 --alpha 1"
SOLVE = f"solve {POINT}"
# Too little to judge by: what is not refused passes.
SMALL = f"validate {POINT} --dimension 6,8,12 --samples 8 --largest-unseen-bias 100"
SWEEP = "sweep --tau 0.5:2:4 --alpha 1 --out a.nc"
MAP = "phase-diagram --tau 0.5:4:8 --alpha 0.3:20:7:log --lam 0.01 --out a.nc"
QUANTITIES = [*OBSERVABLES, "residual", "error_bound"]
PNG = b"\x89PNG\r\n\x1a\n"
SCRIPT = Path(sys.executable).with_name("iclglass")
OUTPUTS = ["extrapolation.png", "samples.checkpoint", "validation.json", "validation.txt"]


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


def test_help_lists_every_command_in_one_line_and_every_exit_code(run):
    code, out, err = run("--help")
    assert (code, err) == (DONE, "")
    for name, command in COMMANDS.commands.items():
        assert re.search(rf"^ +{name} +{re.escape(command.help.splitlines()[0])}$", out, re.M)
    codes = "0 done; 1 internal error; 2 usage or bad value; 3 some point did not converge; 4 theory and simulation "
    codes += "disagree; 5 file missing, damaged or not writable; 6 inconclusive"
    assert codes in " ".join(out.split())
    assert "130 interrupted" in out
    assert run("-h")[1] == out
    assert run("--version") == (DONE, f"iclglass {iclglass.__version__}\n", "")


@pytest.mark.parametrize(
    ("line", "start", "message"),
    [
        ("", "Usage: iclglass [", "Missing command"),
        ("solv", "Usage: iclglass [", "No such command 'solv'. Did you mean 'solve'?"),
        (f"{SOLVE} --bogus 1", "Usage: iclglass solve ", "No such option '--bogus'"),
        (
            f"{SOLVE} --temprature 1",
            "Usage: iclglass solve ",
            "'--temperature'?)",
        ),
        ("solve --task 2 --alpha 1", "Usage: iclglass solve ", "No such option '--task'"),  # no abbreviations
        (f"{SOLVE} -x", "Usage: iclglass solve ", "No such option '-x'"),
        (f"{SOLVE} x", "Usage: iclglass solve ", "unexpected extra argument (x)"),
        ("solve --tau", "iclglass: error: ", "'--tau' requires an argument"),
        ("reproduce", "Usage: iclglass reproduce ", "Missing argument 'FIGURE'"),
    ],
)
def test_usage_errors_go_to_stderr_with_the_usage_of_the_command_and_a_suggestion(run, line, start, message):
    code, out, err = run(*line.split())
    assert (code, out) == (USAGE, "")
    assert err.startswith(start)
    assert err.splitlines()[-1].startswith("iclglass: error: ")
    assert message in err.splitlines()[-1]


# --- solve -----------------------------------------------------------------------------------------------------


def test_solve_prints_parameters_quantities_and_status(run):
    code, out, err = run("solve --tau 3 --alpha 5 --lam 1")
    assert (code, err) == (DONE, "")
    lines = {line.split()[0]: line.split()[1] for line in out.splitlines() if line}
    assert float(lines["e_icl"]) == pytest.approx(9 / 22, rel=1e-14)
    assert (lines["status"], lines["task_diversity"]) == ("converged", "3")
    assert set(QUANTITIES) <= set(lines)
    assert all(meaning in out for meaning in OBSERVABLES.values())


def test_solve_json_has_one_object_with_every_quantity(run):
    code, out, err = run(f"{SOLVE} --rho 0.25 --temperature 0.5 --json")
    assert (code, err) == (DONE, "")
    record = strict(out)
    assert list(record) == ["schema_version", "parameters", *QUANTITIES, "status"]
    assert record["schema_version"] == 1
    parameters = {"task_diversity": 2.0, "context_length": 1.0, "distinct_tasks": "inf", "label_noise": 0.25}
    parameters |= {"ridge": 0.1, "temperature": 0.5, "test_context_length": 1.0}
    assert record["parameters"] == parameters
    wanted = solve(task_diversity=2, context_length=1, label_noise=0.25, temperature=0.5)
    for name in QUANTITIES:
        assert record[name] == float(getattr(wanted, name)), name
    assert record["status"] == "converged"
    words = "solve --task-diversity 2 --context-length 1 --label-noise 0.25 --temperature 0.5 --json"
    assert run(words)[1] == out


def test_what_does_not_exist_is_null(run):
    record = strict(run(f"{SOLVE} --json")[1])
    assert record["entropy"] is None
    below = strict(run("solve --tau 0.5 --alpha 1 --lam 0 --temperature 1 --json")[1])
    assert below["chi"] is None
    assert below["e_icl"] > 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("--tau 1 --alpha 1 --lam 0", "diverges at the interpolation threshold"),
        ("--tau 1 --alpha 1 --lam 0 --digits 30", "diverges at the interpolation threshold"),
        ("--tau 1e300 --alpha 1e-300", "not finite"),
    ],
)
def test_what_fails_is_a_clear_status_and_no_number(run, arguments, status):
    code, out, err = run(f"solve {arguments} --json")
    record = strict(out)
    assert (code, err) == (NOT_CONVERGED, "")
    assert all(record[name] is None for name in QUANTITIES)
    assert record["status"].startswith(status)
    code, out, err = run(f"solve {arguments}")
    assert code == NOT_CONVERGED
    assert status in out


def test_digits_are_decimal_strings_right_to_38_digits(run):
    code, out, err = run("solve --tau 3 --alpha 5 --lam 1 --digits 40 --json")
    assert (code, err) == (DONE, "")
    record = strict(out)
    assert list(record) == ["schema_version", "parameters", *QUANTITIES, "status"]
    assert isinstance(record["e_icl"], str)
    assert abs(Fraction(record["e_icl"]) / Fraction(9, 22) - 1) < Fraction(1, 10**38)
    assert record["entropy"] is None
    for name in OBSERVABLES:
        assert record[name] is None or len(Decimal(record[name]).as_tuple().digits) <= 40
    assert re.search(r"^m +0\.4577855614887\d{24,27} +magnetization", run(f"{SOLVE} --digits 40")[1], re.M)


def test_digits_take_the_text_exactly(run):
    """0.1 is one tenth, not the binary number next to it."""
    assert Fraction(strict(run(f"{SOLVE} --lam 0 --digits 50 --json")[1])["m"]) == Fraction(1, 2)
    text = "0." + "1234567890" * 4
    one, other = (strict(run(f"solve --tau 2 --alpha {text}{end} --digits 45 --json")[1])["m"] for end in "12")
    assert one != other


@pytest.mark.parametrize("value", ["1e-400", "1e400", "0.1234567890123456789012345"])
def test_digits_report_the_parameters_that_were_used(run, value):
    """A parameter beyond floating point must not come back as 0 or null."""
    code, out, _ = run(f"solve --tau {value} --alpha 1 --digits 30 --json")
    assert code == DONE
    assert Decimal(str(strict(out)["parameters"]["task_diversity"])) == Decimal(value)


@pytest.mark.parametrize("option", ["tau", "rho", "lam", "temperature"])
@pytest.mark.parametrize("value", ["-1e-400", "-1e400"])
def test_digits_refuse_a_negative_value_beyond_floating_point(run, option, value):
    """As a float it would be -0, which is not negative, or overflow."""
    refused(run, f"{SOLVE} --{option} {value} --digits 20", USAGE, "must be finite and >")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["tau", "alpha", "rho", "lam", "temperature", "test-context-length"]),
    st.one_of(
        st.text(max_size=12),
        st.floats().map(repr),
        st.integers().map(str),
        st.from_regex(r"-?[0-9]{0,3}(\.[0-9]{0,3})?([eE][-+]?[0-9]{1,4})?(/[0-9]{1,3})?", fullmatch=True),
        st.sampled_from(
            ["nan", "-nan", "inf", "Infinity", "sNaN", "1_0", "٣", "0x1", "1e", "--1", "1j", "\x00", "1:2:3"]
        ),
    ),
    st.booleans(),
)
@example("tau", "1e-9999", True)
@example("lam", "-0", True)
@example("tau", "-1e400", True)
def test_whatever_is_typed_there_is_a_result_or_one_line(run, name, value, digits):
    """No traceback, no exit code 1, and never a finite number with a failed status."""
    arguments = [f"--{key}={text}" for key, text in {"tau": "2", "alpha": "1", name: value}.items()]
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


def test_every_number_in_a_record_is_finite(run):
    """At the awkward corners of the parameters."""
    for lam in ("0", "1e-12", "1e3"):
        for tau in ("1e-3", "0.5", "1", "1e3"):
            record = strict(run(f"solve --tau {tau} --alpha 1 --lam {lam} --temperature 1 --json")[1])
            assert all(math.isfinite(value) for value in record.values() if isinstance(value, float))


# --- derive ----------------------------------------------------------------------------------------------------


def test_derive_one_stage_and_everything_in_order_as_text_and_latex(run, monkeypatch):
    derived = derivation.derive()
    monkeypatch.setattr(derivation, "derive", lambda: derived)  # once for all three
    code, out, err = run("derive --stage saddle-point")
    assert (code, err) == (DONE, "")
    assert "Stationarity" in out
    assert "Wick" not in out
    code, out, err = run("derive")
    assert (code, err) == (DONE, "")
    places = [out.index(f"[{name}]") for name in derivation.STAGES]
    assert places == sorted(places)
    code, latex, err = run("derive --format latex")
    assert (code, err) == (DONE, "")
    assert latex.startswith(r"\documentclass")
    assert latex.rstrip().endswith(r"\end{document}")


# --- sweep and phase-diagram -----------------------------------------------------------------------------------


def test_sweep_writes_the_dataset(run):
    code, out, err = run(SWEEP)
    assert (code, files()) == (DONE, ["a.nc"])
    assert err == "wrote a.nc\n"
    assert out == "4 of 4 points: converged\n"
    dataset = load("a.nc")
    wanted = iclglass.sweep(task_diversity=np.linspace(0.5, 2, 4), context_length=1.0)
    assert dataset.drop_attrs().identical(wanted.drop_attrs())
    assert json.loads(dataset.attrs[PROVENANCE])["parameters"]["task_diversity"] == [0.5, 2.0, 4]


def test_sweep_draws_a_curve_or_a_map(run):
    assert run(f"{SWEEP} --plot a.png --observable contrast")[0] == DONE
    assert Path("a.png").read_bytes().startswith(PNG)
    assert run("sweep --tau 0.5:2:4 --alpha 1:2:3 --out b.nc --plot b.svg")[0] == DONE
    assert files() == ["a.nc", "a.png", "b.nc", "b.svg"]


def test_a_sweep_through_the_threshold_says_so_and_keeps_the_rest(run):
    code, out, _ = run("sweep --tau 0.5:1.5:3 --alpha 1 --lam 0 --out a.nc")
    assert code == NOT_CONVERGED
    assert "2 of 3 points: converged" in out
    assert "1 of 3 points: diverges at the interpolation threshold" in out
    assert load("a.nc").status.values.tolist() == [0, 1, 0]


def test_force_replaces_and_nothing_else_does(run):
    Path("a.nc").write_text("precious")
    refused(run, SWEEP, FILE, "a.nc exists", "--force")
    assert Path("a.nc").read_text() == "precious"
    assert run(f"{SWEEP} --force")[0] == DONE
    assert load("a.nc").sizes["task_diversity"] == 4


def test_sweep_over_every_parameter(run):
    axes = "--rho 0:1:2 --lam 0.01:1:3:log --temperature 0:1:2 --test-context-length 1:5:2"
    assert run(f"sweep {POINT} {axes} --out a.nc")[0] == DONE
    assert dict(load("a.nc").sizes) == {"label_noise": 2, "ridge": 3, "temperature": 2, "test_context_length": 2}


def test_phase_diagram_writes_data_picture_and_lines(run):
    code, out, err = run(f"{MAP} --line contrast=0.8 --line peak=tau --line minimum=alpha")
    assert (code, files()) == (DONE, ["a.nc", "a.png"])
    assert err == "wrote a.nc, a.png\n"
    assert Path("a.png").read_bytes().startswith(PNG)
    dataset = load("a.nc")
    assert set(dataset.line_name.values) == {"contrast=0.8", "peak=tau"}
    count = int((dataset.line_name == "contrast=0.8").sum())
    assert f"line contrast=0.8: {count} points in 1 parts" in out
    assert "line minimum=alpha: does not cross this grid" in out
    assert run(f"{MAP} --force --plot picture.svg --observable contrast")[0] == DONE
    assert files() == ["a.nc", "a.png", "picture.svg"]
    assert set(load("a.nc").line_name.values) == {"interpolation-threshold", "contrast=0.8"}


def test_outputs_that_cannot_be_written_are_refused_before_any_work(run, monkeypatch):
    def fail(**parameters):
        raise AssertionError("solved before the outputs were checked")

    monkeypatch.setattr("iclglass.numerics.sweep.sweep", fail)
    for option in ("--out", "--plot"):
        refused(run, f"{SWEEP} {option} none/a.nc", USAGE if option == "--plot" else FILE)
        refused(run, f"{SWEEP} {option} none/a.{'nc' if option == '--out' else 'png'}", FILE, "none is not a folder")
    Path("a.png").write_text("precious")
    for command in (f"{SWEEP} --plot a.png", MAP):
        refused(run, command, FILE, "a.png exists")
    assert Path("a.png").read_text() == "precious"
    # Two names of one file.
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    refused(run, f"{SWEEP} --out folder/a.png --plot link/a.png", USAGE, "--plot and --out both name")


# --- validate --------------------------------------------------------------------------------------------------


def in_folder(folder):
    return [f"{folder}/{name}" for name in OUTPUTS]


def test_validate_prints_the_table_and_writes_it_with_json_too(run):
    code, out, err = run(SMALL)
    assert (code, files()) == (DONE, in_folder("iclglass-validation"))
    assert "wrote " in err
    assert "wrote " not in out
    assert "D=6: P=72, N=6, D=8: P=128, N=8, D=12: P=288, N=12; norm N, seed 0, 8 data sets a size" in out
    assert "PASS: Theory and simulation agree" in out
    for name in ("m", "q", "chi", "e_icl", "e_train", "contrast", "energy"):
        assert re.search(rf"^ *{name} .* yes ", out, re.M)
    assert Path("iclglass-validation/validation.txt").read_text() in out
    assert Path("iclglass-validation/extrapolation.png").read_bytes().startswith(PNG)
    assert len(rows("iclglass-validation/samples")) == 3 * 8

    code, out, _ = run(f"{SMALL} --json")
    record = strict(out)
    assert (code, record["schema_version"], record["passed"], record["norm"]) == (DONE, 1, True, "N")
    assert (record["dimensions"], record["prompts"], record["contexts"]) == ([6, 8, 12], [72, 128, 288], [6, 8, 12])
    assert record["rows"][0]["fit_p_value"] is None
    assert {row["quantity"] for row in record["rows"]} <= set(OBSERVABLES)
    written = strict(Path("iclglass-validation/validation.json").read_text())
    assert written.pop("provenance")["versions"]["iclglass"] == iclglass.__version__
    assert written == record


def test_two_sizes_and_two_samples_are_inconclusive_and_exit_6(run):
    command = f"validate {POINT} --dimension 8,12 --samples 2 --out v"
    code, out, _ = run(command)
    assert code == INCONCLUSIVE
    assert "INCONCLUSIVE: no quantity disagrees" in out
    assert re.search(r"^ *m .* \? ", out, re.M)
    code, out, _ = run(f"{command} --json")
    record = strict(out)
    assert (code, record["passed"], record["largest_unseen_bias"]) == (INCONCLUSIVE, None, 0.25)
    assert record["sentence"].split()[0] == "Inconclusive:"
    assert all(row["agrees"] is None and row["unseen"] > 0.25 for row in record["rows"])
    # The same samples, with less asked of them.
    assert run(f"{command} --largest-unseen-bias 1e6")[0] == DONE


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
    streams = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": follower, "text": False}
    done = iclglass_process(f"{SWEEP} --simulate theory --json", **streams, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    reader.join(timeout=10)
    os.close(leader)
    assert done.returncode == DONE
    assert strict(done.stdout)["points"] == 4
    terminal = b"".join(seen).decode()
    assert "points" in terminal
    assert "4/4" in terminal


def test_a_broken_theory_exits_4_and_says_where(run, monkeypatch):
    """The theory with a factor 3/2 in front of the context length; simulation and check are the real ones."""

    def wrong(*, context_length, **parameters):
        return solve(context_length=1.5 * np.asarray(context_length), **parameters)

    command = f"validate {POINT} --dimension 8,12,20 --samples 64 --largest-unseen-bias 1"
    with monkeypatch.context() as broken:
        broken.setitem(crosscheck.validate.__kwdefaults__, "theory", wrong)
        code, out, _ = run(command)
        assert code == DISAGREE
        assert "FAIL: Theory and simulation disagree in" in out
        assert re.search(r" NO ", out)
        code, out, _ = run(f"{command} --json")
    record = strict(out)
    assert (code, record["passed"]) == (DISAGREE, False)
    assert "disagree in" in record["sentence"]
    assert any(not row["agrees"] for row in record["rows"])
    # The same samples, with the theory that is not broken.
    assert run(command)[0] == DONE


def test_the_result_depends_on_the_seed_and_not_on_the_order_of_dimensions(run):
    one = run(f"{SMALL} --json --out one --workers 1")[1]
    assert run(f"{SMALL} --dimension 12,6,8 --json --out two")[1] == one
    assert run(f"{SMALL} --json --out three --seed 1")[1] != one


@pytest.mark.slow
@pytest.mark.parametrize("engine", [("--workers", "2"), ("--dask", "local", "--workers", "2"), ("--mpi",)])
def test_validate_has_the_bits_of_the_serial_run_on_every_engine(engine):
    if "--dask" in engine:
        pytest.importorskip("distributed")
    command = (*SMALL.split(), "--json", "--out")
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
    command = ("validate", *POINT.split(), "--dimension", "8,12,16", "--samples", "100", "--largest-unseen-bias", "100")
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
    assert run(f"{SMALL} --out v")[0] == DONE
    before = Path("v/samples.checkpoint").read_bytes(), Path("v/validation.json").read_bytes()
    refused(run, f"{SMALL} --lam 0.2 --out v", USAGE, "ridge is 0.1 there and 0.2 here")
    refused(run, f"{SMALL} --samples 1 --out v --force", USAGE)  # a bad value costs no finished samples
    assert (Path("v/samples.checkpoint").read_bytes(), Path("v/validation.json").read_bytes()) == before
    assert run(f"{SMALL} --lam 0.2 --out v --force")[0] == DONE
    assert strict(Path("v/validation.json").read_text())["ridge"] == 0.2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "--force") for name in ("validation.json", "validation.txt", "extrapolation.png")),
        ("samples.checkpoint", "is not an unfinished simulation"),
    ],
)
def test_a_file_that_no_validation_made_is_not_overwritten(run, name, message):
    """Results follow from the samples beside them; without samples an existing file is someone else's."""
    Path("v").mkdir()
    Path("v", name).write_text("precious\n")
    refused(run, f"{SMALL} --out v", FILE, name, message)
    assert Path("v", name).read_text() == "precious\n"


def test_an_interrupted_validation_keeps_its_samples_and_resumes_to_the_same_result(run, monkeypatch):
    assert run(f"{SMALL} --out whole")[0] == DONE

    @contextlib.contextmanager
    def interrupting(label):
        def advance(done, total):
            if done == 10:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr("iclglass.cli.validate.bar", interrupting)
        code, out, err = run(f"{SMALL} --out v")
    said = "what was finished is kept in v/samples.checkpoint: the same command goes on from there"
    assert (code, out, err) == (INTERRUPTED, "", f"iclglass: interrupted; {said}\n")
    assert files() == ["v/samples.checkpoint", *in_folder("whole")]
    assert len(rows("v/samples")) == 10

    drawn = []
    measure = experiment.measure
    monkeypatch.setattr(experiment, "measure", lambda data, **options: drawn.append(1) or measure(data, **options))
    for again in (14, 0):
        drawn.clear()
        assert run(f"{SMALL} --out v")[0] == DONE
        assert len(drawn) == again
    for name in OUTPUTS[2:]:
        assert Path("v", name).read_bytes() == Path("whole", name).read_bytes(), name


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (SOLVE, "iclglass.numerics.saddle_point.solve_points"),
        (SWEEP, "iclglass.numerics.sweep.sweep"),
        (f"sweep --simulate {POINT} --dimension 4 --out a.nc", "iclglass.validation.sweeping.sweep.sweep_simulated"),
        (f"{SMALL} --out v", "iclglass.validation.crosscheck.validate"),
        ("instance --dimension 3 --context 4 --prompts 20 --ridge0 0.1 --beta 1", "iclglass.cli.instance.data_set"),
    ],
)
def test_an_interrupt_that_keeps_nothing_does_not_say_so(run, monkeypatch, line, where):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    assert run(line) == (INTERRUPTED, "", "iclglass: interrupted\n")
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_control_c_of_a_real_process_keeps_its_samples_and_resumes():
    line = f"validate {POINT} --dimension 10,14,20 --samples 60 --largest-unseen-bias 100 --out"
    # A shell may start tests with SIGINT ignored, which children inherit.
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    command = [sys.executable, "-m", "iclglass", *line.split(), "v"]
    begun = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **default)
    wait_for(lambda: len(rows("v/samples")) > 5 or begun.poll() is not None, 60)
    begun.send_signal(signal.SIGINT)
    out, err = begun.communicate(timeout=60)
    assert (begun.returncode, out) == (INTERRUPTED, "")
    assert err.startswith("iclglass: interrupted; what was finished is kept in v/samples.checkpoint")
    assert 5 < len(rows("v/samples")) < 180
    assert not Path("v/validation.json").exists()
    for folder in ("v", "whole"):
        done = iclglass_process(f"{line} {folder}")
        assert done.returncode == DONE, done.stderr
    assert Path("v/validation.json").read_bytes() == Path("whole/validation.json").read_bytes()


# --- configuration files ---------------------------------------------------------------------------------------


def test_a_configuration_file_fills_options_grids_lists_and_switches(run):
    Path("run.toml").write_text("tau = 3\nalpha = 5\nlam = 1\njson = true\n")
    code, out, _ = run("solve --config run.toml")
    assert code == DONE
    assert strict(out)["e_icl"] == pytest.approx(9 / 22, rel=1e-14)
    assert strict(run("solve --config run.toml --tau 2")[1])["parameters"]["task_diversity"] == 2.0
    Path("run.toml").write_text('tau = "0.5:4:6"\nalpha = "0.3:20:6:log"\nout = "a.nc"\nline = ["peak=tau"]\n')
    assert run("phase-diagram --config run.toml")[0] == DONE
    assert run("phase-diagram --config run.toml")[0] == FILE
    Path("v.toml").write_text("tau = 2\nalpha = 1\ndimension = [6, 8, 12]\nsamples = 8\njson = true\n")
    assert strict(run("validate --config v.toml")[1])["dimensions"] == [6, 8, 12]


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
BASES = {
    "solve": SOLVE,
    "sweep": f"sweep {POINT} --out a.nc",
    "phase-diagram": f"phase-diagram {POINT} --out a.nc",
    "validate": f"validate {POINT}",
}


@pytest.mark.parametrize("option", ALL)
@pytest.mark.parametrize("command", BASES)
def test_a_bad_parameter_is_refused_by_name(run, command, option):
    for value, message in NUMBERS:
        name = f"--{option} " if "not a number" in message else "" if command == "validate" else ALL[option]
        refused(run, f"{BASES[command]} --{option} '{value}'", USAGE, message, name)
    if option in POSITIVE and command != "validate":
        refused(run, f"{BASES[command]} --{option} 0", USAGE, f"{ALL[option]} = 0.0 must be finite and > 0: ")


VALIDATE = f"validate {POINT}"
REFUSED = [
    (f"{VALIDATE} --dimension 1,8", "dimension must be at least 2, got 1"),
    (f"{VALIDATE} --dimension 0,8", "dimension must be at least 2, got 0"),
    (f"{VALIDATE} --dimension -8,8", "dimension must be at least 2, got -8"),
    (f"{VALIDATE} --dimension 8", "dimension must hold at least 2 values"),
    (f"{VALIDATE} --dimension 8,8", "dimensions must be distinct"),
    (f"{VALIDATE} --dimension 8,x", "--dimension 'x' is not a whole number"),
    (f"{VALIDATE} --dimension 8.5,9", "--dimension '8.5' is not a whole number"),
    (f"{VALIDATE} --dimension ''", "--dimension '' is not a whole number"),
    (f"{VALIDATE} --samples 1", "samples must be at least 2 .. got 1"),
    (f"{VALIDATE} --samples 0", "samples must be at least 2"),
    (f"{VALIDATE} --samples 1.5", "--samples '1.5' is not a whole number"),
    (f"{VALIDATE} --samples 1000000000000", "1000000000000 samples .. need about .. GiB are free .. fewer samples"),
    (f"{VALIDATE} --dimension 8,2000", "need about .. GiB are free .. smaller dimensions"),
    (f"{VALIDATE} --seed -1", "seed must be at least 0, got -1"),
    (f"{VALIDATE} --seed x", "--seed 'x' is not a whole number"),
    (f"{VALIDATE} --norm n", "norm must be one of N, N+1, got 'n'"),
    (f"{VALIDATE} --false-alarm 0", "false_alarm must be finite and > 0 and < 1, got 0.0"),
    (f"{VALIDATE} --false-alarm 1", "false_alarm must be finite and > 0 and < 1"),
    (f"{VALIDATE} --false-alarm nan", "false_alarm must be finite"),
    (f"{VALIDATE} --false-alarm x", "--false-alarm 'x' is not a number"),
    (f"{VALIDATE} --workers 0", "workers must be at least 1, got 0"),
    (f"{VALIDATE} --workers x", "--workers 'x' is not a whole number"),
    (f"{VALIDATE} --tau 1e-6", "task_diversity = 1e-06 gives P = round(tau D^2) = 0 .. smallest usable dimension"),
    (f"{VALIDATE} --alpha 1e-3", "context_length = 0.001 gives N = round(alpha D) = 0 at dimension"),
    (f"{VALIDATE} --tau 1 --lam 0", "the theory has no finite e_icl at task_diversity = 1 and ridge = 0"),
    (f"{VALIDATE} --tau 1.01 --lam 0", "other side of the interpolation threshold"),
    ("solve", "--tau is required: task diversity P/D^2"),
    ("solve --tau 2", "--alpha is required: context length"),
    (f"{SOLVE} --digits 0", "digits must be at least 1, got 0"),
    (f"{SOLVE} --digits -5", "digits must be at least 1"),
    (f"{SOLVE} --digits 1.5", "--digits '1.5' is not a whole number"),
    (f"{SOLVE} --digits 100001", "digits = 100001 must be at most 100000"),
    (f"{SOLVE} --digits 20 --norm N", "--norm has no meaning at D -> infinity: give --dimension"),
    (f"{SOLVE} --norm N+1", "--norm has no meaning at D -> infinity: give --dimension"),
    (f"{SWEEP} --norm N+1", "--norm has no meaning at D -> infinity: give --dimension"),
    (f"{SWEEP} --simulate theory --norm N+1", "--norm has no meaning at D -> infinity: give --dimension"),
    (f"{MAP} --norm N+1", "--norm has no meaning at D -> infinity: give --dimension"),
    ("solve --tau 0.1:4:5 --alpha 1", "--tau '0.1:4:5' is not a number"),
    ("derive --stage no", "--stage 'no' must be one of model, disorder"),
    ("derive --format html", "--format 'html' must be text or latex"),
    (f"sweep {POINT}", "--out is required, or --status: netCDF file"),
    (f"{SWEEP} --tau 0.5:2:0", "--tau '0.5:2:0' .. COUNT = 0 must be at least 1"),
    (f"{SWEEP} --tau 0.5:2:-1", "COUNT = -1 must be at least 1"),
    (f"{SWEEP} --tau 0:2:5:log", "both ends of a logarithmic grid must be > 0"),
    (f"{SWEEP} --tau 0:2:5", "task_diversity = 0.0 must be finite and > 0"),
    (f"{SWEEP} --tau 0.5:nan:5", "both ends must be finite"),
    (f"{SWEEP} --tau 0.5:2", "must be a number or START:STOP:COUNT[:log]"),
    (f"{SWEEP} --tau 0.5:2:x", "--tau 'x' is not a whole number"),
    (f"{SWEEP} --tau 0.5:2:5:lin", "must be a number or START:STOP:COUNT[:log]"),
    (f"{SWEEP} --tau 0.5:2:999999999999", "must be at most"),
    (f"{SWEEP} --tau 0.5:2:300000 --alpha 1:2:300000", "need about .. GiB are free"),
    (f"{SWEEP} --observable e_ilc", "quantity 'e_ilc' is unknown; did you mean 'e_icl'?"),
    (f"{SWEEP} --observable zzz --plot a.png", "quantity 'zzz' is unknown; known: m, q"),
    (f"{SWEEP} --out a.png --plot a.png", "--plot and --out both name a.png: choose two"),
    (f"{SWEEP} --out a.png --plot ./a.png", "--plot and --out both name"),
    (f"{SWEEP} --out a.csv", "--out a.csv must end in .nc"),
    (f"{SWEEP} --out a", "--out a must end in .nc"),
    (f"{SWEEP} --simulate --dimension 4 --out a.csv", "--out a.csv must end in .nc"),
    (f"{MAP} --out a.png --plot b.png", "--out a.png must end in .nc"),
    (f"{SWEEP} --plot a.xyz", "picture format 'xyz' of a.xyz is unknown; known:  .. png"),
    (f"{SWEEP} --alpha 1:2:3 --lam 0:1:3 --plot a.png", "one or two axes, not 3"),
    (f"sweep {POINT} --out a.nc --plot a.png", "one or two axes, not 0"),
    (f"{MAP} --alpha 1", "exactly two axes of at least two values, not ['task_diversity']"),
    (f"{MAP} --rho 0:1:3", "exactly two axes"),
    (f"{MAP} --tau 2:2:1", "at least two values"),
    (f"{MAP} --tau 2:1:5", "the axis task_diversity must increase"),
    (f"{MAP} --line contrst=0.8", "line 'contrst=0.8' is unknown; did you mean 'contrast=LEVEL'?"),
    (f"{MAP} --line zzz", "line 'zzz' is unknown; known: interpolation-threshold"),
    (f"{MAP} --line contrast=2", "must be a number between 0 and 1"),
    (f"{MAP} --line minimum=lam", "the axis must be one of the diagram's, task_diversity or context_length"),
    (f"{MAP} --line minimum=foo", "the axis must be one of the diagram's, task_diversity or context_length"),
    (f"{MAP} --line crossover", "line 'crossover' needs a finite distinct_tasks (--kappa), as a number or an axis"),
    (f"{MAP} --line memorisation-threshold", "line 'memorisation-threshold' needs distinct_tasks (--kappa) as an axis"),
    (f"{MAP} --observable contrst", "did you mean 'contrast'?"),
    (f"{MAP} --plot a.xyz", "picture format 'xyz'"),
]
NOT_WRITTEN = [
    (f"{SWEEP} --out .", ". is a folder: name a file in it"),
    (f"{MAP} --out .", ". is a folder: name a file in it"),
    (f"{MAP} --out ''", "is a folder: name a file in it"),
    (f"{SWEEP} --out none/a.nc", "none is not a folder: create it first"),
    (f"{SWEEP} --out /proc/a.nc", "/proc"),
    (f"{SWEEP} --plot none/a.png", "none is not a folder"),
    (f"{SMALL} --out /proc/v", "/proc/v cannot be used as a folder"),
    ("demo --out /proc/v", "/proc/v cannot be used as a folder"),
    ("solve --config none.toml", "none.toml cannot be read: No such file"),
]


@pytest.mark.parametrize(
    ("line", "code", "messages"),
    [(line, code, said) for code, cases in ((USAGE, REFUSED), (FILE, NOT_WRITTEN)) for line, said in cases],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, line, code, messages):
    refused(run, line, code, *messages.split(" .. "))


def test_memory_is_judged_by_what_is_free(run, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    refused(run, SMALL, USAGE, "need about", "9.3e-07 GiB are free")
    refused(run, SWEEP, USAGE, "4 grid points need about", "take fewer points, or several sweeps")


@pytest.mark.parametrize("command", [SMALL, "demo"], ids=["validate", "demo"])
def test_a_file_is_no_folder(run, command):
    Path("taken").write_text("precious")
    refused(run, f"{command} --out taken", FILE, "taken cannot be used as a folder")
    assert Path("taken").read_text() == "precious"


@pytest.mark.parametrize("name", ["report.html", "sweep.nc", "samples.checkpoint"])
def test_the_demo_refuses_existing_files_before_any_work(run, name):
    Path("d").mkdir()
    Path("d", name).write_text("precious")
    refused(run, "demo --out d", FILE, f"{name} exists", "--force")
    assert Path("d", name).read_text() == "precious"


@pytest.mark.parametrize(
    ("point", "name", "code", "message"),
    [
        ("--lam 0.2", "derivation.tex", USAGE, "holds a simulation of other parameters: ridge is 0.2"),
        ("", "sweep.nc", FILE, "sweep.nc exists"),  # the demo's point, but not begun by the demo
    ],
)
def test_the_demo_leaves_files_beside_the_samples_of_a_validation(run, point, name, code, message):
    assert run(f"{SMALL} {point} --out d")[0] == DONE
    Path("d", name).write_text("precious")
    refused(run, "demo --out d", code, message)
    assert Path("d", name).read_text() == "precious"


# --- internal errors, and processes ----------------------------------------------------------------------------


def test_an_internal_error_exits_1_with_a_traceback_and_a_request(monkeypatch, capsys):
    def broken(**values):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(COMMANDS.commands["solve"], "callback", broken)
    assert main(SOLVE.split()) == INTERNAL
    out, err = capsys.readouterr()
    assert out == ""
    assert "ZeroDivisionError: a bug" in err
    assert err.endswith("iclglass: internal error, please report it with the lines above\n")


def iclglass_process(line, **options):
    return process("-m", "iclglass", *shlex.split(line), **options)


def test_the_installed_script_is_the_same_command(run):
    assert SCRIPT.exists()
    done = process(SCRIPT, *SOLVE.split(), "--json")
    assert (done.returncode, done.stdout, done.stderr) == run(f"{SOLVE} --json")


def test_the_exit_code_is_that_of_the_process():
    done = iclglass_process("solve --tau nan --alpha 1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (USAGE, "", 1)


LONG = pytest.param("derive | head -1", marks=pytest.mark.slow)


@pytest.mark.parametrize("command", [f"{SOLVE} | true", "--help | true", LONG])
def test_a_reader_that_leaves_is_no_error(command):
    line = f"set -o pipefail; {sys.executable} -m iclglass {command}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert done.stdout == "" or done.stdout.startswith("== The model")


def test_a_full_disk_behind_stdout_is_a_file_error():
    with open("/dev/full", "w") as full:
        done = iclglass_process(SOLVE, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == FILE
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_stdout_is_no_internal_error():
    line = f"{sys.executable} -m iclglass {SOLVE} >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (DONE, FILE)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_knows_no_greek_still_gets_the_derivation(encoding):
    """LANG=C with a strict encoding: letters may be replaced, but no traceback."""
    done = iclglass_process("derive --stage model", env={**os.environ, "PYTHONIOENCODING": encoding}, text=False)
    assert done.returncode == DONE, done.stderr.decode()
    assert b"Traceback" not in done.stderr


def best_time(line):
    """The best of three runs in seconds: processor time, which a busy machine does not stretch, or the wall clock."""
    times = []
    for _ in range(3):
        before, started = os.times(), time.perf_counter()
        assert iclglass_process(line).returncode == DONE
        after, elapsed = os.times(), time.perf_counter() - started
        used = after.children_user + after.children_system - before.children_user - before.children_system
        times.append(min(elapsed, used))
    return min(times)


def test_help_and_solve_are_quick_from_a_cold_start():
    assert best_time("--help") < 0.25
    assert best_time(SOLVE) < 1.5


@pytest.mark.slow
def test_the_derivation_takes_less_than_fifteen_seconds():
    assert best_time("derive") < 15


HEAVY = {"numpy", "scipy", "sympy", "mpmath", "matplotlib", "xarray", "h5netcdf", "rich", "psutil"}


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        (["--help", *(f"{name} --help" for name in COMMANDS.commands)], set()),
        ([f"{SOLVE} --json"], {"numpy"}),
        ([f"{SOLVE} --digits 20"], {"numpy", "mpmath"}),
        pytest.param(["derive --stage model"], {"sympy", "mpmath", "numpy", "rich"}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_command_imports_only_what_it_needs(lines, allowed):
    code = f"import sys\nfrom iclglass.cli import main\nfor line in {lines!r}:\n    assert main(line.split()) == 0\n"
    code += f"sys.stderr.write(' '.join(set(sys.modules) & set({sorted(HEAVY)!r})))"
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) <= allowed
