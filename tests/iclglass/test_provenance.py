"""Two runs that differ in one argument differ in what their files say of where they come from.

A new argument of one of these functions fails `test_every_argument_is_in_the_table` until it has a line here: what else
it needs, and a value that is not its default. It is in `NO_RESULT` if no number follows from it.
"""

import inspect
import json

import numpy as np
import pytest

import iclglass
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.storage import PROVENANCE
from tests.numerics import stand_in

NO_RESULT = {"progress", "say", "callback", "executor", "workers", "out", "checkpoint", "force", "fresh"} | {
    "resume_anyway",
    "parameters",
    "ansatz",
}
"""Arguments from which no number follows; parameters are the fields that are in the table; there is one ansatz yet."""

SPIKED = iclglass.TaskSpectrum.from_eigenvalues(np.linspace(0.5, 1.5, 2001))
NEARLY = iclglass.TaskSpectrum.from_eigenvalues([*SPIKED.pretraining[:1000], 1.0 + 1e-15, *SPIKED.pretraining[1001:]])
"""Spectra that no shortened text tells apart."""


def data(seed):
    return iclglass.draw_prompts(dimension=4, context=6, prompts=40, rng=np.random.default_rng(seed))


def other_theory(**parameters):
    return solve(**parameters)


POINT = {"task_diversity": 2.0, "context_length": 1.0}
LAW = {
    "task_diversity": (POINT, 3.0),
    "context_length": (POINT, 1.5),
    "distinct_tasks": (POINT, 2.0),
    "label_noise": (POINT, 0.1),
    "ridge": (POINT, 0.2),
    "temperature": (POINT, 0.5),
    "test_context_length": (POINT, 3.0),
}


MODEL = {
    "loss": ({}, "absolute_error"),
    "labels": ({}, "sign"),
    "spins": ({}, "nonnegative"),
    "l1": ({}, 0.5),
    "nuclear": ({}, 0.5),
    "spacing": ({"spins": "ternary", "temperature": 2.0}, 2.0),
    "huber_threshold": ({"loss": "huber"}, 2.0),
    "model": ({}, iclglass.Model(loss=lambda y, f: (y - f) ** 2, penalty=lambda s: s**2)),
}


DRAWN = POINT | {"dimension": 4, "samples": 2}
ALONE = DRAWN | {"theory": False}
COMPARED = POINT | {"dimension": (4, 5), "samples": 2}
TRAINED = {"instance": data(1), "steps": 3, "learning_rate": 0.1}
MEASURE = {"instance": data(1), "ridge0": 0.1, "beta": 2.0}
SEPARATE = [np.eye(5), np.eye(5)[:, :4]]

TABLE = {
    "sweep": LAW
    | {name: (POINT | more, value) for name, (more, value) in MODEL.items()}
    | {
        "tasks": (POINT | {"tasks": SPIKED}, NEARLY),
        "dimension": (POINT, 5),
        "norm": (POINT | {"dimension": 5}, "N+1"),
        "last_feature": (POINT | {"dimension": 5}, "scaled-tokens"),
        "last_row": (POINT | {"dimension": 5}, False),
    },
    "sweep_simulated": {name: (ALONE, value) for name, (_, value) in LAW.items()}
    | {name: (ALONE | more, value) for name, (more, value) in MODEL.items()}
    | {
        "dimension": (ALONE, 5),
        "norm": (ALONE, "N+1"),
        "last_feature": (ALONE, "scaled-tokens"),
        "last_row": (ALONE, False),
        "road": (ALONE, "training"),
        "samples": (ALONE, 3),
        "seed": (ALONE, 1),
        "theory": (DRAWN, False),
        "method": (ALONE | {"road": "message-passing"}, "exact"),
        "draws": (ALONE | {"road": "sampling", "temperature": 0.5}, 20),
        "steps": (ALONE | {"road": "training"}, 5000),
        "learning_rate": (ALONE | {"road": "training"}, 0.05),
        "tolerance": (ALONE | {"road": "training"}, 1e-3),
    },
    "validate": {name: (COMPARED, value) for name, (_, value) in LAW.items()}
    | {name: (COMPARED | more, value) for name, (more, value) in MODEL.items()}
    | {
        "tasks": (COMPARED | {"tasks": SPIKED}, NEARLY),
        "dimension": (COMPARED, (4, 6)),
        "samples": (COMPARED, 3),
        "seed": (COMPARED, 1),
        "norm": (COMPARED, "N+1"),
        "last_feature": (COMPARED, "scaled-tokens"),
        "last_row": (COMPARED, False),
        "false_alarm": (COMPARED, 0.02),
        "largest_unseen_bias": (COMPARED, 0.5),
        "theory": (COMPARED, other_theory),
    },
    "sample": {
        "instance": (MEASURE, data(2)),
        "ridge0": (MEASURE, 0.2),
        "beta": (MEASURE, 3.0),
        "method": (MEASURE, "hmc"),
        "draws": (MEASURE | {"draws": 10}, 11),
        "chains": (MEASURE, 2),
        "warmup": (MEASURE | {"method": "hmc"}, 5),
        "step": (MEASURE | {"method": "hmc"}, 0.01),
        "trajectory": (MEASURE | {"method": "hmc"}, 3),
        "thin": (MEASURE | {"method": "hmc"}, 2),
        "keep_weights": (MEASURE, False),
        "matrix_free": (MEASURE, True),
        "rng": (MEASURE, 8),
    },
    "train": {
        "instance": (TRAINED, data(2)),
        "parametrisation": (TRAINED, "separate"),
        "optimiser": (TRAINED, "adam"),
        "steps": (TRAINED, 4),
        "learning_rate": (TRAINED, 0.2),
        "ridge0": (TRAINED, 0.1),
        "batch": (TRAINED | {"optimiser": "sgd", "batch": 3}, 4),
        "start": (TRAINED, [np.zeros((5, 4))]),
        "test": (TRAINED | {"test": data(3)}, data(4)),
        "tolerance": (TRAINED, 1e-9),
        "record": (TRAINED, [2]),
        "backend": (TRAINED, "torch"),
        "rng": (TRAINED, 8),
    },
    "solve_instance": {
        "instance": (MEASURE, data(2)),
        "ridge0": (MEASURE, 0.2),
        "beta": (MEASURE, 3.0),
        "method": (MEASURE, "exact"),
        "tolerance": (MEASURE, 1e-7),
        "max_iterations": (MEASURE, 77),
        "damping": (MEASURE, 0.3),
        "probes": (MEASURE | {"method": "exact"}, 5),
        "rng": (MEASURE | {"method": "published"}, 8),
    },
}
"""Function -> argument -> the other arguments of two runs, and the value of this one in the second."""


