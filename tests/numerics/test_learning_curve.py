"""Learning curves against 30-digit quadrature, moments, the saddle point, and the energy balance of the flow."""

import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.learning_curve import LearningCurve, learning_curve
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.status import Status
from tests.tolerances import KNOWN_VALUE, RANDOM_MATRIX, SADDLE_POINT

VALUES = ("m", "q", "e_icl", "e_idg", "e_train", "energy")
# The error estimate is an estimate: it may be too small by this factor where both errors are rounding.
ESTIMATE = 4.0


def random_points(count, seed):
    """Parameters over the range of interest, a third of them at and next to the hard edge tau = 1."""
    rng = np.random.default_rng(seed)
    tau = 10 ** rng.uniform(-1.5, 1.5, count)
    near = count // 3
    tau[:near] = 1 + np.where(np.arange(near) == 0, 0, rng.choice([-1, 1], near) * 10 ** rng.uniform(-9, -2, near))
    lam = 10 ** rng.uniform(-8, 1, count)
    lam[::4] = 0
    return {
        "task_diversity": tau,
        "context_length": 10 ** rng.uniform(-1, 1.5, count),
        "label_noise": rng.choice([0.0, 0.2, 2.0], count),
        "ridge": lam,
        "initial_overlap": rng.choice([0.0, 0.5, 3.0], count),
        "test_context_length": 10 ** rng.uniform(-1, 1.5, count),
        "time": 10 ** rng.uniform(-2, 3.5, count),
    }


def marchenko_pastur(function, tau):
    """< function(x) >: the density in x, atom included, by tanh-sinh on pieces that shrink towards the lower edge."""
    c = 1 / tau
    low, high = (1 - mpmath.sqrt(c)) ** 2, (1 + mpmath.sqrt(c)) ** 2
    pieces = [low + (high - low) * mpmath.mpf(10) ** -k for k in (12, 9, 6, 4, 2, 1, 0)]

    def weighted(x):
        return mpmath.sqrt(abs((high - x) * (x - low))) / (2 * mpmath.pi * c * x) * function(x)

    bulk = mpmath.quad(weighted, [low, *pieces])
    return bulk + (1 - tau) * function(mpmath.mpf(0)) if tau < 1 else bulk


def precise(digits=30, **parameters):
    """The formulas of the theory as they stand, at 30 digits, from the definition of the law."""
    with mpmath.workdps(digits):
        p = {name: mpmath.mpf(float(value)) for name, value in parameters.items()}
        tau, lam, rho, t, q0 = (p[n] for n in ("task_diversity", "ridge", "label_noise", "time", "initial_overlap"))
        a, a_test = (1 + (1 + rho) / p[name] for name in ("context_length", "test_context_length"))
        sigma2 = 1 + rho - 1 / a

        def grown(x):
            rate = a * x + lam
            return a * x * (t if rate == 0 else -mpmath.expm1(-rate * t) / rate)

        def q_of(x):
            # noise: a x (1-e)^2/(a x + lam)^2 without dividing by the a x that grown contains
            rate = a * x + lam
            gain = t if rate == 0 else -mpmath.expm1(-rate * t) / rate
            return grown(x) ** 2 / a**2 + sigma2 / tau * a * x * gain**2 + q0 * mpmath.exp(-2 * rate * t)

        def train_of(x):
            z = grown(x)
            return (
                x * (1 - z) ** 2 / a
                - sigma2 / tau * (1 - (1 - z) ** 2)
                + q0 * a * x * mpmath.exp(-2 * (a * x + lam) * t)
            )

        m = marchenko_pastur(grown, tau) / a
        q = marchenko_pastur(q_of, tau)
        e_train = sigma2 + marchenko_pastur(train_of, tau)
        return {
            "m": m,
            "q": q,
            "e_icl": 1 + rho - 2 * m + a_test * q,
            "e_idg": 1 + rho - 2 * m + a * q,
            "e_train": e_train,
            "energy": (e_train + lam * q) / 2,
        }


