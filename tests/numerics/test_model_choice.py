"""A model chosen through parameters: what goes together, what is solved, what files and diagrams say of it."""

import json
import pickle

import numpy as np
import pytest
import xarray as xr

import iclglass
from iclglass.numerics import model_choice
from iclglass.numerics.errors import ConvergenceError, ParameterError, ParameterTypeError
from iclglass.numerics.model_choice import chosen, is_builtin
from iclglass.numerics.parameters import STRENGTHS, WORDS, Parameters
from iclglass.numerics.phase_diagram import default_lines, phase_diagram
from iclglass.numerics.plotting.sweeps import draw_sweep
from iclglass.numerics.saddle_point import solve, solve_points
from iclglass.numerics.solution import OBSERVABLES, OF_MODELS
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE
from iclglass.numerics.sweep import sweep
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.replica import symbols as S
from iclglass.replica.losses import LABELS, LOSSES
from iclglass.replica.measures import MEASURES
from tests.numerics import stand_in

POINT = {"task_diversity": 2.0, "context_length": 4.0}
OWN = iclglass.Model(loss=lambda y, f: (y - f) ** 2, penalty=lambda s: S.l1 * s**2)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("iclglass.numerics.handshake.solve_model", stand_in.solve_model)


def parameters(**given):
    return Parameters(**POINT, **given)


def test_the_words_are_those_that_have_a_meaning():
    assert set(WORDS["loss"]) <= set(LOSSES)
    assert set(WORDS["labels"]) == set(LABELS)
    assert set(WORDS["spins"]) == set(MEASURES)
    assert set(model_choice.DISCRETE) == {name for name, measure in MEASURES.items() if measure.discrete}
    assert {name for name in WORDS["loss"] if "linear" not in LOSSES[name].labels} == set(model_choice.TWO_VALUES)
    for name, known in STRENGTHS.items():
        assert getattr(S, name).name == name
        assert getattr(parameters(), name) == known.default


@pytest.mark.parametrize("name", STRENGTHS)
@pytest.mark.parametrize("value", [-1, 0, float("nan"), float("inf"), [1.0, -1e-300]], ids=str)
def test_a_strength_out_of_range_is_refused(name, value):
    if value == 0 and name in ("l1", "nuclear"):
        assert is_builtin(parameters(**{name: value}))
        return
    with pytest.raises(ParameterError, match=rf"^{name} = .* must be finite and >=? 0: "):
        parameters(**{name: value})


