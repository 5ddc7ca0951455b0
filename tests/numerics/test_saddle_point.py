"""solve(...) against independent roads: high precision, random matrices, published formulas, limits, thermodynamics."""

import math
import warnings
from functools import partial

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iclglass.numerics.saddle_point as module
from iclglass.numerics.errors import ConvergenceError, ParameterError, ParameterTypeError
from iclglass.numerics.precision import solve_digits
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES, SENTENCES
from iclglass.numerics.status import Status
from tests.numerics import pool_reference, reference
from tests.numerics.points import NAMES, random_points, relative, solved
from tests.tolerances import (
    AMPLITUDE,
    BRANCH,
    EXPONENT,
    ITERATION,
    KNOWN_VALUE,
    LIMIT,
    PUBLISHED,
    RANDOM_MATRIX,
    RESIDUAL,
    SADDLE_POINT,
    THERMODYNAMIC,
)


@pytest.fixture(scope="module", params=["one task per prompt", "pools"])
def compared(request):
    """300 points, their solution in double precision and the raw equations with 80 or 110 digits."""
    points, exact = random_points(20240523, 300), pool_reference.saddle_point
    if request.param != "pools":
        points, exact = points[:, :6], reference.saddle_point
    return points, solved(points), [exact(*map(float, point)) for point in points]


class TestAgainstHighPrecision:
    """Goal T1: relative error <= 1e-10 of every quantity at 300 points, edges included."""

    def test_every_quantity(self, compared, capsys):
        points, solution, exact = compared
        errors = {
            (name, index): relative(getattr(solution, name)[index], values[name])
            for index, values in enumerate(exact)
            for name in values
        }
        assert {name for name, _ in errors} == set(OBSERVABLES)
        name, index = max(errors, key=errors.get)
        with capsys.disabled():
            place = ", ".join(f"{key} = {value!r}" for key, value in zip(NAMES, points[index].tolist(), strict=False))
            print(f"\nT1: worst relative error of {len(points)} points {errors[name, index]:.2e}: {name} at {place}")
        assert errors[name, index] <= SADDLE_POINT

    def test_points_cover_the_edges(self, compared):
        points, solution, _ = compared
        tau, alpha, alpha_test, rho, lam, temperature, *kappa = points.T
        assert (solution.status == Status.CONVERGED).all()
        assert solution.converged.all()
        assert min(((lam == 0) & (tau < 1)).sum(), ((lam == 0) & (tau > 1)).sum(), (tau == 1).sum()) >= 10
        for values in (tau, *kappa):
            assert ((abs(values - 1) < 1e-6) & (values != 1)).sum() >= 5
        assert (alpha != alpha_test).sum() >= 50
        edges = [{1e-3, 1e3}, {1e-2, 1e4}, {0.0, 10.0}, {0.0, 1e-12, 1e3}, {0.0, 1e3}, {1e-2, 1.0, 1e6}]
        for values, ends in zip((tau, alpha, rho, lam, temperature, *kappa), edges, strict=False):
            assert ends <= set(values)

    def test_error_bound_is_a_bound(self, compared):
        """Of chi, m and q, at every point; and it is not so wide that it says nothing."""
        _, solution, exact = compared
        for index, values in enumerate(exact):
            error = max(relative(getattr(solution, name)[index], values[name]) for name in ("chi", "m", "q"))
            assert error <= solution.error_bound[index], index
        assert np.median(solution.error_bound) < 1e-12


def test_known_value():
    """tau = 3, alpha = 5, lam = 1, rho = 0: e_icl = 9/22."""
    solution = solve(task_diversity=3, context_length=5, ridge=1)
    assert abs(float(solution.e_icl) / (9 / 22) - 1) <= KNOWN_VALUE


