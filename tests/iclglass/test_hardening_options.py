"""Whatever is given for any option of any command, or argument of the Python functions: a result or one clear error.

The table of commands is walked, so that a new option is covered by itself. Every check of the command runs; where a
value passes them all and real work would begin, the work is cut off (`Accepted`).
"""

import contextlib
import importlib
import inspect
import io
import math
import os
import shutil
import tempfile
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iclglass
from iclglass.cli import main
from iclglass.cli.program import COMMANDS
from iclglass.numerics.parameters import PARAMETERS
from iclglass.numerics.solution import solved
from iclglass.numerics.status import Status
from tests.iclglass.calls import CALLS
from tests.numerics import stand_in

DONE, USAGE, NOT_CONVERGED, DISAGREE, FILE, INCONCLUSIVE = 0, 2, 3, 4, 5, 6
QUICK = settings(
    derandomize=True, deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), database=None
)
DEEP = settings(QUICK, max_examples=80)
# Beyond these a value that is fine would be real work.
MOST_WORK = 10**9
MOST_NUMBERS, MOST_STEPS, LARGEST_DIMENSION, MOST_DIGITS = 20_000, 2_000, 12, 60

POINT = {"tau": "2", "alpha": "1"}
DATA = {"dimension": "3", "context": "4", "prompts": "20"}
MEASURE = {**DATA, "ridge0": "0.1", "beta": "10"}
SIMULATED = {"tau": "2", "alpha": "1", "dimension": "4", "samples": "2", "out": "a.nc"}
MEASURED = str(Path(__file__).with_name("measured.csv"))
BASES = {
    "demo": {"out": "d"},
    "derive": {"stage": "model"},
    "solve": POINT,
    "sweep": {"tau": "0.5:2:2", "alpha": "1", "out": "a.nc"},
    "phase-diagram": {"tau": "0.5:2:2", "alpha": "1:2:2", "out": "a.nc"},
    "instance": MEASURE,
    "sample": {**MEASURE, "draws": "6", "chains": "2"},
    "train": {**DATA, "ridge0": "0.1", "steps": "3", "learning-rate": "0.1"},
    "validate": {**POINT, "dimension": "6,8", "samples": "2"},
    "compare": {"": MEASURED, "quantity": "e_icl"},
    "baselines": {"alpha": "1"},
    "reproduce": {"": "fig-2"},
}
# Options that mean something only beside others than those of their command's base.
BESIDE = {
    ("instance", "data"): {"ridge0": "0.1", "beta": "10"},
    ("instance", "probes"): {**MEASURE, "method": "exact"},
    ("sample", "data"): {"ridge0": "0.1", "beta": "10", "draws": "6", "chains": "2"},
    ("sample", "warmup"): {**BASES["sample"], "method": "hmc", "thin": "1"},
    ("sample", "thin"): {**BASES["sample"], "method": "heat-bath", "warmup": "1"},
    ("sample", "step"): {**BASES["sample"], "method": "mala", "warmup": "1", "thin": "1"},
    ("train", "data"): {"ridge0": "0.1", "steps": "3", "learning-rate": "0.1"},
    ("train", "batch"): {**BASES["train"], "optimiser": "sgd"},
    ("validate", "suite"): {},
    ("compare", "pool"): {"": MEASURED, "quantity": "e_icl", "dimension": "8", "kappa": "0.5"},
    ("sweep", "simulate"): {**SIMULATED, "temperature": "1"},
    ("sweep", "draws"): {**SIMULATED, "simulate": "sampling", "temperature": "1"},
    ("sweep", "method"): {**SIMULATED, "simulate": "message-passing"},
    ("sweep", "tolerance"): {**SIMULATED, "simulate": "training"},
    ("sweep", "steps"): {**SIMULATED, "simulate": "training"},
    ("sweep", "learning-rate"): {**SIMULATED, "simulate": "training"},
    ("sweep", "status"): {},
    ("solve", "spacing"): {**POINT, "spins": "binary"},
    ("solve", "huber-threshold"): {**POINT, "loss": "huber"},
    **{("sweep", name): {**SIMULATED, "simulate": "simulation"} for name in ("samples", "seed", "workers", "dask")},
}
# Other roads through the same commands.
FURTHER = {
    "solve": [
        {**POINT, "dimension": "8"},
        {**POINT, "labels": "sign"},
        {**POINT, "digits": "10"},
        {**POINT, "kappa": "0.5"},
    ],
    "sweep": [
        {**BASES["sweep"], "dimension": "8", "plot": "a.png"},
        *({**SIMULATED, "temperature": "1", "simulate": road} for road in ("simulation", "sampling", "training")),
    ],
    "phase-diagram": [{**BASES["phase-diagram"], "dimension": "8"}, {**BASES["phase-diagram"], "line": "peak=tau"}],
    "instance": [{**MEASURE, "method": method} for method in ("exact", "tap", "published")],
    "sample": [{**BASES["sample"], "method": method} for method in ("heat-bath", "langevin", "mala", "hmc")],
    "train": [
        {**BASES["train"], "parametrisation": "separate"},
        {**BASES["train"], "optimiser": "adam", "batch": "5", "out": "r.npz"},
        {**BASES["train"], "tolerance": "0.5", "plot": "a.png"},
    ],
    "compare": [{**BASES["compare"], "dimension": "8", "out": "a.csv", "plot": "a.png"}],
    "validate": [{**POINT, "dimension": "6,8", "samples": "2", "kappa": "0.5", "temperature": "1"}],
}
NAMES = list(COMMANDS.commands)
ALL = [
    (name, option)
    for name, command in COMMANDS.commands.items()
    for option in command.params
    if isinstance(option, click.Option) and option.name != "config"
]
OPTIONS = [(name, option) for name, option in ALL if not option.is_flag]
SWITCHES = [(name, option) for name, option in ALL if option.is_flag]

