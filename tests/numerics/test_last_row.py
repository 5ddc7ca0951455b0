"""The layer at finite D: which last feature, or none; the theory of every prompt its own task for each of them."""

import json

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow, refuse_without_dimension
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.phase_diagram import phase_diagram
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.spectrum import zero_eigenvalue_fraction
from iclglass.numerics.state_evolution import state_evolution
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE
from iclglass.numerics.sweep import sweep

SCALED = {"last_feature": "scaled-tokens"}
ABSENT = {"last_row": False}
POINT = {"task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1, "label_noise": 0.25, "temperature": 0.5}
# Central differences with a relative step of 1e-4: (1e-4)^2 times a third derivative of order 10.
DIFFERENCE = 1e-6
# Solvers iterate to 1e-15; sums of a thousand nodes and differences of numbers of order one.
ROUNDING = 1e-11


@pytest.mark.parametrize("task_diversity", [0.6, 3.0])
def test_without_last_row_is_a_last_feature_of_no_size(task_diversity, monkeypatch):
    """g_2 drops out: spins that no prompt reaches keep their prior and leave the block alone."""
    point = POINT | {"task_diversity": task_diversity, "dimension": 8}
    absent = solve_finite(**point, **ABSENT)
    monkeypatch.setattr(LastRow, "scale", lambda self, dimension: 1e-9 if self.last_row else 0.0)
    silent = solve_finite(**point)
    for name in ("m", "q", "q_self", "chi", "e_icl", "e_icl_gibbs", "e_idg", "e_train", "replicon"):
        assert abs(getattr(absent, name) - getattr(silent, name)) < ROUNDING * max(1, abs(getattr(silent, name))), name
    assert absent.last_row == 0
    assert abs(absent.contrast - absent.m / np.sqrt(absent.q)) < ROUNDING
    assert abs(absent.contrast - silent.contrast * np.sqrt(9 / 8)) < ROUNDING
    # D spins of the prior beta lam/(2 D) W^2, in the variable D s W
    prior = -0.5 / (2 * 64) * 8 * (np.log(2 * np.pi * 0.5 / 64 / (0.1 / 8)) + 2 * np.log(8 * 1e-9))
    assert abs(silent.free_energy - absent.free_energy - prior) < ROUNDING


def test_the_last_feature_scales_as_it_says():
    """In scaled-tokens the response of the last row to its ridge is that of features 1/sqrt(D) smaller."""
    assert LastRow().scale(25) == 1.0
    assert LastRow("scaled-tokens").scale(25) == 0.2
    assert LastRow(last_row=False).scale(25) == 0.0
    assert [LastRow(**layer).rows(25) for layer in ({}, SCALED, ABSENT)] == [26, 26, 25]
    # Many prompts: weights are the least-squares ones plus noise, W_last' = sqrt(D) W_last, prediction for prediction.
    point = {"dimension": 10, "task_diversity": 50.0, "context_length": 1.0, "ridge": 0.0, "label_noise": 0.1}
    unit, scaled = solve_finite(**point), solve_finite(**point, **SCALED)
    assert abs(scaled.last_row / unit.last_row - 10) < 1e-9
    for name in ("m", "q", "e_icl", "e_train"):  # without ridge nothing else depends on the size
        assert abs(getattr(unit, name) - getattr(scaled, name)) < ROUNDING, name


def test_the_number_of_spins_moves_the_threshold():
    """P = D^2 without last row, D(D + 1) with it; fewer prompts than spins are fitted exactly."""
    size = 10
    point = {"dimension": size, "context_length": 2.0, "ridge": 0.0}
    for layer, spins in (({}, 110), (SCALED, 110), (ABSENT, 100)):
        for prompts in (spins - 1, spins, spins + 1):
            found = solve_finite(task_diversity=prompts / size**2, **point, **layer)
            if prompts == spins:
                assert found.status == Status.DIVERGES
            else:
                assert found.status == Status.CONVERGED
                assert (found.e_train == 0) == (prompts < spins)
                assert np.isinf(found.chi) == (prompts < spins)
    axes = {"task_diversity": [0.5, 2.0], "context_length": [1.0, 2.0]}
    for layer, tau in (({}, 1.1), (SCALED, 1.1), (ABSENT, 1.0)):
        (line,) = phase_diagram(**axes, dimension=size, **layer).lines
        assert np.allclose(line.parts[0][:, 0], tau, rtol=0, atol=1e-12)
    assert zero_eigenvalue_fraction(dimension=10, prompts=60, last_row=False) == 0.4
    assert zero_eigenvalue_fraction(dimension=10, prompts=101, last_row=False) == 0.0


def test_below_the_threshold_the_layers_differ_in_order_one_over_d():
    """5 % for the large last feature at D = 100, of order 1/D; the small one is nearly as good as none."""
    point = {"task_diversity": 0.2, "context_length": 1.0, "label_noise": 0.01, "ridge": 1e-8}
    sizes = np.array([100, 200, 400])
    unit, scaled, absent = (solve_finite(dimension=sizes, **point, **a).e_icl for a in ({}, SCALED, ABSENT))
    assert np.all(unit > absent)
    assert np.all(absent > scaled)
    large, small = (unit - scaled) * sizes, (absent - scaled) * sizes
    assert 0.04 < unit[0] / scaled[0] - 1 < 0.05
    for gap in (large, small):  # a coefficient of 1/D with a correction of relative order 1/D
        assert 0.4 < (gap[2] - gap[1]) / (gap[1] - gap[0]) < 0.6
        assert abs(gap[2] / gap[0] - 1) < 0.1


def test_a_sweep_reports_its_layer():
    for layer in ({}, SCALED, ABSENT):
        found = sweep(task_diversity=[1.5, 2.0], context_length=1.0, dimension=8, **layer)
        recorded = json.loads(found.attrs[PROVENANCE])["parameters"]
        full = {"last_feature": "unit-tokens", "last_row": True} | layer
        assert {name: recorded[name] for name in full} == full
        direct = solve(task_diversity=2.0, context_length=1.0, dimension=8, **layer)
        assert abs(found.e_icl.values[1] - direct.e_icl) < ROUNDING


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            {"last_feature": "tokens"},
            ParameterError,
            "last_feature must be one of unit-tokens, scaled-tokens, got 'tok",
        ),
        ({"last_feature": None}, ParameterTypeError, "last_feature must be one of"),
        ({"last_row": None}, ParameterTypeError, "last_row must be True or False, got NoneType None"),
        ({"last_row": 1}, ParameterTypeError, "last_row must be True or False, got"),
        ({**SCALED, **ABSENT}, ParameterError, "without the last row has no last feature"),
    ],
)
def test_a_layer_without_meaning_is_refused(layer, error, message):
    for make in (LastRow, lambda **layer: Parameters(**POINT, dimension=8, **layer)):
        with pytest.raises(error, match=message):
            make(**layer)


def test_without_dimension_a_layer_has_no_meaning():
    point = {"task_diversity": 2.0, "context_length": 1.0}
    axes = {"task_diversity": [1.5, 2.0], "context_length": [1.0, 2.0]}
    for layer, message in (
        (SCALED, "last_feature = 'scaled-tokens' has no meaning at D -> infinity.*give a dimension"),
        (ABSENT, "last_row = False has no meaning at D -> infinity.*give a dimension"),
    ):
        for function, given in ((solve, point), (sweep, point), (state_evolution, point), (phase_diagram, axes)):
            with pytest.raises(ParameterError, match=message):
                function(**given, **layer)
    refuse_without_dimension(UNIT_TOKENS)
    assert solve(**point, last_feature="unit-tokens", last_row=True).e_icl == solve(**point).e_icl