class TestRidgeless:
    """lam = 0 exactly: finite above the threshold, infinite susceptibility below, nothing at it."""

    @pytest.mark.parametrize("temperature", [0, 2])
    def test_below(self, temperature):
        solution = solve(task_diversity=0.25, context_length=2, label_noise=0.5, ridge=0, temperature=temperature)
        assert solution.status == Status.CONVERGED
        assert solution.m == pytest.approx(0.25 / 1.75, rel=KNOWN_VALUE)
        assert solution.energy == pytest.approx(temperature / 2, rel=KNOWN_VALUE)
        assert (solution.chi, solution.e_train) == (np.inf, 0)
        assert solution.residual <= RESIDUAL
        warm = temperature > 0
        assert (solution.q_self, solution.e_icl_gibbs) == ((np.inf,) * 2 if warm else (solution.q, solution.e_icl))
        np.testing.assert_equal(solution.free_energy, -np.inf if warm else 0)
        np.testing.assert_equal(solution.entropy, np.inf if warm else np.nan)

    @pytest.mark.parametrize("kappa", [0.2, 1.0, 30.0, np.inf])
    @pytest.mark.parametrize("temperature", [0, 1.5])
    def test_at_the_threshold_is_a_status_not_a_number(self, kappa, temperature):
        solution = solve(task_diversity=1, context_length=2, ridge=0, temperature=temperature, distinct_tasks=kappa)
        assert solution.status == Status.DIVERGES
        assert "interpolation threshold" in SENTENCES[Status(int(solution.status))]
        for name, value in solution.to_dict().items():
            assert name == "status" or np.isnan(value), name

    def test_nearest_numbers_to_the_threshold_are_solved(self):
        solution = solve(
            task_diversity=[np.nextafter(1, 0), 1, np.nextafter(1, 2)], context_length=2, ridge=[0, 1e-300, 0]
        )
        assert (solution.status != Status.DIVERGES).all()


class TestThreshold:
    """tau = 1: chi and e_icl go as lam^(-1/2)."""

    @pytest.mark.parametrize("name", ["chi", "e_icl"])
    @pytest.mark.parametrize("rho", [0.0, 0.4])
    def test_exponent(self, name, rho):
        lam = np.geomspace(1e-12, 1e-8, 21)
        solution = solve(task_diversity=1, context_length=1.7, label_noise=rho, ridge=lam)
        slope = np.polyfit(np.log(lam), np.log(getattr(solution, name)), 1)[0]
        assert abs(slope + 0.5) <= EXPONENT

    def test_exponent_is_another_away_from_the_threshold(self):
        lam = np.geomspace(1e-12, 1e-8, 21)
        for tau, expected in ((0.9, -1.0), (1.1, 0.0)):
            solution = solve(task_diversity=tau, context_length=1.7, ridge=lam)
            slope = np.polyfit(np.log(lam), np.log(solution.chi), 1)[0]
            assert abs(slope - expected) <= EXPONENT

    def test_amplitudes(self):
        rho, alpha, lam = 0.4, 1.7, 1e-12
        a = 1 + (1 + rho) / alpha
        solution = solve(task_diversity=1, context_length=alpha, label_noise=rho, ridge=lam)
        assert abs(solution.chi * math.sqrt(a * lam) - 1) <= AMPLITUDE
        assert abs(solution.e_icl * math.sqrt(lam) / ((1 + rho - 1 / a) * math.sqrt(a) / 2) - 1) <= AMPLITUDE


@pytest.fixture(scope="module")
def grid():
    tau = np.unique(np.concatenate([np.geomspace(1e-3, 1e3, 34), 1 + np.array([-1e-9, 0, 1e-9, -1e-4, 1e-4, 0.01])]))
    axes = np.meshgrid(tau, np.geomspace(1e-2, 1e4, 11), [0.0, 0.3, 10.0], np.geomspace(1e-12, 1e3, 9), indexing="ij")
    tau, alpha, rho, lam = (axis.ravel() for axis in axes)
    return (
        tau,
        1 + (1 + rho) / alpha,
        rho,
        lam,
        solve(task_diversity=tau, context_length=alpha, label_noise=rho, ridge=lam),
    )