NUMBERS = [
    *("nan", "-nan", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-400", "1e308", "-1e308", "1e300", "1e-300"),
    *("0", "-0", "1", "-1", "0.5", "2.0", "1e1", "3", "10", "1/3", "0x10", "1_000", "1,000", "1e", "1j", "٣", " 1 "),
    *("9223372036854775807", "9223372036854775808", "99999999999999999999999", "1000000000000001", "9" * 5000),
]
GRIDS = [
    *("1:2:3", "1:2:3:log", "1:2:3:log:log", "a:b:c", "::", ":", "1:2", "1:2:0", "1:2:-1", "1:2:1", "2:2:1", "2:1:3"),
    *("1:nan:3", "1:inf:3", "0:1:3:log", "-1e308:1e308:3", "1:1e308:3:log", "1:2:1e3", "1:2:999999999999", "1:2:0x3"),
    *("4:5:2", "1,2", "6,8", "8,6", "6,6", "1,,2", ",", "6,8,", "-6,8", "6,nan"),
]
WORDS = [
    *("", " ", "x", "-x", "-", "--", "---", "--json", "-1x", "true", "None", "null", "N", "N+1", "exact", "all"),
    *("é\n", "\n", "\r\n", "\t", "\x00", "a\x00b.nc", "\x1b[31m", "\x7f", "\ud800", "\udcff", "‮", "💥", "%s", "{0}"),
    *("a" * 300, "a" * 5000, "contrast=0.5", "contrast=", "contrast=nan", "minimum=tau", "peak=x", "=", "best-ridge"),
    *("__import__('os').system('true')", "$(true)", "; true", "os.system", "lambda: 0"),
]
PATHS = [
    *(".", "..", "/", "//", "a.nc", "a.npz", "a.png", "a.xyz", "a", "none/a.nc", "../none/a.nc", "a.nc/b", "/dev/null"),
    *("/dev/zero", "/dev/null/a.nc", "/proc/self/mem", "~", "~/a.nc", "a.nc\n", ".nc", "a..nc", "fifo.nc"),
    *("a" * 300 + ".nc", "fifo.npz", "folder.nc", "folder.npz", "tcp://", "local", "tcp://127.0.0.1:1"),
]
TEXTS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(GRIDS),
    st.sampled_from(WORDS),
    st.sampled_from(PATHS),
    st.text(max_size=12),
    st.floats().map(repr),
    st.integers(-(10**30), 10**30).map(str),
    st.lists(st.sampled_from([*"0129.-+:,e_/ ", "nan", "inf", "log", "1e9"]), max_size=8).map("".join),
)
TOML = [
    *("true", "false", "[]", "[1, 2]", "[6, 8]", "[[1], [2]]", "[true]", "[{a = 1}]", "{}", "{a = 1}", "{a = {b = 2}}"),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "nan", "inf", "-inf", "1e400", "0x10", "0b1", "1_000", "-1"),
    *("''", "'x'", '"\\u0000"', '"\\n"', '"\\uFFFF"', "['', '']", "[nan]", "[1.5]", "'''\n'''", "99999999999999999999"),
    *("9" * 5000, "[" * 2000, "{a=" * 2000, "1 2", "", "'", "0000-00-00", "25:61:61", "[1,"),
]