def largest_deviation(points):
    curve = learning_curve(**points)
    assert np.all(curve.converged)
    worst = 0.0
    for index in range(points["time"].size):
        exact = precise(**{name: array[index] for name, array in points.items()})
        for name in VALUES:
            # e_train of an interpolator falls to zero: there the error is absolute.
            scale = max(abs(exact[name]), mpmath.mpf("1e-3") if name in ("e_train", "energy") else 0)
            deviation = float(abs(mpmath.mpf(float(getattr(curve, name)[index])) - exact[name]) / scale)
            worst = max(worst, deviation)
            assert deviation <= ESTIMATE * curve.error_estimate[index], (name, index)
    return worst


def test_thirty_digits_at_random_points():
    assert largest_deviation(random_points(3, seed=1)) <= RANDOM_MATRIX


@pytest.mark.slow
def test_thirty_digits_at_many_random_points():
    assert largest_deviation(random_points(45, seed=2)) <= RANDOM_MATRIX


def grid(count, seed):
    rng = np.random.default_rng(seed)
    tau = 10 ** rng.uniform(-3, 3, count)
    near = count // 3
    tau[:near] = 1 + rng.choice([-1, 1], near) * 10 ** rng.uniform(-12, -1, near)
    return {
        "task_diversity": tau,
        "context_length": 10 ** rng.uniform(-2, 2, count),
        "label_noise": rng.uniform(0, 2, count),
        "test_context_length": 10 ** rng.uniform(-2, 2, count),
        "ridge": 10 ** rng.uniform(-12, 3, count),
    }


@pytest.mark.parametrize(("ridgeless", "initial_overlap"), [(False, 0.0), (False, 2.0), (True, 0.0)])
def test_infinite_time_is_the_saddle_point(ridgeless, initial_overlap):
    """Whatever W0 with a ridge; the minimum-norm solution without, on both sides of tau = 1."""
    points = grid(3000, seed=3)
    if ridgeless:
        points["ridge"] = np.zeros(3000)
    curve = learning_curve(time=np.inf, initial_overlap=initial_overlap, **points)
    trained = solve(**points)
    assert np.all(curve.converged)
    for name in VALUES:
        np.testing.assert_allclose(getattr(curve, name), getattr(trained, name), rtol=SADDLE_POINT, atol=0)


def test_a_long_finite_time_is_infinite_time():
    points = grid(300, seed=4) | {"ridge": np.full(300, 0.3)}
    late, end = (learning_curve(time=time, initial_overlap=1, **points) for time in (300.0, np.inf))
    for name in VALUES:
        np.testing.assert_allclose(getattr(late, name), getattr(end, name), rtol=KNOWN_VALUE)


def test_without_ridge_flat_directions_keep_their_initial_weights():
    tau, q0 = 0.25, 2.0
    points = {"task_diversity": tau, "context_length": 2.0, "ridge": 0.0, "label_noise": 0.1}
    with_start, without = (learning_curve(time=np.inf, initial_overlap=q, **points) for q in (q0, 0))
    assert with_start.q - without.q == pytest.approx(q0 * (1 - tau), rel=KNOWN_VALUE)
    assert with_start.m == pytest.approx(without.m, rel=KNOWN_VALUE)
    assert with_start.e_train == without.e_train == 0


def test_time_zero_is_the_start():
    points = grid(500, seed=5)
    curve = learning_curve(time=0, initial_overlap=0.7, **points)
    rho = points["label_noise"]
    a, a_test = (1 + (1 + rho) / points[name] for name in ("context_length", "test_context_length"))
    assert np.all(curve.m == 0)
    expected = {"q": 0.7, "e_icl": 1 + rho + 0.7 * a_test, "e_idg": 1 + rho + 0.7 * a, "e_train": 1 + rho + 0.7 * a}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(curve, name), value, rtol=KNOWN_VALUE)