class TestGrid:
    """Goal T4: 10^4 points, residual recomputed here from the equations, never a wrong branch."""

    def test_is_large_and_converges_everywhere(self, grid):
        assert grid[-1].m.size >= 10_000
        assert grid[-1].converged.all()

    @pytest.mark.parametrize("tampered", [False, True])
    def test_residuals_recomputed(self, grid, tampered):
        """And the power of it: m moved by 1e-8 is seen everywhere."""
        tau, a, rho, lam, s = grid
        screening, m = 1 + a * s.chi / tau, s.m * (1 + tampered * 1e-8)
        residuals = (
            s.chi * (lam + a / screening) - 1,
            (m**2 + a / tau * m**2 * (1 + rho - 2 * m + a * s.q)) / s.q - 1,
            s.chi / screening / m - 1,
        )
        if tampered:
            assert (np.abs(residuals[2]) > RESIDUAL).all()
        else:
            assert max(np.abs(residual).max() for residual in (*residuals, s.residual)) <= RESIDUAL

    def test_no_wrong_branch(self, grid):
        tau, a, _, lam, s = grid
        assert ((s.chi > 0) & (s.m > 0) & (s.m <= np.minimum(1, tau) / a * (1 + BRANCH))).all()
        # The other root of the quadratic has chi < 0: lam chi = 1 - a m lies in [0, 1] on the physical one alone.
        assert (lam * s.chi <= 1 + BRANCH).all()
        assert ((s.q >= s.m**2) & (s.replicon > 0) & (s.replicon <= 1)).all()
        assert ((s.e_train <= s.e_idg) & (s.e_idg > 0) & (s.contrast > 0) & (s.contrast <= 1)).all()


class TestIteration:
    def test_agrees_with_the_closed_form(self):
        points = np.array(
            [
                (tau, 1.3, 1.3, rho, lam, temperature)
                for tau in (0.2, 0.7, 1.0, 1.6, 40.0)
                for rho in (0, 0.4)
                for lam in (0.02, 0.3, 5.0)
                for temperature in (0, 0.5)
            ]
        )
        closed, iterated = solved(points), solved(points, method="iteration")
        assert iterated.converged.all()
        assert closed.replicon.min() > 1e-2
        for name in OBSERVABLES:
            np.testing.assert_allclose(
                getattr(iterated, name), getattr(closed, name), rtol=ITERATION, atol=ITERATION, err_msg=name
            )

    def test_error_within_its_own_bound(self):
        points = random_points(7, 60)[:, :6]
        points[:, 4] = np.maximum(points[:, 4], 1e-2)
        iterated = solved(points, method="iteration")
        assert iterated.converged.all()
        for index, point in enumerate(points):
            exact = reference.saddle_point(*map(float, point))
            error = max(relative(getattr(iterated, name)[index], exact[name]) for name in ("chi", "m", "q"))
            assert error <= iterated.error_bound[index]

    def test_a_single_point_that_does_not_converge_raises(self, monkeypatch):
        # Near the threshold the iteration slows down without bound: its steps shrink before it has arrived.
        hard = {"task_diversity": 1.0, "context_length": 1.0, "ridge": 1e-14, "method": "iteration"}
        monkeypatch.setattr(module, "iterate", partial(module.iterate, limit=2000))
        with pytest.raises(ConvergenceError, match=r"not converged|not finite"):
            solve(**hard)
        solution = solve(**hard, throw=False)
        assert solution.status in (Status.NOT_CONVERGED, Status.NOT_FINITE)
        assert np.isnan(solution.m)

    def test_the_iteration_needs_a_ridge(self):
        with pytest.raises(ParameterError, match="needs ridge > 0"):
            solve(task_diversity=2.0, context_length=1.0, ridge=0.0, method="iteration")

    def test_an_unknown_method(self):
        with pytest.raises(ParameterError, match="method must be one of closed-form, iteration, got 'newton'"):
            solve(task_diversity=1, context_length=1, method="newton")