class Accepted(BaseException):
    """The value has passed every check: here the work would begin. Not an Exception, so that nothing handles it."""


def cut(*_arguments, **_options):
    raise Accepted


def steps_of_chains(transition, start, *_rest, warmup, draws, thin, **_options):
    """Steps of one variable, trajectories included."""
    return (warmup + draws * thin) * getattr(transition, "steps", 1) * start.shape[0] / 10


def work_of_data_sets(simulation, _workers):
    """Of their linear algebra, in multiplications."""
    largest = simulation.sizes[-1]
    few, many = sorted((largest.prompts, largest.dimension**2))
    return len(simulation.sizes) * simulation.samples * few**2 * many


@pytest.fixture
def without_work(monkeypatch):
    """What takes long is cut off where it begins; everything before it is the real thing."""
    import matplotlib.figure

    # Whoever imports a cut function while it is cut would keep it for good: they have to be there before.
    importlib.import_module("iclglass.numerics.plotting")
    for name in iclglass.__all__:
        getattr(iclglass, name)
    from iclglass.numerics import finite_size, precision, saddle_point, sweep
    from iclglass.numerics.running import engines
    from iclglass.validation import model_experiment, prompts, simulation
    from iclglass.validation.paper import reproduce
    from iclglass.validation.samplers import sampling
    from iclglass.validation.suite import suite
    from iclglass.validation.sweeping import sweep as simulated
    from iclglass.validation.training import course

    def limited(module, name, size, most):
        """Cut the function off where its size is beyond the limit."""
        real = getattr(module, name)

        def guarded(*arguments, **options):
            if size(*arguments, **options) > most:
                raise Accepted
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, guarded)

    class Stages:
        stages = ()

        def __init__(self, model=None):
            pass

        def stage(self, name):
            raise Accepted

    monkeypatch.setattr("iclglass.replica.derivation.derive", Stages)
    monkeypatch.setattr("iclglass.numerics.model_precision._solved", cut)
    monkeypatch.setattr("iclglass.cli.demo.say", cut)
    monkeypatch.setattr("iclglass.numerics.plotting.draw_extrapolation", cut)
    monkeypatch.setattr("iclglass.numerics.plotting.sweeps.draw_map", cut)
    monkeypatch.setattr(suite, "simulate_all", cut)
    monkeypatch.setattr(reproduce, "open_store", cut)
    monkeypatch.setattr(simulated, "run", cut)
    monkeypatch.setattr(engines, "_DaskEngine", cut)
    monkeypatch.setattr(engines, "_ProcessEngine", cut)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", cut)
    limited(prompts, "_tasks", lambda size, count, *rest: size * count, MOST_NUMBERS)
    limited(sampling, "run_chains", steps_of_chains, MOST_STEPS)
    limited(sampling, "_draw_exact", lambda target, trace, chains, draws, *rest: chains * draws, MOST_STEPS)
    limited(course.Course, "leg", lambda self, state, recorded: self.settings.steps, MOST_STEPS)
    limited(precision, "_texts", lambda exact, digits, guard: digits, MOST_DIGITS)
    limited(finite_size, "solve_own_tasks", lambda flat, norm, layer: flat["dimension"].max(initial=0), 2_000)
    limited(finite_size, "_diverges", lambda flat, layer: flat["ridge"].size, MOST_NUMBERS)
    limited(simulation, "_refuse_memory", work_of_data_sets, MOST_WORK)
    for module in (sweep, saddle_point):
        limited(module, "solve_points", lambda parameters, **o: parameters.ridge.size, MOST_NUMBERS)
    monkeypatch.setattr("iclglass.numerics.handshake.solve_model", stand_in.solve_model)
    monkeypatch.setattr(model_experiment, "measured", cut)
    # A pool at finite dimension is solved by averages over drawn pools.
    monkeypatch.setattr("iclglass.numerics.finite_pool.average_over_pools", cut)


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    """A folder to work in, with a pipe and a folder that a name might hit."""
    monkeypatch.chdir(tmp_path)
    for suffix in ("nc", "npz"):
        os.mkfifo(f"fifo.{suffix}")
        Path(f"folder.{suffix}").mkdir()


