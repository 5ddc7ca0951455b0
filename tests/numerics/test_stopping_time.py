"""The best stopping time against dense scans, 30-digit roots, and what theory says about when it is infinite."""

import mpmath
import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.status import Status
from iclglass.numerics.stopping_time import best_stopping_time
from tests.numerics.test_learning_curve import marchenko_pastur

# The contract: t* to 1e-8, relative.
LOCATED = 1e-8
# e_icl is compared with the least of a scan: rounding of sums of positive terms.
ROUNDING = 1e-13


def random_points(count, seed):
    rng = np.random.default_rng(seed)
    return {
        "task_diversity": 10 ** rng.uniform(-1, 1, count),
        "context_length": 10 ** rng.uniform(-1, 1, count),
        "label_noise": rng.uniform(0, 1, count),
        "ridge": np.where(rng.random(count) < 0.2, 0, 10 ** rng.uniform(-4, 1, count)),
        "initial_overlap": rng.choice([0, 0.5, 3], count),
        "test_context_length": 10 ** rng.uniform(-1, 1, count),
    }


def best_ridge(points):
    a = 1 + (1 + points["label_noise"]) / points["context_length"]
    return a * (a * (1 + points["label_noise"]) - 1) / points["task_diversity"]


def test_no_time_of_a_dense_scan_is_better():
    points = random_points(150, seed=1)
    best = best_stopping_time(**points)
    assert np.all(best.status == Status.CONVERGED)
    times = np.append(np.geomspace(1e-5, 1e6, 1000), np.inf)[:, None]
    least = learning_curve(time=times, **points).e_icl.min(axis=0)
    assert np.all(best.e_icl <= least * (1 + ROUNDING))
    # 1000 times over 11 decades: the nearest is within 1.3 %, where a minimum has risen by its square, times curvature.
    assert np.all(least - best.e_icl <= 1e-3)
    np.testing.assert_allclose(best.e_icl, learning_curve(time=best.time, **points).e_icl, rtol=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_root_of_the_derivative_to_thirty_digits(seed):
    """d e_icl/dt by its definition, -2 dm/dt + a_test dq/dt, at 30 digits, changes sign within 1e-8 of t*."""
    points = {name: array[:8] for name, array in random_points(8, seed=seed).items()}
    best = best_stopping_time(**points)
    index = int(np.flatnonzero(np.isfinite(best.time))[0])
    with mpmath.workdps(30):
        tau, alpha, rho, lam, q0, alpha_test = (mpmath.mpf(float(array[index])) for array in points.values())
        a, a_test = 1 + (1 + rho) / alpha, 1 + (1 + rho) / alpha_test
        noise = (a * (1 + rho) - 1) / tau

        def derivative(t):
            def integrand(x):
                rate = a * x + lam
                e = mpmath.exp(-rate * t)
                gain = t if rate == 0 else (1 - e) / rate
                return -2 * x * e + a_test * (2 * (x * x + noise * x) * gain * e - 2 * q0 * rate * e * e)

            return marchenko_pastur(integrand, tau)

        t = mpmath.mpf(float(best.time[index]))
        below, above = (derivative(t * (1 + sign * mpmath.mpf(LOCATED))) for sign in (-1, 1))
    assert below < 0 < above


def test_infinite_exactly_from_the_best_ridge_on():
    """q0 = 0 and a_test = a: below the best ridge every direction overfits in the end, above it none ever does."""
    points = {n: v for n, v in random_points(60, seed=3).items() if n not in ("test_context_length", "initial_overlap")}
    threshold = best_ridge(points)
    for factor, infinite in ((1 + 1e-9, True), (1 - 1e-9, False), (3, True), (0.3, False), (0, False)):
        best = best_stopping_time(**(points | {"ridge": factor * threshold}))
        assert np.all(np.isinf(best.time) == infinite), factor
        assert np.all(best.status == Status.CONVERGED)


def test_the_global_minimum_when_there_is_a_local_one():
    """Below tau = 1 flat directions forget W0 at the rate of the ridge alone: a local minimum at a finite time, and
    the least error in the end. Without ridge the same point is never to be trained to the end."""
    point = {
        "task_diversity": 0.1767,
        "context_length": 56.16,
        "label_noise": 1.0,
        "ridge": 0.1879,
        "initial_overlap": 0.5,
        "test_context_length": 0.01213,
    }
    curve = learning_curve(time=np.geomspace(1e-3, 1e2, 500), **point).e_icl
    local = (curve[1:-1] < curve[:-2]) & (curve[1:-1] < curve[2:])
    assert local.sum() == 1
    assert best_stopping_time(**point).time == np.inf
    assert np.isfinite(best_stopping_time(**(point | {"ridge": 0.0})).time)


def test_threshold_without_ridge_is_cured_by_stopping():
    best = best_stopping_time(task_diversity=1, context_length=2, ridge=0)
    assert Status(int(best.status)) == Status.CONVERGED
    assert np.isfinite(best.time)
    assert best.gain == np.inf
    assert best.e_icl < 1


def test_shapes_and_bad_input():
    assert best_stopping_time(task_diversity=[[1], [2]], context_length=[1, 2, 3]).time.shape == (2, 3)
    assert best_stopping_time(task_diversity=[], context_length=1).time.shape == (0,)
    with pytest.raises(ParameterError, match="initial_overlap"):
        best_stopping_time(task_diversity=1, context_length=1, initial_overlap=-1)