@pytest.mark.parametrize("name", [*WORDS, *STRENGTHS, "model"])
def test_something_else_is_refused_by_name(name):
    for wrong in (1j, b"x", [None], {"a": 1}, object(), True):
        with pytest.raises(ParameterTypeError, match=f"^{name} must be"):
            parameters(**{name: wrong})
    if name in WORDS:
        with pytest.raises(ParameterError, match=f"^{name} must be one of {WORDS[name][0]}"):
            parameters(**{name: "lasso"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ansatz": "1rsb", "loss": "huber"}, "ansatz = '1rsb' is for squared error and linear labels"),
        ({"ansatz": "1rsb", "labels": "sign"}, "ansatz = '1rsb' is for squared error and linear labels"),
        ({"ansatz": "1rsb", "nuclear": 1.0}, "ansatz = '1rsb' does not go with nuclear"),
        ({"ansatz": "1rsb", "dimension": 10}, "ansatz = '1rsb' is for D -> infinity: leave dimension out"),
        ({"loss": "log_loss"}, "loss = 'log_loss' does not go with labels = 'linear'"),
        ({"loss": "hinge"}, "loss = 'hinge' does not go with labels = 'linear'"),
        ({"nuclear": 1.0, "l1": 1.0}, "nuclear does not go with l1"),
        ({"nuclear": 1.0, "spins": "nonnegative"}, "nuclear does not go with spins = 'nonnegative'"),
        ({"nuclear": 1.0, "temperature": 1.0}, "nuclear does not go with a temperature"),
        ({"nuclear": 1.0, "model": OWN}, "nuclear does not go with an own model"),
        *(({"l1": 1.0, "spins": name}, f"l1 does not go with spins = '{name}'") for name in model_choice.DISCRETE),
        ({"spacing": 2.0}, "spacing does not go with spins = 'real'"),
        ({"spacing": 2.0, "spins": "nonnegative"}, "spacing does not go with spins = 'nonnegative'"),
        ({"huber_threshold": 2.0}, "huber_threshold does not go with loss = 'squared_error'"),
        ({"labels": "sign", "distinct_tasks": 2.0}, "a finite distinct_tasks does not go with this model"),
        ({"l1": 1.0, "tasks": TaskSpectrum.power_law(1.0)}, "a spectrum of tasks does not go with this model"),
        ({"l1": 1.0, "last_row": False}, "last_row = False has no meaning at D -> infinity"),
        *(({"model": OWN, word: WORDS[word][1]}, f"{word} = .* beside a model") for word in WORDS if word != "ansatz"),
        ({"model": OWN, "ridge": 0.5}, "ridge is given beside a model whose loss and penalty do not have it .*: l1"),
        ({"model": OWN, "spacing": 2.0}, "spacing is given beside a model"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_in_words(given, words):
    with pytest.raises(ParameterError, match=words):
        solve(**POINT, **given)


def test_roads_that_have_only_ridge_regression_say_so():
    with pytest.raises(ParameterError, match="method = 'iteration' is for ridge and squared error"):
        solve(**POINT, l1=1.0, method="iteration")
    for function in (iclglass.learning_curve, iclglass.best_ridge, iclglass.state_evolution):
        with pytest.raises(TypeError, match="unexpected keyword argument 'l1'"):
            function(**POINT, l1=1.0)


def test_the_ridge_gives_way_to_another_penalty_unless_it_is_given():
    assert parameters().ridge == 0.1
    for name in ("l1", "nuclear"):
        assert parameters(**{name: 0.0}).ridge == 0.1
        assert parameters(**{name: [0.0, 0.5]}).ridge.tolist() == [0.0, 0.0]
        assert parameters().replaced(**{name: 0.5}).ridge == 0
        assert parameters(**{name: 0.5}).replaced(**{name: 0.0}).ridge == 0.1
        assert parameters(**{name: 0.5}, ridge=0.1).ridge == 0.1
        assert pickle.loads(pickle.dumps(parameters())).replaced(**{name: 1}).ridge == 0  # noqa: S301
    assert parameters(spins="binary").ridge == 0.1
    assert parameters(model=OWN).ridge == 0


def test_a_choice_is_a_model_and_its_strengths():
    found = chosen(parameters(l1=[0.5, 1.0], loss="huber"))
    assert {name: array.tolist() for name, array in found.strengths.items()} == {
        "lam": [0.0, 0.0],
        "l1": [0.5, 1.0],
        "huber_threshold": [1.35, 1.35],
    }
    assert set(chosen(parameters(spins="ternary")).strengths) == {"lam", "spacing"}
    assert chosen(parameters(model=OWN, l1=2.0)).model is OWN
    nuclear = chosen(parameters(nuclear=0.5))
    assert nuclear.nuclear
    assert set(nuclear.strengths) == {"lam", "nuclear"}
    assert chosen(parameters(labels="sign")).model is chosen(parameters(labels="sign", ridge=1.0)).model


@pytest.mark.parametrize(("loss", "spins"), [*zip(WORDS["loss"], WORDS["spins"], strict=True)])
def test_words_that_go_together_are_a_model(loss, spins):
    model = chosen(parameters(loss=loss, labels="sign", spins=spins)).model
    assert (model.loss, model.labels, model.spins) == (LOSSES[loss].expression, "sign", spins)


def test_a_solution_has_the_numbers_of_the_model_and_its_status(quick):
    found = solve_points(parameters(l1=0.5, temperature=0.7).replaced(task_diversity=[1.0, 2.0, 4.0]))
    assert found.status.tolist() == [Status.NOT_CONVERGED, Status.CONVERGED, Status.RS_UNSTABLE]
    assert found.solved.tolist() == [False, True, True]
    assert found.converged.tolist() == [False, True, False]
    for name in (*OBSERVABLES, "test_loss", "density"):
        assert np.isnan(getattr(found, name)[0])
    assert np.isfinite(found.e_icl[1:]).all()
    assert np.isnan(found.entropy).all()
    assert (found.error_rate, found.rank) == (None, None)
    assert "2 of 3 points converged, 1 of them where replica symmetry is unstable" in repr(found)
    assert set(found.to_dict()) & set(OF_MODELS) == {"test_loss", "train_loss", "density"}
    assert np.isfinite(solve(**POINT, labels="sign").error_rate)
    assert np.isnan(solve(**POINT, labels="sign").e_icl)
    with pytest.raises(ConvergenceError, match="task_diversity = 1"):
        solve(task_diversity=1, context_length=1, l1=0.5)
    assert Status(int(solve(**POINT, spins="binary").status)) is Status.RS_UNSTABLE


def test_the_ridge_regression_solution_has_no_more_numbers_than_before():
    assert not set(solve(**POINT).to_dict()) & set(OF_MODELS)
    assert not set(sweep(**POINT).variables) & (set(OF_MODELS) | set(STRENGTHS))
    assert not set(Parameters(**POINT).record()) & (set(WORDS) | set(STRENGTHS) | {"model"})


def test_strengths_are_axes_and_files_say_what_was_chosen(quick):
    found = sweep(**POINT, l1=[0.0, 0.5, 1.0], loss="huber", huber_threshold=[1.0, 2.0])
    assert found.e_icl.dims == ("l1", "huber_threshold")
    assert found.l1.attrs["symbol"] == "l₁"
    record = json.loads(found.attrs[PROVENANCE])["parameters"]
    assert (record["loss"], record["l1"], record["ridge"]) == ("huber", [0.0, 1.0, 3], 0.0)
    zero = sweep(**POINT, l1=[0.0])
    assert zero.l1.values.tolist() == [0.0]
    assert zero.e_icl.item() == solve(**POINT).e_icl
    assert sweep(**POINT, spins="binary", spacing=2.0).spacing == 2
    own = json.loads(sweep(**POINT, model=OWN, l1=1.0).attrs[PROVENANCE])["parameters"]["model"]
    assert own["loss"] == "(-f + y)**2"
    assert "sigma" in own["penalty"]
    named = solve(**POINT, l1=xr.DataArray([0.5, 1.0], dims="l1", coords={"l1": [0.5, 1.0]}))
    assert named.density.dims == ("l1",)
    assert named.to_dataset().l1.values.tolist() == [0.5, 1.0]


def test_lines_of_a_model_are_located(quick):
    axes = {"task_diversity": np.linspace(0.55, 3.0, 6), "l1": np.linspace(0.0, 2.0, 9)}
    diagram = phase_diagram(**axes, context_length=4.0, lines=["minimum=l1", "contrast=0.6", "at", "peak=l1"])
    lines = {line.name: np.concatenate([*line.parts, np.empty((0, 2))]) for line in diagram.lines}
    tau, l1 = lines["minimum=l1"].T
    assert len(tau) > 5
    np.testing.assert_allclose(l1, tau / 2, atol=1e-8)
    np.testing.assert_allclose(lines["contrast=0.6"][:, 0], 1.5, atol=1e-12)
    assert not len(lines["at"])  # at T = 0 it is unstable everywhere
    assert not len(lines["peak=l1"])
    labelled = phase_diagram(**axes, context_length=4.0, labels="sign", lines=["minimum=l1"])
    np.testing.assert_allclose(np.diff(labelled.lines[0].parts[0] @ [0.5, -1.0]), 0, atol=1e-8)


def test_the_de_almeida_thouless_line_is_located_and_what_is_beyond_it_hatched(quick):
    axes = {"task_diversity": np.linspace(1.5, 3.0, 4), "temperature": np.linspace(0.1, 1.0, 5)}
    diagram = phase_diagram(**axes, context_length=4.0, spins="binary")
    assert [line.name for line in diagram.lines] == ["at", "contrast=0.8"]
    vertices = np.concatenate(diagram.lines[0].parts)
    np.testing.assert_allclose(vertices[:, 1], vertices[:, 0] / 4, atol=1e-12)
    for found in (diagram, diagram.dataset, sweep(task_diversity=[2.0, 3.0, 5.0], context_length=4.0, spins="binary")):
        figure = draw_sweep(found, observable="q")
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("de Almeida-Thouless line" in names) == (found is diagram)
        assert names.count("replica symmetry unstable") == 1
        assert any(patch.get_hatch() for patch in figure.axes[0].patches)
    again = iclglass.PhaseDiagram.from_dataset(diagram.to_dataset())
    assert (again.x, again.y) == ("task_diversity", "temperature")


def test_ridge_regression_is_stable_and_has_no_such_line():
    axes = {"task_diversity": [0.5, 1.0, 2.0], "context_length": [1.0, 2.0]}
    assert phase_diagram(**axes, ridge=0.0, lines=["at"]).lines[0].parts == ()


@pytest.mark.parametrize("line", ["interpolation-threshold", "crossover", "memorisation-threshold"])
def test_lines_of_ridge_regression_are_refused_for_other_models(line, quick):
    axes = {"task_diversity": [0.5, 2.0], "context_length": [1.0, 2.0]}
    with pytest.raises(ParameterError, match=rf"line '{line}' is of ridge and squared error"):
        phase_diagram(**axes, l1=1.0, lines=[line])


def test_default_lines():
    assert default_lines(parameters(l1=1.0)) == ("contrast=0.8",)
    assert default_lines(parameters(model=OWN)) == ("at", "contrast=0.8")
    assert default_lines(parameters(dimension=8)) == ("interpolation-threshold",)


def test_a_picture_says_which_model(quick):
    figure = draw_sweep(sweep(**{**POINT, "task_diversity": [2.0, 3.0]}, l1=0.5, loss="absolute_error"))
    title = figure.get_suptitle()
    assert r"$\ell_1 = 0.5$" in title
    assert "absolute error" in title
    with pytest.raises(ParameterError, match="dataset has no error_rate"):
        draw_sweep(sweep(**{**POINT, "task_diversity": [2.0, 3.0]}, l1=0.5), observable="error_rate")


@pytest.mark.slow
def test_lasso_by_the_handshake_has_the_numbers_of_an_independent_solution():
    """Theory notes: m, q, chi, errors and density of lasso at tau = 1, alpha = 2, l1 = 0.5."""
    found = solve(task_diversity=1.0, context_length=2.0, l1=0.5)
    expected = {"m": 0.6666667, "q": 0.4871010, "chi": 0.3315639, "e_icl": 0.3973182, "e_train": 0.1772124}
    expected |= {"density": 0.3321516, "replicon": 0.6678484}
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-7), name