THERE = ["fifo.nc", "fifo.npz", "folder.nc", "folder.npz"]


def left_over():
    """Names of what was written, which is removed."""
    found = sorted(set(os.listdir()) - set(THERE))
    for name in found:
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        else:
            os.unlink(name)
    return found


def checked(arguments):
    """Run one command line and check that it ends as it should; its exit code, None where real work was cut off."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except Accepted:
        return None
    finally:
        left = left_over()
    out, err = out.getvalue(), err.getvalue()
    what = f"{arguments!r}: exit code {code}\n{out}{err}"
    assert code in (DONE, USAGE, NOT_CONVERGED, DISAGREE, FILE, INCONCLUSIVE), what
    assert "Traceback" not in err, what
    assert "Warning" not in err, what
    if code in (USAGE, FILE):
        assert left == [], what
        assert out == "", what
        usage = code == USAGE and err.startswith("Usage: iclglass")
        assert usage or (err.startswith("iclglass: error: ") and err.count("\n") == 1), what
        assert "\x1b" not in err, what
        assert "\x00" not in err, what
    return code


def typed(option):
    return [name.lstrip("-") for name in option.opts]


def command_line(command, option, value=None, base=None):
    """The command with small valid options beside the one tested, whose value comes last."""
    base = dict(base or BESIDE.get((command, typed(option)[0]), BASES[command]))
    start = [command, *([base.pop("")] if "" in base else [])]
    others = [f"--{name}={text}" for name, text in base.items() if name not in typed(option)]
    return [*start, *others, *([] if value is None else [f"--{typed(option)[-1]}={value}"])]


def test_every_command_has_a_base_that_works(without_work):
    assert list(BASES) == NAMES
    for command in NAMES:
        code = checked(command_line(command, SWITCHES[0][1]))
        assert code in (None, DONE, USAGE, NOT_CONVERGED, DISAGREE, INCONCLUSIVE)
    assert set(BESIDE) <= {(command, typed(option)[0]) for command, option in OPTIONS}


FIXED = [*NUMBERS, *GRIDS, *WORDS, *PATHS]


def dealt(values, pairs):
    """The values dealt out to the pairs as evenly as they go: every pair has one, and every value is had."""
    count = max(len(values), len(pairs))
    return [(*pairs[n % len(pairs)], values[7 * n % len(values)]) for n in range(count)]


@pytest.mark.parametrize("command", NAMES)
def test_some_awkward_text_for_every_option(without_work, command):
    """One or more of the fixed texts for each option, and all of them over the commands."""
    for owner, option, value in dealt(FIXED, OPTIONS):
        if owner == command:
            checked(command_line(command, option, value))


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        *(("sweep", name, value) for name in ("out", "plot") for value in ("\x00", "a\x00b.nc", "\ud800", "none/é\n")),
        *(("validate", "out", value) for value in ("\x00", "\ud800")),
        *(("instance", name, value) for name in ("out", "save-data") for value in ("a\n", "a\x1b[31m")),
        ("sweep", "task-diversity", "-1e308:1e308:3"),
        *(("phase-diagram", "out", value) for value in ("", "/")),
        *(("instance", name, "99999999999999999999999") for name in ("dimension", "context", "prompts")),
        *(("sample", name, "99999999999999999999999") for name in ("draws", "chains")),
        *(("sample", "step", value) for value in ("1e-300", "5e-324")),
        *(("sample", name, value) for name in ("ridge0", "beta") for value in ("1e308", "1e-308")),
        *(("train", name, value) for name, value in (("steps", "9" * 20), ("label-noise", "1e300"))),
        *(("validate", "test-context-length", value) for value in ("1e308", "1e300")),
        *(("validate", name, value) for name, value in (("temperature", "1e308"), ("false-alarm", "1e-300"))),
    ],
)
def test_what_once_ended_in_a_traceback_is_one_line(without_work, command, name, value):
    command, option = next((c, o) for c, o in OPTIONS if c == command and typed(o)[0] == name)
    base = {**BASES["sample"], "method": "hmc"} if name == "step" else None
    assert checked(command_line(command, option, value, base)) in (USAGE, FILE, NOT_CONVERGED, None)


@QUICK
@given(st.sampled_from(OPTIONS), TEXTS)
def test_any_text_for_any_option(without_work, pair, value):
    command, option = pair
    checked(command_line(command, option, value))


@pytest.mark.slow
@pytest.mark.parametrize("command", NAMES)
@DEEP
@given(st.data())
def test_much_more_text_for_any_option(without_work, command, data):
    option = data.draw(st.sampled_from([option for owner, option in OPTIONS if owner == command]))
    base = data.draw(st.sampled_from([None, *FURTHER.get(command, [])]))
    checked(command_line(command, option, data.draw(TEXTS), base))


def with_file(command, option, fragment):
    """The command with the option from a configuration file."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(f"{typed(option)[-1]} = {fragment}\n")
        file.flush()
        checked([*command_line(command, option), "--config", file.name])