class TestThermodynamics:
    """Goal T6: derivatives of the free energy, from 60-digit solutions; step 1e-15, so truncation is 1e-30."""

    POINTS = (
        {"task_diversity": "0.4", "context_length": "1.3", "label_noise": "0.2", "ridge": "0.03", "temperature": "0.7"},
        {"task_diversity": "2.5", "context_length": "0.6", "label_noise": "0", "ridge": "0.5", "temperature": "12"},
        {"task_diversity": "1", "context_length": "5", "label_noise": "1.1", "ridge": "0.0001", "temperature": "0.01"},
    )

    @pytest.mark.parametrize("point", POINTS, ids=["below", "above", "threshold"])
    def test_derivatives_of_the_free_energy(self, point):
        def value(name, **changes):
            changed = {key: mpmath.nstr(number, 50) for key, number in changes.items()}
            return mpmath.mpf(solve_digits(digits=60, **{**point, **changed}).values[name])

        def slope(parameter, function):
            centre = mpmath.mpf(point[parameter])
            step = mpmath.mpf(10) ** -15 * centre
            return (function(centre + step) - function(centre - step)) / (2 * step)

        with mpmath.workdps(60):
            temperature = mpmath.mpf(point["temperature"])
            entropy, energy, q_self, free = map(value, ("entropy", "energy", "q_self", "free_energy"))
            by_temperature = slope("temperature", lambda at: value("free_energy", temperature=at))
            by_ridge = slope("ridge", lambda at: value("free_energy", ridge=at))
            # d(beta f)/d beta = energy, written in T.
            beta_f = slope("temperature", lambda at: value("free_energy", temperature=at) / at)
            assert abs(-by_temperature / entropy - 1) < THERMODYNAMIC
            assert abs((free + temperature * entropy) / energy - 1) < THERMODYNAMIC
            assert abs(-(temperature**2) * beta_f / energy - 1) < THERMODYNAMIC
            assert abs(by_ridge / (q_self / 2) - 1) < THERMODYNAMIC


def over_spectrum(function, tau):
    """Average of a function over the Marchenko-Pastur law of ratio 1/tau, with its atom at zero below tau = 1."""
    nodes, weights = reference.marchenko_pastur(tau)
    return weights @ function(nodes)


class TestRandomMatrices:
    """Goal T5, third road: averages over the eigenvalues a x of the Hessian; the late-time limit of gradient flow."""

    POINTS = (
        (0.2, 1.0, 0.1, 0.3),
        (0.6, 3.0, 0.0, 0.05),
        (1.5, 0.5, 0.7, 0.2),
        (3.0, 5.0, 0.0, 1.0),
        (20.0, 2.0, 2.0, 10.0),
    )

    @pytest.mark.parametrize(("tau", "alpha", "rho", "lam"), POINTS)
    def test_order_parameters_and_entropy(self, tau, alpha, rho, lam):
        """The entropy is that of a Gaussian, per spin (1/2)(1 + ln 2 pi T/(a x + lam)): no replicas, no functional."""
        a, temperature = 1 + (1 + rho) / alpha, 0.8
        solution = solved((tau, alpha, alpha, rho, lam, temperature))
        m = over_spectrum(lambda x: a * x / (a * x + lam), tau) / a
        q = over_spectrum(lambda x: (a * x / (a * x + lam)) ** 2, tau) / a**2
        q += (1 + rho - 1 / a) / tau * over_spectrum(lambda x: a * x / (a * x + lam) ** 2, tau)
        expected = {
            "chi": over_spectrum(lambda x: 1 / (a * x + lam), tau),
            "m": m,
            "q": q,
            "e_icl": 1 + rho - 2 * m + a * q,
            "entropy": over_spectrum(lambda x: (1 + np.log(2 * np.pi * temperature / (a * x + lam))) / 2, tau),
        }
        for name, value in expected.items():
            assert getattr(solution, name) == pytest.approx(value, rel=RANDOM_MATRIX, abs=RANDOM_MATRIX), name


