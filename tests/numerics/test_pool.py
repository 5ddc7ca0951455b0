"""Finite pools of tasks against independent roads: high precision, published values, sampled matrices, limits."""

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import optimize, stats

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.status import Status
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.replica.pool import pool_theory
from tests.numerics import pool_reference
from tests.numerics.points import random_points, relative, solved
from tests.numerics.reference import marchenko_pastur
from tests.tolerances import CANCELLATION, KNOWN_VALUE, LIMIT, PUBLISHED, RESIDUAL, SADDLE_POINT

# Table of the theory notes, section 6: tau, alpha, kappa, rho, lam, e_icl, e_idg, digits given.
TABLE = (
    (0.2, 10, 0.5, 0.01, 0, 0.8642976260584, 0.5506874246026, 1e-11),
    (0.5, 1, 0.5, 0.01, 0, 1.2610768959343, 0.8018491667944, 1e-11),
    (0.85, 10, 2, 0.1, 0, 1.9672143476654, 1.4405338281029, 1e-11),
    (1.15, 10, 0.5, 0.01, 0, 2.7747657705752, 0.4308662964725, 1e-11),
    (0.5, 2, 0.5, 0.1, 0.1, 1.20315064888, 0.714618134144, 1e-11),
    (1.5, 2, 0.5, 0.1, 0.1, 1.17320815313, 0.53202656391, 1e-11),
    (1.5, 2, 2, 0.1, 1, 0.786229777107, 0.64406736026, 1e-11),
    (3, 5, math.inf, 0, 1, 9 / 22, 9 / 22, 1e-14),
)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_reference_table(row):
    """To 1e-11, and to half a unit of the last digit where fewer digits than that are given."""
    tau, alpha, kappa, rho, lam, e_icl, e_idg, tolerance = row
    found = solve(task_diversity=tau, context_length=alpha, distinct_tasks=kappa, label_noise=rho, ridge=lam)
    assert abs(found.e_icl / e_icl - 1) <= tolerance
    assert abs(found.e_idg / e_idg - 1) <= tolerance


@pytest.mark.parametrize(
    ("point", "e_icl", "published"),
    [((3, 10, 0.5, 0.01, 1e-7), 0.72496, 0.606), ((20, 1000, 0.5, 0.01, 1e-6), 0.784, 0.536)],
)
def test_where_a_published_solver_ends_at_no_solution(point, e_icl, published):
    """LU's saved asymptotics at tiny ridge are from scipy's fsolve without its flag; here the root is bracketed."""
    tau, alpha, kappa, rho, lam = point
    found = solve(task_diversity=tau, context_length=alpha, distinct_tasks=kappa, label_noise=rho, ridge=lam)
    assert abs(found.e_icl / e_icl - 1) < 1e-3
    assert abs(published / e_icl - 1) > 0.1


def test_structured_tasks():
    """Random spectra, zeros among them, tested on others: 40 points against the raw equations."""
    rng = np.random.default_rng(17)
    worst = 0.0
    for point in random_points(5, 40):
        point[4], point[5] = max(point[4], 1e-12), max(point[5], 1e-6)
        size = rng.integers(2, 7)
        pretraining = 10.0 ** rng.uniform(-6, 2, size) * (rng.random(size) < 0.8)
        pretraining[0] = max(pretraining[0], 0.1)
        test = 10.0 ** rng.uniform(-3, 2, size)
        found = solved(point, tasks=TaskSpectrum.from_eigenvalues(pretraining, test=test))
        spectrum = {"pretraining": pretraining.tolist(), "test": test.tolist()}
        exact = pool_reference.structured(*map(float, point), **spectrum, digits=90)
        worst = max(worst, *(relative(getattr(found, name), exact[name]) for name in OBSERVABLES))
    assert worst <= SADDLE_POINT


@pytest.mark.parametrize("kappa", [0.3, 0.9, 4.0])
@pytest.mark.parametrize("x", [0.01, 0.7, 30.0])
def test_reference_averages_are_those_of_the_density(kappa, x):
    """The reference's Stieltjes transform, its derivative and the logarithm, by quadrature over density and atom."""
    with mpmath.workdps(30):
        ratio = 1 / mpmath.mpf(kappa)
        atom = max(0, 1 - kappa)

        def average(function):
            def density(angle):
                r = 1 + ratio + 2 * mpmath.sqrt(ratio) * mpmath.cos(angle)
                return function(r) * 2 * mpmath.sin(angle) ** 2 / (mpmath.pi * r)

            return mpmath.quad(density, [0, 1, 2, 3, mpmath.pi]) + atom * function(mpmath.mpf(0))

        first, second = pool_reference.stieltjes(mpmath.mpf(x), mpmath.mpf(kappa))
        assert abs(average(lambda r: 1) - 1) < 1e-12
        assert abs(average(lambda r: 1 / (r + x)) / first - 1) < 1e-12
        assert abs(average(lambda r: 1 / (r + x) ** 2) / second - 1) < 1e-12
        logarithm = pool_reference.mean_logarithm(mpmath.mpf(x), mpmath.mpf(kappa))
        assert abs(average(lambda r: mpmath.log(r + x)) - logarithm) < 1e-12


