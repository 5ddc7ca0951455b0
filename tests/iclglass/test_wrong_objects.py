"""Every public function with a wrong object for every argument: refused in words that name it, and never a number."""

import dataclasses
import inspect
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import iclglass
from iclglass import Instance, InstanceBlocks, PromptBlocks, TaskSpectrum
from iclglass.validation.observables import QUANTITIES

POINT = {"task_diversity": 2.0, "context_length": 1.0}
GRID = {"task_diversity": [0.5, 2.0], "context_length": [1.0, 2.0]}
SIZES = {"dimension": 4, "context": 4, "prompts": 24}
RNG = np.random.default_rng(1)
DATA = Instance(RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3)), RNG.normal(size=30))
FOUND = iclglass.solve_instance(DATA, ridge0=0.1, beta=2.0, method="exact")
SOURCE = PromptBlocks(**SIZES, seed=1)
UNSCALED = {"ridge0": 0.1, "beta": 2.0}
ARRAYS = {"context": DATA.context, "query": DATA.query, "label": DATA.label}
TOKENS = {"tokens": np.ones((2, 3, 2)), "labels": np.ones((2, 3)), "query": np.ones((2, 2)), "label": np.ones(2)}
SWEEP = iclglass.sweep(**GRID)
DIAGRAM = iclglass.phase_diagram(**GRID)

CALLS = {
    "Instance": (Instance, ARRAYS),
    "Instance.from_tokens": (Instance.from_tokens, TOKENS),
    "InstanceBlocks": (InstanceBlocks, {"instance": DATA}),
    "Parameters": (iclglass.Parameters, POINT),
    "PromptBlocks": (PromptBlocks, {**SIZES, "seed": 1}),
    "TaskSpectrum": (TaskSpectrum, {name: [1.0] for name in ("pretraining", "test", "weights")}),
    "TaskSpectrum.from_eigenvalues": (TaskSpectrum.from_eigenvalues, {"pretraining": [1.0, 2.0]}),
    "TaskSpectrum.power_law": (TaskSpectrum.power_law, {"exponent": 1.0}),
    "TaskSpectrum.spiked": (TaskSpectrum.spiked, {"strength": 2.0, "fraction": 0.5}),
    "best_ridge": (iclglass.best_ridge, POINT),
    "best_stopping_time": (iclglass.best_stopping_time, POINT),
    "contrast": (iclglass.contrast, {"solution": FOUND}),
    "derive": (iclglass.derive, {}),
    "diagnose": (iclglass.diagnose, {"samples": None}),
    "draw_prompts": (iclglass.draw_prompts, {**SIZES, "rng": RNG}),
    "learning_curve": (iclglass.learning_curve, {**POINT, "time": 1.0}),
    "load": (iclglass.load, {"path": "x.nc"}),
    "load_instance": (iclglass.load_instance, {"path": "x.nc"}),
    "load_solution": (iclglass.load_solution, {"path": "x.nc"}),
    "measure_blocks": (iclglass.measure_blocks, {"source": SOURCE, "weights": np.ones((5, 4))}),
    "overlaps": (iclglass.overlaps, {"solution": FOUND}),
    "phase_diagram": (iclglass.phase_diagram, GRID),
    "plot_phase_diagram": (iclglass.plot_phase_diagram, {"diagram": DIAGRAM, "path": "x.png"}),
    "plot_sweep": (iclglass.plot_sweep, {"dataset": SWEEP, "path": "x.png"}),
    "predict": (
        iclglass.predict,
        {"solution": FOUND, "context": DATA.context, "query": DATA.query, "instance": DATA},
    ),
    "sample": (iclglass.sample, {"instance": DATA, **UNSCALED, "method": "hmc", "draws": 4, "rng": RNG}),
    "save": (iclglass.save, {"dataset": SWEEP, "path": "x.nc"}),
    "save_instance": (iclglass.save_instance, {"instance": DATA, "path": "x.nc"}),
    "save_solution": (iclglass.save_solution, {"solution": FOUND, "path": "x.nc"}),
    "solve": (iclglass.solve, POINT),
    "solve_digits": (iclglass.solve_digits, {"digits": 10, **POINT}),
    "solve_distributed": (iclglass.solve_distributed, {"source": SOURCE, **UNSCALED}),
    "solve_given_pool": (iclglass.solve_given_pool, {"tasks": np.ones((2, 4)), **POINT}),
    "solve_instance": (iclglass.solve_instance, {"instance": DATA, **UNSCALED, "method": "gamp"}),
    "state_evolution": (iclglass.state_evolution, POINT),
    "sweep": (iclglass.sweep, GRID),
    "sweep_simulated": (iclglass.sweep_simulated, {**POINT, "dimension": 4}),
    "sweep_status": (iclglass.sweep_status, {"out": "x.nc"}),
    "train": (iclglass.train, {"instance": DATA, "steps": 3, "learning_rate": 0.1, "rng": RNG}),
    "validate": (iclglass.validate, {**POINT, "dimension": (4, 6), "samples": 2}),
}
OPTIONS = {
    "solve.dimension": (iclglass.solve, {**POINT, "dimension": 8}),
    "solve_instance.exact": (iclglass.solve_instance, {"instance": DATA, **UNSCALED, "method": "exact", "probes": 0}),
    "solve_distributed.probes": (iclglass.solve_distributed, {"source": SOURCE, **UNSCALED, "probes": 2, "rng": RNG}),
    "state_evolution.dimension": (iclglass.state_evolution, {**POINT, "dimension": 8}),
    "predict.diagonal": (
        iclglass.predict,
        {"solution": FOUND, "context": DATA.context, "query": DATA.query, "kind": "diagonal"},
    ),
    "train.sgd": (
        iclglass.train,
        {"instance": DATA, "optimiser": "sgd", "batch": 8, "steps": 3, "learning_rate": 0.1, "rng": RNG},
    ),
    "draw_prompts.tokens": (
        iclglass.draw_prompts,
        {**SIZES, "method": "tokens", "spectrum": np.ones(4), "token_covariance": np.eye(4), "rng": RNG},
    ),
    "sweep_simulated.training": (
        iclglass.sweep_simulated,
        {**POINT, "dimension": 4, "road": "training", "steps": 3, "tolerance": 0.5, "samples": 1},
    ),
}
CALLS |= OPTIONS
# What the functions return, errors, and a code: nobody computes with what they are made of.
RESULTS = {
    *("ConvergenceError", "OutputError", "ParameterError", "ParameterTypeError", "WorkerError", "Status"),
    *("Agreement", "Derivation", "InstanceSolution", "LearningCurve", "Line", "Overlaps", "PhaseDiagram"),
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
        in {("contrast", "solution", "Solution"), ("train", "record", "Series"), ("train.sgd", "record", "Series")}
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
    with pytest.raises(TypeError, match=r"dataset is a Solution of arrays.* sweep\(\.\.\.\) returns a dataset"):
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


def test_an_unknown_stage_is_refused_before_anything_is_derived(monkeypatch, capsys):
    from iclglass.cli import main
    from iclglass.replica import derivation

    def derived(*_):
        raise AssertionError("derived before the stage was looked at")

    monkeypatch.setattr(derivation, "derive", derived)
    assert main(["derive", "--stage", "nope"]) == 2
    assert "--stage 'nope' must be one of model, disorder" in capsys.readouterr().err


def test_numbers_are_looked_at_without_importing_xarray_or_pandas():
    code = (
        "import sys, iclglass\n"
        "iclglass.solve(task_diversity=[1, 2], context_length=1)\n"
        "assert not {'xarray', 'pandas', 'sympy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