@pytest.mark.parametrize("command", NAMES)
def test_some_value_for_every_option_in_a_configuration_file(without_work, command):
    for owner, option, fragment in dealt(TOML, [*OPTIONS, *SWITCHES]):
        if owner == command:
            with_file(command, option, fragment)


@pytest.mark.slow
@pytest.mark.parametrize("command", NAMES)
@DEEP
@given(st.data())
def test_any_value_for_any_option_in_a_configuration_file(without_work, command, data):
    option = data.draw(st.sampled_from([option for owner, option in ALL if owner == command]))
    with_file(command, option, data.draw(st.sampled_from(TOML)))


@pytest.mark.parametrize(
    "name", ["\x00", "\ud800", "", ".", "none.toml", "/dev/zero", "/dev/null", "fifo.nc", "a" * 300]
)
def test_any_name_of_a_configuration_file(name):
    code = checked(["solve", "--tau=2", "--alpha=1", "--config", name])
    assert code in (USAGE, FILE)


@pytest.mark.parametrize("command", NAMES)
def test_arguments_that_are_no_options(without_work, command):
    base = command_line(command, SWITCHES[0][1])
    for word in ("x", "--", "-x", "--=", "\ud800", "--config", "-" * 5000):
        checked([*base, word])


@pytest.mark.parametrize("figure", ["", "x", "fig-", "fig-99", "\x00", "é\n", "../fig-1", "a" * 5000, "fig-1 ", "--"])
def test_any_name_of_a_figure(without_work, figure):
    assert checked(["reproduce", figure]) in (USAGE, None)


# --- Python ----------------------------------------------------------------------------------------------------