@pytest.fixture(scope="module")
def grid():
    tau = np.unique(np.concatenate([np.geomspace(1e-3, 1e3, 17), 1 + np.array([-1e-9, 0, 1e-9, -1e-3, 1e-3])]))
    kappa = np.unique(np.concatenate([np.geomspace(1e-2, 1e6, 9), [0.999999, 1.0]]))
    lam = np.array([0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e3])
    axes = np.meshgrid(tau, np.geomspace(1e-2, 1e4, 5), kappa, [0.0, 10.0], lam, indexing="ij")
    tau, alpha, kappa, rho, lam = (axis.ravel() for axis in axes)
    keep = (tau != 1) | (lam > 0)
    tau, alpha, kappa, rho, lam = (axis[keep] for axis in (tau, alpha, kappa, rho, lam))
    found = solve(task_diversity=tau, context_length=alpha, distinct_tasks=kappa, label_noise=rho, ridge=lam)
    return tau, (1 + rho) / alpha, kappa, rho, lam, found


def transform(x, kappa):
    """<1/(r + x)> over Marchenko-Pastur in double precision, without cancellation on either side of its branch."""
    linear = x + 1 - 1 / kappa
    root = np.sqrt(linear**2 + 4 * x / kappa)
    return np.where(linear > 0, 2 / (linear + np.abs(root)), (root - linear) * kappa / (2 * x))


def bisected(tau, c0, kappa, lam):
    """The effective ridge of a whole grid by plain bisection in its logarithm; 0 where the interval shrinks to 0."""
    lower, upper = np.full(tau.shape, -300.0), np.log(lam + 2 * (1 + c0) / tau)
    for _ in range(80):
        middle = (lower + upper) / 2
        nu = np.exp(middle)
        with np.errstate(over="ignore"):
            rising = 1 - (1 - nu * transform(c0 + nu, kappa)) / tau - lam / nu < 0
        lower, upper = np.where(rising, middle, lower), np.where(rising, upper, middle)
    return np.exp(lower)


class TestGrid:
    """More than 10^4 points, lam = 0 and 1e-12 among them: never a wrong root."""

    def test_is_large_and_converges_everywhere(self, grid):
        assert grid[-1].m.size >= 10_000
        assert grid[-1].converged.all()

    def test_the_root_is_the_one_that_plain_bisection_finds(self, grid):
        """m = 1 - x M(x) at the bisected root; a root nu' = 0 or of another branch changes m by far more."""
        tau, c0, kappa, _, lam, s = grid
        x = c0 + bisected(tau, c0, kappa, lam)
        on = lam > 0
        assert (np.abs((s.chi[on] * lam[on]) - (transform(x, kappa) * (x - c0))[on]) <= 1e-9).all()
        # 1 - x M cancels where x is large: its rounding is eps there.
        assert (np.abs(1 - x * transform(x, kappa) - s.m) <= 1e-9 * s.m + 1e-12).all()

    def test_residual_by_the_raw_equation(self, grid):
        """nu read off the errors, e_train/e_idg = (lam/nu)^2, solves lam = nu - (nu/tau) <b/(b+nu)>."""
        tau, c0, kappa, _, lam, s = grid
        on = lam > 0
        tau, c0, kappa, lam = tau[on], c0[on], kappa[on], lam[on]
        nu = lam / np.sqrt(s.e_train[on] / s.e_idg[on])
        share = nu * transform(c0 + nu, kappa)
        sides = tau - 1 + share, tau * lam / nu
        scale = np.abs(tau - 1) + share + sides[1]
        assert (np.abs(sides[0] - sides[1]) / scale <= RESIDUAL).all()
        doubled = 2 * nu
        wrong = tau - 1 + doubled * transform(c0 + doubled, kappa) - tau * lam / doubled
        # Power: twice the root is seen wherever the equation depends on it to that accuracy.
        assert (np.abs(wrong) / scale > RESIDUAL).mean() > 0.9

    def test_inequalities(self, grid):
        _, _, _, rho, _, s = grid
        assert ((s.m > 0) & (s.m < 1) & (s.chi > 0) & (s.q > 0)).all()
        assert ((s.replicon > 0) & (s.replicon <= 1)).all()
        assert (s.q >= s.m**2).all()
        assert (s.e_idg >= rho).all()
        assert (s.e_icl >= rho).all()
        assert (s.e_train <= s.e_idg).all()
        assert ((s.contrast > 0) & (s.contrast <= 1)).all()