class TestPublished:
    """Goal T7: formulas of Lu et al., arXiv:2405.11751, with infinitely many distinct tasks: M(x) = 1/(1 + x)."""

    @pytest.mark.parametrize("tau", [0.05, 0.5, 0.95, 1.05, 2.0, 30.0])
    @pytest.mark.parametrize(("alpha", "rho"), [(10.0, 0.01), (1.0, 0.01), (0.3, 1.0)])
    def test_ridgeless(self, tau, alpha, rho):
        noise = (1 + rho) / alpha
        resolvent, slope = 1 / (1 + noise), -1 / (1 + noise) ** 2
        if tau < 1:
            mu = noise * resolvent
            error = tau * (1 + noise) / (1 - tau) * (1 - tau * (1 - mu) ** 2 + mu * (rho / noise - 1))
            error += -2 * tau * (1 - mu) + 1 + rho
        else:
            error = 1 - 2 * noise * resolvent - noise**2 * slope
            error += (rho + noise - noise**2 * resolvent) * resolvent / (tau - 1)
            error = (1 + noise) * error - 2 * (1 - noise * resolvent) + 1 + rho
        found = solve(task_diversity=tau, context_length=alpha, label_noise=rho, ridge=0)
        assert found.e_icl == pytest.approx(error, rel=PUBLISHED)

    @pytest.mark.parametrize("tau", [0.05, 0.95, 1.0, 1.05, 30.0])
    @pytest.mark.parametrize("lam", [1e-6, 0.1, 10.0])
    def test_finite_ridge(self, tau, lam):
        """One bracketed scalar equation, lam = nu - (nu/tau) b/(b + nu), and averages over the tasks' spectrum."""
        point = (tau, 1.3, 2.6, 0.2, lam, 0.0)
        expected, found = pool_reference.saddle_point(*point, math.inf), solved(point)
        for name in ("m", "q", "e_idg", "e_icl", "e_train", "replicon"):
            assert relative(getattr(found, name), expected[name]) <= PUBLISHED, name


class TestLimits:
    """Goal T2."""

    @pytest.mark.parametrize("tau", [0.01, 0.5, 0.9, 1.1, 2.0, 100.0])
    @pytest.mark.parametrize("name", ["m", "q", "e_icl", "e_idg", "contrast", "replicon"])
    def test_tiny_ridge(self, tau, name):
        ridgeless, tiny = (
            getattr(solve(task_diversity=tau, context_length=1.4, label_noise=0.3, ridge=lam), name)
            for lam in (0, 1e-12)
        )
        assert abs(tiny / ridgeless - 1) <= LIMIT

    @pytest.mark.parametrize("tau", [0.3, 1.0, 3.0])
    def test_long_contexts(self, tau):
        """alpha -> inf: a = 1, noise of the in-context estimate gone; 1/chi = lam + 1/(1 + chi/tau) is a quadratic."""
        lam, rho = 0.2, 0.3
        chi = max(np.roots([lam / tau, lam + 1 - 1 / tau, -1]))
        m = chi / (1 + chi / tau)
        e = (1 + rho - 2 * m + m**2) / (1 - m**2 / tau)
        solution = solve(task_diversity=tau, context_length=1e12, label_noise=rho, ridge=lam)
        for found, expected in ((solution.chi, chi), (solution.m, m), (solution.e_icl, e)):
            assert abs(found / expected - 1) <= LIMIT

    @pytest.mark.parametrize("tau", [0.3, 1.0, 3.0])
    def test_low_and_high_temperature(self, tau):
        """Cold: the ground state. Hot: q_self -> T chi, and a factor of 100 in T adds ln(100)/2 to the entropy."""
        temperature = [0.0, 1e-12, 1e12, 1e14]
        found = solve(task_diversity=tau, context_length=1, ridge=0.2, temperature=temperature)
        for name in ("free_energy", "energy", "q_self", "e_icl_gibbs"):
            cold, low, *_ = getattr(found, name)
            assert abs(low / cold - 1) <= LIMIT, name
        assert found.entropy[1] < -10
        assert abs(found.q_self[2] / (1e12 * found.chi[0]) - 1) <= LIMIT
        assert found.entropy[3] - found.entropy[2] == pytest.approx(math.log(100) / 2, rel=LIMIT)
        assert abs(found.energy[2] / 5e11 - 1) <= LIMIT

    def test_strong_ridge_and_many_prompts(self):
        strong = solve(task_diversity=2, context_length=1, label_noise=0.5, ridge=1e10)
        assert abs(strong.chi * 1e10 - 1) <= LIMIT
        assert abs(strong.e_icl / 1.5 - 1) <= LIMIT
        many = solve(task_diversity=1e10, context_length=1, label_noise=0.5, ridge=0.2)
        a = 2.5
        assert abs(many.m * (a + 0.2) - 1) <= LIMIT
        assert abs(many.q / many.m**2 - 1) <= LIMIT


