"""Every public function with a wrong object for every argument: refused in words that name it, and never a number."""

import dataclasses
import inspect
import types

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import iclglass
from iclglass import TaskSpectrum
from iclglass.validation.observables import QUANTITIES
from tests.iclglass.calls import CALLS, DIAGRAM, GRID, POINT
from tests.iclglass.conftest import process, refused

# What the functions return, errors, and a code: nobody computes with what they are made of.
RESULTS = {
    *("ConvergenceError", "OutputError", "ParameterError", "ParameterTypeError", "WorkerError", "Status"),
    *(
        "Agreement",
        "Baseline",
        "Baselines",
        "BestTaskSpectrum",
        "Comparison",
        "Derivation",
        "ErrorShares",
        "InstanceSolution",
        "LearningCurve",
        "Line",
        "Overlaps",
        "PhaseDiagram",
    ),
    *("PreciseSolution", "Prediction", "Samples", "Solution", "StateEvolution", "StoppingTime", "TrainingRun"),
}
WRONG = {
    "None": None,
    "str": "garbage",
    "list": ["garbage"],
    "list of None": [None],
    "dict": {"a": 1},
    "object": object(),
    "Solution": iclglass.solve(**POINT),
    "DataFrame": pd.DataFrame({"a": [1.0, 2.0]}),
    "Series": pd.Series([1.0, 2.0]),
    "bool": True,
    "complex": 1j,
    "bytes": b"1",
    "masked": np.ma.masked_array([1.0, 2.0], mask=[False, True]),
}
# An object of this kind is no wrong one there.
FLAGS = {
    *(("solve", "throw"), ("solve.dimension", "throw"), ("sample", "keep_weights"), ("sample", "matrix_free")),
    *(("sweep_simulated", "theory"), ("sweep_simulated.training", "theory")),
    *((function, name) for function in CALLS for name in ("force", "fresh", "last_row", "resume_anyway")),
}
NAMES_OF_FILES = ("path", "out", "checkpoint")
# Messages that call an argument as the command line does.
CALLED = {"lines": "line ", "observable": "quantity"}


def is_right(function, argument, kind, parameter):
    return (
        (kind == "None" and parameter.default is None)
        or (kind == "bool" and (function, argument) in FLAGS)
        or (kind == "str" and argument in NAMES_OF_FILES)
        or (function, argument, kind)
        in {
            ("contrast", "solution", "Solution"),
            ("plot_sweep", "dataset", "Solution"),
            ("train", "record", "Series"),
            ("train.sgd", "record", "Series"),
            ("Model", "name", "str"),
            ("compare", "source", "str"),
            ("compare", "source", "DataFrame"),
        }
        or (argument, kind) == ("parameters", "dict")
    )


ARGUMENTS = [
    (function, argument)
    for function in CALLS
    for argument, parameter in inspect.signature(CALLS[function][0]).parameters.items()
    if parameter.kind is not parameter.POSITIONAL_ONLY
]