class TestLimits:
    POINTS = random_points(3, 400)

    @pytest.mark.parametrize("kappa", [None, np.inf])
    @pytest.mark.parametrize("tasks", [[1.0], np.ones(7)], ids=["one", "seven"])
    def test_ones_as_a_list_are_isotropic(self, tasks, kappa):
        """xi by Newton's method and by the quadratic formula; at kappa = inf pools and the closed form."""
        points = self.POINTS.copy()
        points[:, 6] = kappa or np.maximum(points[:, 6], 1e-2)
        closed, listed = solved(points), solved(points, tasks=TaskSpectrum.from_eigenvalues(tasks))
        for name in OBSERVABLES:
            np.testing.assert_allclose(getattr(listed, name), getattr(closed, name), rtol=CANCELLATION, err_msg=name)

    def test_large_kappa_converges_as_its_inverse(self):
        kappa = np.array([1e3, 1e4, 1e5, 1e6, 1e14])
        point = {"context_length": 1.3, "label_noise": 0.2, "ridge": 0.05, "temperature": 0.7}
        for tau in (0.4, 1.0, 2.5):
            found = solve(task_diversity=tau, distinct_tasks=kappa, **point)
            limit = solve(task_diversity=tau, **point)
            for name in OBSERVABLES:
                gap = np.abs(getattr(found, name) - getattr(limit, name))
                if gap[0] < 1e-9:  # no first-order term
                    continue
                np.testing.assert_allclose(gap[:3] / gap[1:4], 10, rtol=0.02, err_msg=name)
                assert gap[-1] <= CANCELLATION, name

    def test_ridgeless_limit_on_both_sides(self):
        """lam = 0 is what lam -> 0 tends to, at the rate lam, for every error and overlap."""
        for tau, kappa in ((0.3, 0.5), (0.8, 0.2), (0.8, 3.0), (1.3, 0.4), (4.0, 2.0)):
            point = {"task_diversity": tau, "context_length": 1.4, "distinct_tasks": kappa, "label_noise": 0.1}
            limit, near = solve(**point, ridge=0), solve(**point, ridge=1e-11)
            for name in ("m", "q", "e_icl", "e_idg", "contrast", "replicon"):
                assert getattr(near, name) == pytest.approx(getattr(limit, name), rel=LIMIT), name
            assert limit.status == Status.CONVERGED
            assert (limit.chi == np.inf) == (tau < 1)
            assert (limit.e_train == 0) == (tau < 1)
            assert limit.replicon == pytest.approx(1 - 1 / tau if tau > 1 else limit.replicon, rel=KNOWN_VALUE)

    def test_no_zero_effective_ridge_below_the_threshold(self):
        """Taking nu = 0 at lam = 0 for tau < 1 (a known mistake) gives 1 - gamma = 1 - 1/tau < 0 and another error."""
        for tau, kappa in ((0.2, 0.5), (0.5, 2.0), (0.9, 0.5)):
            found = solve(task_diversity=tau, context_length=2, distinct_tasks=kappa, label_noise=0.1, ridge=0)
            c0 = 1.1 / 2
            m_mistaken = 1 - c0 * float(transform(c0, kappa))
            assert 1 - 1 / tau < 0 < found.replicon
            assert found.m < 0.98 * m_mistaken
            nu = bisected(*(np.array([value]) for value in (tau, c0, kappa, 0.0)))[0]
            assert nu > 0.05
            assert found.m == pytest.approx(1 - (c0 + nu) * transform(c0 + nu, kappa), rel=1e-10)

    def test_order_and_splitting_of_a_spectrum_do_not_matter(self):
        c, test = np.array([0.2, 3.0, 1.0]), np.array([1.0, 0.5, 2.0])
        point = {"task_diversity": 0.7, "context_length": 1.2, "distinct_tasks": 0.8, "temperature": 0.3}
        one = solve(**point, tasks=TaskSpectrum.from_eigenvalues(c, test=test, weights=[0.25, 0.25, 0.5]))
        two = solve(**point, tasks=TaskSpectrum.from_eigenvalues(c[[1, 2, 2, 0]], test=test[[1, 2, 2, 0]]))
        for name in OBSERVABLES:
            assert getattr(one, name) == pytest.approx(getattr(two, name), rel=CANCELLATION), name

    @pytest.mark.parametrize("kappa", [0.0, -1.0, math.nan])
    def test_bad_pools_are_refused(self, kappa):
        with pytest.raises(ParameterError, match=r"distinct_tasks = .* must be > 0, or infinite: take K >= 1 tasks"):
            solve(task_diversity=1, context_length=1, distinct_tasks=kappa)
        with pytest.raises(ParameterTypeError, match="distinct_tasks"):
            solve(task_diversity=1, context_length=1, distinct_tasks="2")