def test_energy_falls_by_the_squared_gradient():
    """H(t1) - H(t2) = int |grad|^2 dt, with |grad|^2 = < e^2 (x^2 + a sigma2 x/tau + q0 (a x + lam)^2) > by itself.

    It ties e_train to q: neither formula enters the gradient.
    """
    tau, alpha, rho, lam, q0 = 0.6, 1.5, 0.3, 0.2, 0.8
    a = 1 + (1 + rho) / alpha
    sigma2 = 1 + rho - 1 / a
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = 0.5 + 0.5 * nodes
    angle = np.pi * np.arange(1, 400) / 400
    x = 1 + 1 / tau + 2 * np.cos(angle) / np.sqrt(tau)
    bulk = 2 / 400 * np.sin(angle) ** 2 / x
    rate = a * x + lam
    decay = np.exp(-2 * rate * times[:, None])
    squared = (decay * (x**2 + a * sigma2 * x / tau + q0 * rate**2)) @ bulk
    squared += (1 - tau) * np.exp(-2 * lam * times) * q0 * lam**2
    curve = learning_curve(
        time=[0, 1], task_diversity=tau, context_length=alpha, label_noise=rho, ridge=lam, initial_overlap=q0
    )
    assert curve.energy[0] - curve.energy[1] == pytest.approx(0.5 * weights @ squared, rel=RANDOM_MATRIX)


def test_energy_and_train_error_never_rise():
    points = {name: array[:, None] for name, array in grid(300, seed=7).items()}
    time = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 200), [np.inf]])
    curve = learning_curve(time=time, initial_overlap=np.array([0.0, 1.0, 5.0] * 100)[:, None], **points)
    assert np.all(np.diff(curve.energy, axis=1) <= KNOWN_VALUE * curve.energy[:, :-1])
    without = learning_curve(time=time, **(points | {"ridge": 0.0}))
    # e_train of an interpolator underflows on the way, which is no failure.
    assert np.all(without.converged)
    assert np.all(np.diff(without.e_train, axis=1) <= KNOWN_VALUE * without.e_train[:, :-1])


def test_arrays_broadcast_and_blocks_do_not_matter():
    points = grid(700, seed=8)
    time = np.array([[0.1], [1.0], [np.inf]])
    curve = learning_curve(time=time, **points)
    assert isinstance(curve, LearningCurve)
    assert all(array.shape == (3, 700) for array in curve.to_dict().values())
    alone = learning_curve(time=1.0, **{name: array[650] for name, array in points.items()})
    assert alone.q.shape == ()
    assert alone.q == pytest.approx(curve.q[1, 650], rel=KNOWN_VALUE)
    assert learning_curve(time=[], task_diversity=1, context_length=1).m.shape == (0,)


def test_threshold_diverges_only_at_infinite_time():
    """e_icl at tau = 1 without ridge grows as sqrt(t): the log-log slope of its rise."""
    points = {"task_diversity": 1, "context_length": 1, "ridge": 0}
    end = learning_curve(time=np.inf, **points)
    assert Status(int(end.status)) == Status.DIVERGES
    assert np.isnan(end.e_icl)
    late = learning_curve(time=[1e12, 1e14], **points)
    assert np.log(late.e_icl[1] / late.e_icl[0]) / np.log(100) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("time", -1e-9, "time = -1e-09 must be >= 0"),
        ("time", [1.0, np.nan], "time = nan"),
        ("time", -np.inf, "time = -inf"),
        ("initial_overlap", -0.5, "initial_overlap = -0.5"),
        ("initial_overlap", np.nan, "initial_overlap = nan"),
        ("initial_overlap", np.inf, "finite and >= 0"),
        ("task_diversity", [1, 2, 3], r"time \(2,\)"),
        *[(name, value, name) for name in ("time", "initial_overlap") for value in ("1", None, 1j, [[1], [1, 2]])],
    ],
)
def test_values_out_of_range_are_refused(name, value, words):
    """What `Parameters` refuse is tested there."""
    with pytest.raises((ParameterError, ParameterTypeError), match=words):
        learning_curve(**({"time": [1.0, 2.0], "task_diversity": 1, "context_length": 1} | {name: value}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    time=st.floats(0, allow_infinity=True),
    initial_overlap=st.floats(0, allow_infinity=False),
    **{
        name: st.floats(0, exclude_min=True, allow_infinity=False)
        for name in ("task_diversity", "context_length", "test_context_length")
    },
    **{name: st.floats(0, allow_infinity=False) for name in ("label_noise", "ridge")},
)
def test_any_allowed_number_has_values_or_a_status(**arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = learning_curve(**arguments)
    values = np.array([getattr(curve, name) for name in (*VALUES, "error_estimate")])
    assert np.all(np.isfinite(values)) if curve.converged else np.all(np.isnan(values))