@pytest.fixture(scope="module")
def of_base(tmp_path_factory):
    """`origin` of a base of the table, which is run once."""
    known = {}

    def found(name, base):
        key = name, id(base)
        if key not in known:
            known[key] = origin(name, tmp_path_factory.mktemp("base"), base)
        return known[key]

    return found


@pytest.fixture(autouse=True)
def _nothing_is_derived(monkeypatch):
    """Where results come from does not depend on what they are."""
    monkeypatch.setattr("iclglass.numerics.handshake.solve_model", stand_in.solve_model)


def origin(name, folder, arguments):
    """What the file of a run says of where it comes from, without the time."""
    function = getattr(iclglass, name)
    if "rng" in inspect.signature(function).parameters:
        needed = name != "solve_instance" or arguments.get("method") in ("exact", "published")
        seed = arguments.get("rng", 7)
        arguments = arguments | ({"rng": np.random.default_rng(seed)} if needed else {})
    if name == "validate":
        found = function(**arguments).to_dict()
        return {key: value for key, value in found.items() if key not in ("rows", "sentence", "passed")}
    file = folder / ("run.npz" if name == "train" else "run.nc")
    if name == "train":
        function(**arguments, checkpoint=file)
        with np.load(file) as arrays:
            return json.loads(str(arrays["header"]))["parameters"]
    if name == "sample":
        return dict(function(**arguments).parameters)
    if name == "sweep":
        iclglass.save(function(**arguments), file)
    elif name == "sweep_simulated":
        function(**arguments, out=file)
    else:
        iclglass.save_solution(function(**arguments), file)
    if name == "solve_instance":
        return dict(iclglass.load_solution(file).parameters)
    found = iclglass.load(file)
    axes = {str(key): np.asarray(value).tolist() for key, value in found.coords.items()}
    return {"coordinates": axes, **json.loads(found.attrs[PROVENANCE])["parameters"]}


@pytest.mark.parametrize("name", TABLE)
def test_every_argument_is_in_the_table(name):
    arguments = {*inspect.signature(getattr(iclglass, name)).parameters} - NO_RESULT
    assert arguments == {*TABLE[name]}


def test_a_spectrum_of_tasks_is_refused_where_points_have_none():
    with pytest.raises(iclglass.ParameterError, match="points of a sweep have isotropic tasks"):
        iclglass.sweep_simulated(**ALONE, tasks=SPIKED)


@pytest.mark.parametrize(("name", "argument"), [(name, argument) for name in TABLE for argument in TABLE[name]])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_runs_that_differ_in_one_argument_differ_in_their_files(name, argument, tmp_path, of_base):
    if argument == "backend":
        pytest.importorskip("torch")
    base, value = TABLE[name][argument]
    changed = origin(name, tmp_path, base | {argument: value})
    assert changed != of_base(name, base)


@pytest.mark.parametrize("name", TABLE)
def test_two_runs_that_differ_in_nothing_do_not(name, tmp_path, of_base):
    base, _ = next(iter(TABLE[name].values()))
    assert origin(name, tmp_path, base) == of_base(name, base)


def test_lines_of_a_phase_diagram_are_in_its_file():
    """Those that do not cross the grid, too."""
    axes = {"task_diversity": [2.0, 3.0], "context_length": [1.0, 2.0]}
    found = iclglass.phase_diagram(**axes, lines=["contrast=0.99"]).to_dataset()
    assert json.loads(found.attrs[PROVENANCE])["parameters"]["lines"] == ["contrast=0.99"]


@pytest.mark.parametrize(
    "command", [("instance", "--ridge0", "0.1", "--beta", "1"), ("sample", "--ridge0", "0.1", "--beta", "1")]
)
def test_a_users_data_are_told_by_what_they_are_not_by_the_name_of_their_file(run, command):
    found = []
    for seed in (1, 2):
        iclglass.save_instance(data(seed), "mine.npz", force=True)
        code, _, err = run(*command, "--data", "mine.npz", "--out", "a.nc", "--force")
        assert code == 0, err
        found.append(json.loads(iclglass.load("a.nc").attrs[PROVENANCE])["parameters"])
    assert found[0] != found[1]
    assert found[0]["data"] == found[1]["data"] == "mine.npz"
    assert found[0]["instance"] == data(1).digest


def test_what_cannot_be_recorded_exactly_is_refused(tmp_path):
    with pytest.raises(TypeError, match="TaskSpectrum cannot be recorded exactly: give plain values or arrays"):
        iclglass.save_instance(data(1), tmp_path / "a.nc", parameters={"tasks": SPIKED})