class TestThermodynamics:
    POINTS = (
        (0.4, 1.3, 2.0, 0.2, 0.03, 0.7, 0.5),
        (2.5, 0.6, 0.6, 0.0, 0.5, 12.0, 3.0),
        (1.0, 5.0, 1.0, 1.1, 1e-4, 0.01, 1.0),
    )

    @pytest.mark.parametrize("tasks", [None, TaskSpectrum.from_eigenvalues([0.1, 0.8, 2.5], test=[1.0, 1.0, 3.0])])
    @pytest.mark.parametrize("point", POINTS, ids=["below", "above", "threshold"])
    def test_derivatives_of_the_free_energy(self, point, tasks):
        """Entropy = -df/dT and q_self/2 = df/dlam."""
        options = {} if tasks is None else {"tasks": tasks}
        found = solved(point, **options)
        offsets, stencil = np.array([-2, -1, 1, 2]) * 1e-3, np.array([1, -8, 8, -1]) / 12
        for index, value in ((5, -found.entropy), (4, found.q_self / 2)):
            moved = np.tile(point, (4, 1))
            moved[:, index] *= 1 + offsets
            # The fourth-order stencil errs by step^4 = 1e-12 and by rounding/step = 1e-12.
            slope = stencil @ solved(moved, **options).free_energy / (1e-3 * point[index])
            assert slope == pytest.approx(value, rel=1e-9)
        energy, entropy = found.energy, found.entropy
        assert found.free_energy == pytest.approx(energy - point[5] * entropy, rel=CANCELLATION)


@pytest.mark.parametrize(
    ("tau", "alpha", "alpha_test", "rho", "lam", "T", "kappa"),
    [(0.5, 1.0, 2.0, 0.1, 0.1, 0.5, 0.5), (2.0, 3.0, 3.0, 0.0, 0.3, 2.0, 2.0), (1.0, 0.5, 5.0, 1.0, 1e-3, 0.1, 5.0)],
)
def test_integrals_of_the_derivation_over_the_density(tau, alpha, alpha_test, rho, lam, T, kappa):
    """Second road: the symbolic layer's integrals by quadrature over Marchenko-Pastur, nu by Brent's method."""
    theory = pool_theory(linear_attention())
    nodes, weights = marchenko_pastur(kappa)
    values = {S.tau: tau, S.alpha: alpha, S.alpha_test: alpha_test, S.rho: rho, S.T: T, S.strength: 1.0}

    def evaluate(expression, known):
        def average(*arguments):
            integrand = (arguments[0] / S.density(S.eigenvalue)).subs(known)
            return sp.Float(weights @ sp.lambdify(S.eigenvalue, integrand, "numpy")(nodes))

        return float(expression.replace(sp.Integral, average).subs(known))

    rhs = {str(equation.lhs): equation.rhs for equation in (*theory.equations, *theory.observables)}
    nu = optimize.brentq(
        lambda u: evaluate(rhs["lam"], {**values, S.nu: math.exp(u)}) - lam, math.log(lam), math.log(100), xtol=1e-15
    )
    values[S.nu], values[S.lam] = math.exp(nu), lam
    for equation in (*theory.equations[1:], *theory.observables, theory.free_energy):
        values[equation.lhs] = evaluate(equation.rhs, values)
    found = solved((tau, alpha, alpha_test, rho, lam, T, kappa))
    for name in ("m", "q", "chi", "e_idg", "e_icl", "e_train", "replicon", "free_energy"):
        by_quadrature = next(value for symbol, value in values.items() if str(symbol) == name)
        assert getattr(found, name) == pytest.approx(by_quadrature, rel=PUBLISHED), name