class TestShapes:
    def test_broadcasting(self):
        solution = solve(task_diversity=np.ones((3, 1)) * 2, context_length=[1, 2, 3, 4], ridge=0.1)
        assert all(value.shape == (3, 4) for value in solution.to_dict().values())

    def test_scalars_and_empty_arrays(self):
        assert solve(task_diversity=2, context_length=1).m.shape == ()
        assert solve(task_diversity=np.zeros(0), context_length=1).m.shape == (0,)

    def test_blocks_do_not_show(self):
        """More points than one block holds; every one as if alone."""
        tau = np.linspace(0.1, 4, 70_001)
        solution = solve(task_diversity=tau, context_length=1)
        pick = [0, 32767, 32768, 65535, 65536, 70_000]
        few = solve(task_diversity=tau[pick], context_length=1)
        for name, value in few.to_dict().items():
            np.testing.assert_array_equal(value, getattr(solution, name)[pick], err_msg=name)

    def test_one_failure_does_not_touch_the_others(self):
        solution = solve(task_diversity=[0.5, 1, 2], context_length=1, ridge=0)
        assert solution.status.tolist() == [Status.CONVERGED, Status.DIVERGES, Status.CONVERGED]
        assert np.isnan(solution.m).tolist() == [False, True, False]

    def test_integers_and_other_floats_are_numbers(self):
        expected = solve(task_diversity=2.0, context_length=1.0, ridge=1.0).e_icl
        for kind in (int, np.int32, np.uint8, np.float32, np.float64):
            assert solve(task_diversity=kind(2), context_length=kind(1), ridge=kind(1)).e_icl == expected

    def test_inputs_are_not_changed(self):
        tau = np.array([0.5, 1.0, 2.0])
        solve(task_diversity=tau, context_length=1, ridge=0)
        assert tau.tolist() == [0.5, 1.0, 2.0]

    def test_test_context_defaults_to_pretraining(self):
        alpha = np.array([0.5, 3.0])
        default = solve(task_diversity=2, context_length=alpha)
        given = solve(task_diversity=2, context_length=alpha, test_context_length=alpha)
        np.testing.assert_array_equal(default.e_icl, given.e_icl)
        np.testing.assert_allclose(default.e_icl, default.e_idg, rtol=KNOWN_VALUE)


def numbers():
    return st.one_of(
        st.floats(allow_nan=True, allow_infinity=True),
        st.floats(0, 1e3),
        st.integers(),
        st.sampled_from([0, 1, 1.0, 1e-300, 5e-324, 1e300, 1.7e308, -0.0, 10**400]),
    )


def anything():
    return st.one_of(
        numbers(),
        numbers(),
        st.none(),
        st.booleans(),
        st.text(max_size=3),
        st.complex_numbers(),
        st.binary(max_size=3),
        st.lists(numbers(), max_size=3),
        st.lists(st.lists(numbers(), max_size=2), max_size=3),
        st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    )


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(arguments=st.fixed_dictionaries({name: anything() for name in NAMES[:6]}))
def test_bad_input_is_refused_or_has_a_status(arguments):
    """Goal R6: only ValueError or TypeError, or a status; never a finite number with a failed status."""
    check_outcome(arguments)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    arguments=st.fixed_dictionaries(
        {name: st.floats(0, exclude_min=True, allow_infinity=False) for name in NAMES[:3]}
        | {name: st.floats(0, allow_infinity=False) for name in NAMES[3:6]}
    )
)
def test_any_allowed_number_is_solved_or_has_a_status(arguments):
    solution = check_outcome(arguments)
    assert solution is not None, "allowed values were refused"


def check_outcome(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Any other exception, and any warning, fails the test.
        try:
            solution = solve(**arguments, throw=False)
        except (ParameterError, ParameterTypeError):
            return None
    for index in np.ndindex(solution.status.shape):
        values = {name: array[index] for name, array in solution.to_dict().items() if name != "status"}
        if solution.status[index] == Status.CONVERGED:
            assert all(
                np.isfinite(values[name]) for name in ("m", "q", "e_icl", "e_idg", "e_train", "contrast", "replicon")
            )
            assert values["residual"] <= RESIDUAL
        else:
            assert all(np.isnan(value) for value in values.values()), values
    return solution