OBJECTS = [
    *(None, True, False, "", "1", "x", b"1", 1j, math.nan, math.inf, -math.inf, -1, 0, 0.0, -0.0, 0.5, 1, 2.0, -0.5),
    *(1e308, -1e308, 1e-308, 5e-324, 1e300, 1e-300, 2**63, 2**64, -(2**63), 10**23, 10**400, -(10**400)),
    *([], (), {}, set(), [1], [1.0, 2.0], [[1.0], [1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]], [None], ["1"], [math.nan]),
    *(object(), int, len, lambda: 1, range(3), iter(()), Decimal(1), Decimal("nan"), Fraction(1, 3), date(2020, 1, 1)),
    *(np.float32(1), np.float64("nan"), np.int8(-1), np.bool_(True), np.array(1.5), np.array(None), np.array("x")),
    *(np.array([]), np.zeros((0, 3)), np.array([1, None]), np.array([math.nan, 1.0]), np.array([-1.0, 1.0])),
    *(np.array([1 + 1j]), np.zeros((2, 2, 2)), np.array(["1"]), np.array([True]), np.ma.masked_array([1.0], [True])),
    *(np.datetime64("2020-01-01"), np.timedelta64(1), np.longdouble("1e4000"), np.array([1, 2], dtype=">f8")),
]


CALLED = [
    *("solve", "solve.dimension", "sweep", "phase_diagram", "solve_digits", "validate", "draw_prompts", "sample"),
    *("draw_prompts.tokens", "solve_instance", "solve_instance.exact", "train", "train.sgd", "learning_curve"),
    *("best_stopping_time", "state_evolution", "Instance", "load", "load_instance"),
]
"""Of `tests.iclglass.calls`, those that take numbers."""
ARGUMENTS = [(name, argument) for name in CALLED for argument in inspect.signature(CALLS[name][0]).parameters]


def numbers_of(found):
    """The status codes of the points of a result, and its arrays; None where it has none."""
    status = getattr(found, "status", None)
    if status is None or isinstance(status, Status):
        return None, {}
    fields = found.data_vars if hasattr(found, "data_vars") else found.to_dict()
    return np.asarray(status), {name: np.asarray(value) for name, value in fields.items()}


def no_number_failed(found, what):
    """No point with a failed status has a finite number; the time is the user's own."""
    status, fields = numbers_of(found)
    if status is None or status.dtype.kind != "i":
        return
    for field, array in fields.items():
        if array.shape == status.shape and array.dtype.kind == "f" and field != "time":
            assert not np.isfinite(array[~solved(status)]).any(), (what, field)


def check_call(name, argument, value):
    """A result, a ValueError, a TypeError, or a file error; never a finite number with a failed status."""
    function, given_ = CALLS[name]
    try:
        found = function(**{**given_, argument: value})
    except Accepted:
        return
    except (ValueError, TypeError, iclglass.OutputError, iclglass.ConvergenceError):
        return
    finally:
        left_over()
    no_number_failed(found, (name, argument, value))
    if (
        isinstance(getattr(found, "status", None), Status)
        and hasattr(found, "mean")
        and found.status is Status.DIVERGES
    ):
        assert not np.isfinite(found.mean[:, :-1]).any(), (name, argument, value)


@pytest.mark.parametrize("name", CALLED)
def test_some_object_for_every_argument(without_work, name):
    for owner, argument, value in dealt(OBJECTS, ARGUMENTS):
        if owner == name:
            check_call(name, argument, value)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_every_awkward_object_for_every_argument(without_work, name, argument):
    for value in OBJECTS:
        check_call(name, argument, value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["solve", "sweep", "learning_curve", "state_evolution"])
@DEEP
@given(st.data())
def test_any_numbers_for_the_parameters_of_the_theory(name, data):
    function, given_ = CALLS[name]
    extreme = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 1e-300, 1e300, 5e-324, math.inf]))
    numbers = [word for word in inspect.signature(function).parameters if word in (*PARAMETERS, "time")]
    values = {word: data.draw(extreme) for word in numbers}
    try:
        found = function(**{**given_, **values})
    except (ValueError, TypeError, iclglass.ConvergenceError):
        return
    no_number_failed(found, values)
