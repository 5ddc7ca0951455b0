"""Learning curves against exact gradient flow of drawn data sets, extrapolated in 1/D; descent against flow."""

import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import threadpool_limits

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.instance.spin_glass import energy, hessian
from iclglass.numerics.learning_curve import learning_curve
from iclglass.validation.gradient_flow import gradient_flow, initial_weights
from iclglass.validation.observables import weight_quantities
from iclglass.validation.prompts import draw_prompts
from tests.validation.descent import euler
from tests.validation.scores import CURVES, curve_gaps, failures

TIMES = (0.1, 0.5, 2.0, 10.0)
# Probability that a correct theory fails one comparison of all quantities at all times.
FALSE_ALARM = 1e-4
# Products of n x n matrix functions of condition number below 1e3.
LINEAR_ALGEBRA = 1e-11

NOISY = {"context_length": 1.0, "label_noise": 0.2}
CASES = {
    "overfitting with label noise": {**NOISY, "task_diversity": 1.4, "ridge": 0.1, "initial_overlap": 0.7},
    "flat directions": {"task_diversity": 0.5, "context_length": 2.0, "ridge": 0.05, "initial_overlap": 0.5},
    "ridgeless interpolator": {**NOISY, "task_diversity": 0.6, "label_noise": 0.1, "ridge": 0.0},
}


def exact_flow(point, dimension, sample, seed):
    """The four quantities at all times of one data set, and the integers used."""
    rng = np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(dimension, sample)))
    count, context = round(point["task_diversity"] * dimension**2), round(point["context_length"] * dimension)
    noise = point.get("label_noise", 0.0)
    data = draw_prompts(dimension=dimension, context=context, prompts=count, label_noise=noise, rng=rng)
    start = initial_weights(dimension=dimension, overlap=point.get("initial_overlap", 0.0), rng=rng)
    weights = gradient_flow(data, point["ridge"] / dimension, TIMES, start=start)
    found = [weight_quantities(data, matrix) for matrix in weights]
    return np.array([[row[name] for row in found] for name in CURVES])


def draw(point, dimensions, samples, seed):
    """(sizes, samples, quantities, times)."""
    with threadpool_limits(limits=1):
        return np.array([[exact_flow(point, size, j, seed) for j in range(samples)] for size in dimensions])


def wrong(point, dimensions, values, theory=learning_curve):
    return failures(curve_gaps(point, dimensions, TIMES, values, false_alarm=FALSE_ALARM, theory=theory))


SMALL = (8, 12, 20)
LARGE = (10, 16, 24)


@pytest.fixture(scope="module")
def small():
    point = CASES["flat directions"]
    return point, SMALL, draw(point, SMALL, 96, seed=1)


def test_flow_of_drawn_data_sets(small):
    assert wrong(*small) == []


def rescaled(**factors):
    """The theory with some of its arguments multiplied."""

    def theory(**arguments):
        changed = {name: np.asarray(arguments[name]) * factor for name, factor in factors.items()}
        return learning_curve(**(arguments | changed))

    return theory


def of_wrong_sign(**arguments):
    """Ascent for descent, as far as a bounded theory can say it: the curve mirrored about its start."""
    curve, start = learning_curve(**arguments), learning_curve(**(arguments | {"time": 0.0}))
    mirrored = {name: 2 * getattr(start, name) - getattr(curve, name) for name in CURVES}
    return type("Mirrored", (), mirrored)


@pytest.mark.parametrize(
    "theory",
    [
        rescaled(time=2.0),
        rescaled(time=0.5),
        rescaled(initial_overlap=0.0),
        rescaled(ridge=4.0),
        rescaled(task_diversity=1.5),
        of_wrong_sign,
    ],
    ids=["time x 2", "time / 2", "no start", "ridge x 4", "tau x 1.5", "wrong sign"],
)
def test_wrong_theories_are_caught(small, theory):
    assert wrong(*small, theory=theory) != []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_flow_of_larger_data_sets(case):
    point = CASES[case]
    values = draw(point, LARGE, 128, seed=2)
    assert wrong(point, LARGE, values) == []
    assert wrong(point, LARGE, values, theory=rescaled(time=1.5)) != []


@pytest.fixture(scope="module", params=[40, 12], ids=["more prompts than spins", "fewer"])
def data(request):
    return draw_prompts(
        dimension=4, context=8, prompts=request.param, label_noise=0.1, rng=np.random.default_rng(request.param)
    )


@pytest.mark.parametrize("ridge0", [0.2, 0.0])
def test_flow_is_the_matrix_exponential(data, ridge0):
    """The augmented system d/ds (W, 1) = [[-A, h], [0, 0]] (W, 1), by Pade approximation."""
    start = initial_weights(dimension=4, overlap=0.6, rng=np.random.default_rng(3))
    n = data.spins
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = -hessian(data) - ridge0 * np.eye(n)
    system[:n, n] = FeatureOperator(data.context, data.query).adjoint(data.label).ravel() / data.prompts
    for time, weights in zip((0.05, 0.7), gradient_flow(data, ridge0, (0.05, 0.7), start=start), strict=True):
        exact = scipy.linalg.expm(system * 4 * time) @ np.append(start.ravel(), 1.0)
        np.testing.assert_allclose(weights.ravel(), exact[:n], rtol=0, atol=LINEAR_ALGEBRA)


def test_descent_converges_to_the_flow_at_first_order(data):
    start = initial_weights(dimension=4, overlap=0.6, rng=np.random.default_rng(3))
    exact = gradient_flow(data, 0.2, 0.3, start=start)[0]
    steps = (2000, 4000, 8000)
    errors = [np.linalg.norm(euler(data, 0.2, time=0.3, steps=count, start=start) - exact) for count in steps]
    # The next order: relative size steps^-1 times (rate x time), which is below 40 here.
    for coarse, fine, count in zip(errors[:-1], errors[1:], steps[:-1], strict=True):
        assert coarse / fine == pytest.approx(2, rel=40 / count)
    # A wrong unit of time does not converge: the error stays.
    other = gradient_flow(data, 0.2, 0.6, start=start)[0]
    assert np.linalg.norm(euler(data, 0.2, time=0.3, steps=8000, start=start) - other) > 100 * errors[-1]


def test_energy_falls_along_the_flow_by_the_squared_gradient(data):
    times = np.linspace(0, 0.5, 400)
    weights = gradient_flow(data, 0.2, times)
    values = np.array([energy(data, w, 0.2) for w in weights])
    assert np.all(np.diff(values) < 0)
    features = FeatureOperator(data.context, data.query)
    w = weights[200]
    gradient = 0.2 * w - features.adjoint(data.label - features.predict(w)) / data.prompts
    slope = (values[201] - values[199]) / (times[201] - times[199])
    # Central difference: relative error of order (rate x step)^2.
    assert slope == pytest.approx(-data.dimension * np.sum(gradient**2), rel=1e-3)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"times": [1.0, -1.0]}, "times"),
        ({"times": np.nan}, "times"),
        ({"times": 1.0, "start": np.zeros((4, 4))}, "start"),
    ],
)
def test_bad_input(data, given, name):
    with pytest.raises(ParameterError, match=name):
        gradient_flow(data, 0.1, **given)