def on_a_sampled_pool(rng, dimension, point, tasks):
    """The quantities with R = C^(1/2) Z^T Z C^(1/2)/K itself: traces of matrices, no self-consistent average."""
    tau, alpha, alpha_test, rho, lam, temperature, kappa = point
    repeats = dimension // tasks.pretraining.size
    c, test = np.repeat(tasks.pretraining, repeats), np.repeat(tasks.test, repeats)
    count = round(kappa * dimension)
    pool = rng.standard_normal((count, dimension)) * np.sqrt(c)
    r, vectors = np.linalg.eigh(pool.T @ pool / count)
    b = r + (r.mean() + rho) / alpha
    # Diagonal of the test covariance, with its noise, in the eigenbasis of R.
    tested = vectors.T**2 @ (test + (test.mean() + rho) / alpha_test)
    signal = vectors.T**2 @ test

    nu = optimize.brentq(lambda nu: 1 - np.mean(b / (b + nu)) / tau - lam / nu, 1e-9, lam + 2 * b.mean() / tau)
    omega = lam / nu
    weights = r / (b + nu)
    e_idg = (r.mean() + rho + np.mean(b * weights**2 - 2 * r * weights)) / (1 - np.mean((b / (b + nu)) ** 2) / tau)
    variance = e_idg / tau * b / (b + nu) ** 2
    q, chi = np.mean(weights**2 + variance), np.mean(1 / (b + nu)) / omega
    e_icl = test.mean() + rho + np.mean(tested * (weights**2 + variance) - 2 * signal * weights)
    log_determinant = np.mean(np.log(lam + omega * b)) - tau * np.log(omega) - tau * (1 - omega)
    ground_state = (e_idg * omega**2 + lam * q) / 2
    return {
        "m": weights.mean(),
        "q": q,
        "chi": chi,
        "e_icl": e_icl,
        "e_icl_gibbs": e_icl + temperature / omega * np.mean(tested / (b + nu)),
        "e_idg": e_idg,
        "e_train": e_idg * omega**2,
        "free_energy": ground_state - temperature / 2 * (math.log(2 * math.pi * temperature) - log_determinant),
    }


SAMPLED = (
    ((0.6, 1.5, 2.5, 0.2, 0.1, 0.5, 0.5), TaskSpectrum.power_law(1.0, size=20, test=np.linspace(0.2, 1.8, 20))),
    ((2.0, 0.8, 0.8, 0.1, 0.3, 1.0, 2.0), TaskSpectrum.from_eigenvalues([4.0, 0.5, 0.25, 0.25], test=[0, 1, 1, 2])),
    ((0.9, 3.0, 3.0, 0.0, 0.05, 0.2, 1.0), TaskSpectrum.from_eigenvalues([0.0, 2.0], test=[1.0, 1.0])),
)


def test_deterministic_averages_are_those_of_sampled_pools():
    """D = 100 and 200, 40 pools each, 2 v(200) - v(100) removes the 1/D bias. False-alarm rate 1 % for all 24 together.

    And the power: with the test covariance replaced by the pretraining one, or kappa by 1.3 kappa, it fails.
    """
    rng = np.random.default_rng(8)
    threshold = stats.norm.isf(0.01 / 24 / 2)
    z, powers = {}, []
    for case, (point, tasks) in enumerate(SAMPLED):
        means, variances = [], []
        for dimension in (100, 200):
            rows = [on_a_sampled_pool(rng, dimension, point, tasks) for _ in range(40)]
            values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            means.append({name: value.mean() for name, value in values.items()})
            variances.append({name: value.var(ddof=1) / value.size for name, value in values.items()})
        theories = {
            "right": solved(point, tasks=tasks),
            "kappa": solved((*point[:6], 1.3 * point[6]), tasks=tasks),
            "test": solved(point, tasks=TaskSpectrum.from_eigenvalues(tasks.pretraining)),
        }
        for name in means[0]:
            value = 2 * means[1][name] - means[0][name]
            error = math.sqrt(4 * variances[1][name] + variances[0][name])
            z[case, name] = (value - getattr(theories["right"], name)) / error
            if name in ("e_icl", "e_idg"):
                powers.append(
                    (case, name, *((value - getattr(theories[wrong], name)) / error for wrong in ("kappa", "test")))
                )
    assert max(abs(value) for value in z.values()) < threshold, z
    for case in range(len(SAMPLED)):
        assert max(abs(power[2]) for power in powers if power[0] == case) > threshold, powers
        assert max(abs(power[3]) for power in powers if power[0] == case and power[1] == "e_icl") > threshold, powers