@pytest.mark.parametrize(("function", "argument"), ARGUMENTS, ids=[".".join(pair) for pair in ARGUMENTS])
def test_a_wrong_object_is_refused_in_words_that_name_the_argument(function, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[function]
    parameter = inspect.signature(call).parameters[argument]
    for kind, wrong in WRONG.items():
        if is_right(function, argument, kind, parameter):
            continue
        try:
            found = call(**{**right, argument: wrong})
        except (TypeError, ValueError) as error:
            message = str(error)
        else:
            pytest.fail(f"{argument} = {kind} gave {found}")
        assert argument in message or CALLED.get(argument, argument) in message, (kind, message)
    assert not list(tmp_path.iterdir())


def test_every_public_name_is_tried():
    assert {name.split(".")[0] for name in CALLS} | RESULTS == set(iclglass.__all__)


# derive takes long and has its own tests; the others have no right object here.
QUICK = [name for name in CALLS if not name.startswith(("load", "diagnose", "sweep_status", "derive"))]


@pytest.mark.parametrize("function", QUICK)
def test_the_right_objects_are_taken(function, tmp_path, monkeypatch):
    """Else the refusals above would say nothing."""
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[function]
    call(**right)


def assert_same_lines(diagram, other):
    lines = [line for line in diagram.lines if line.parts]
    assert [line.name for line in other.lines] == [line.name for line in lines]
    for line, same in zip(lines, other.lines, strict=True):
        for part, found in zip(line.parts, same.parts, strict=True):
            np.testing.assert_array_equal(part, found)


def test_what_was_meant_by_a_wrong_object_works(tmp_path):
    solution = iclglass.solve(**POINT)
    assert iclglass.contrast(solution) == solution.contrast
    assert TaskSpectrum([0.5, 1.5], [1, 1], [0.5, 0.5]).strength == 1

    iclglass.save(DIAGRAM, tmp_path / "diagram.nc")
    loaded = iclglass.load(tmp_path / "diagram.nc")
    again = iclglass.PhaseDiagram.from_dataset(loaded)
    assert (again.x, again.y) == (DIAGRAM.x, DIAGRAM.y)
    assert_same_lines(DIAGRAM, again)
    parts = np.array([[[0.5, 1.0], [0.6, 1.1]], [[0.7, 1.5], [0.8, 1.6]]])
    lines = (iclglass.Line("peak=tau", tuple(parts)), iclglass.Line("contrast=0.5", tuple(parts[::-1] + 0.01)))
    two = dataclasses.replace(DIAGRAM, lines=lines)
    assert_same_lines(two, iclglass.PhaseDiagram.from_dataset(two.to_dataset()))
    iclglass.plot_phase_diagram(loaded, tmp_path / "loaded.png")
    iclglass.plot_phase_diagram(DIAGRAM, tmp_path / "diagram.png")
    iclglass.plot_sweep(DIAGRAM, tmp_path / "as_sweep.png")
    pictures = {(tmp_path / name).read_bytes() for name in ("loaded.png", "diagram.png", "as_sweep.png")}
    assert len(pictures) == 1

    axis = xr.DataArray([0.5, 2.0, 3.0], dims="ridge", coords={"ridge": [0.5, 2.0, 3.0]})
    iclglass.plot_sweep(iclglass.solve(**POINT, ridge=axis), tmp_path / "solution.png")


def test_a_picture_says_what_it_lacks(tmp_path):
    target = tmp_path / "x.png"
    with pytest.raises(ValueError, match="a picture shows one or two axes, not 0"):
        iclglass.plot_sweep(iclglass.solve(**POINT), target)
    with pytest.raises(ValueError, match="dataset has the dimension 'dim_0'"):
        iclglass.plot_sweep(iclglass.solve(**GRID), target)
    with pytest.raises(ValueError, match="dataset has no e_icl and no status"):
        iclglass.plot_sweep(xr.Dataset(), target)
    with pytest.raises(ValueError, match="dataset has the dimension 'run'"):
        iclglass.plot_sweep(iclglass.solve(**POINT, ridge=xr.DataArray([0.5, 2.0], dims="run")), target)
    with pytest.raises(ValueError, match="dataset must have two axes"):
        iclglass.plot_phase_diagram(iclglass.sweep(task_diversity=[1, 2], context_length=1), target)
    with pytest.raises(TypeError, match=r"solution must be an InstanceSolution.* attributes of its Solution"):
        iclglass.overlaps(iclglass.solve(**POINT))


def without(name):
    return types.SimpleNamespace(**{key: value for key, value in vars(iclglass.solve(**POINT)).items() if key != name})


@pytest.mark.parametrize(
    ("theory", "error", "message"),
    [
        (lambda **_: None, TypeError, "theory returned NoneType without m; it must return an object with the"),
        (lambda **_: {"e_icl": 1.0}, TypeError, "theory returned dict without m"),
        (lambda **_: without("chi"), TypeError, "theory returned SimpleNamespace without chi"),
        (lambda **_: types.SimpleNamespace(m="x"), TypeError, "the theory's m must be a real number"),
        (lambda **_: iclglass.solve(**GRID), ValueError, "the theory's m must be one number .* array of 2"),
        (lambda **_: types.SimpleNamespace(**dict.fromkeys(QUANTITIES, np.nan)), ValueError, "no finite e_icl"),
    ],
)
def test_a_theory_that_returns_no_theory_is_refused_before_anything_is_simulated(theory, error, message, monkeypatch):
    monkeypatch.setattr("iclglass.validation.crosscheck.simulate_all", None)
    with pytest.raises(error, match=message):
        iclglass.validate(**POINT, dimension=(4, 6), samples=2, theory=theory)


def test_text_for_a_model_says_how_to_ask_for_a_stage():
    with pytest.raises(TypeError, match=r"got str 'saddle-point'; for a stage call derive\(\)\.stage\(NAME\)"):
        iclglass.derive("saddle-point")


def test_an_unknown_stage_is_refused_before_anything_is_derived(run, monkeypatch):
    from iclglass.replica import derivation

    def derived(*_):
        raise AssertionError("derived before the stage was looked at")

    monkeypatch.setattr(derivation, "derive", derived)
    refused(run, "derive --stage nope", 2, "--stage 'nope' must be one of model, disorder")


def test_numbers_are_looked_at_without_importing_xarray_or_pandas():
    code = (
        "import sys, iclglass\n"
        "iclglass.solve(task_diversity=[1, 2], context_length=1)\n"
        "assert not {'xarray', 'pandas', 'sympy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
