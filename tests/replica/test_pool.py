"""Finite pools of tasks: every stage against a road that does not share its algebra."""

import dataclasses

import mpmath
import pytest
import sympy as sp

from iclglass.replica import pool
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.replica.pool import one_task_per_prompt, pool_theory
from tests.replica.test_moments import spelled_out
from tests.tolerances import DERIVATIVE, THIRTY_DIGITS

FIRST, SECOND = sp.IndexedBase("W1", real=True), sp.IndexedBase("W2", real=True)

# Two eigenvalues with their weights: a pool need not be isotropic, and averages are sums.
SPECTRUM = ((sp.Rational(1, 3), sp.Rational(1, 4)), (sp.Rational(7, 5), sp.Rational(3, 4)))
STRENGTH = sum(value * weight for value, weight in SPECTRUM)
POINTS = (
    {S.tau: sp.Rational(3, 5), S.alpha: sp.Rational(4, 3), S.rho: sp.Rational(1, 5), S.nu: sp.Rational(9, 5)},
    {S.tau: sp.Rational(5, 2), S.alpha: sp.Integer(3), S.rho: sp.Integer(0), S.nu: sp.Rational(1, 3)},
)


@pytest.fixture(scope="module")
def model():
    return linear_attention()


@pytest.mark.parametrize("which", range(3), ids=["label, label", "label, prediction", "prediction, prediction"])
def test_moments_of_a_pool(derivation, model, which):
    """E over tokens, noise and E[w_i w_j] = R_ij at D = N = 2, against every variable spelled out."""
    block = model.block("block")
    factors = model.label, block.prediction(FIRST), block.prediction(SECOND)
    product = (factors[0] ** 2, factors[0] * factors[1], factors[1] * factors[2])[which]
    given_tasks = {base: variance for base, variance in model.variances.items() if base != S.w}
    R, w = S.R, S.w
    pooled = {w[1] ** 2: R[1, 1], w[2] ** 2: R[2, 2], w[1] * w[2]: R[1, 2], R[2, 1]: R[1, 2]}
    strength = (R[1, 1] + R[2, 2]) / 2
    found = derivation.pool.moments[which].rhs.subs({S.D: 2, S.alpha: 1}).doit().subs(S.strength, strength)
    expected = spelled_out(product, given_tasks, {S.D: 2, S.N: 2, S.norm: 2})
    assert expected.has(w)
    assert sp.expand(found.subs(pooled) - expected.subs(pooled)) == 0


def doubled(equations, name):
    return tuple(sp.Eq(e.lhs, 2 * e.rhs) if e.lhs.name == name else e for e in equations)


def test_one_task_per_prompt_solves_the_saddle_point(derivation):
    """kappa -> infinity: the three equations of section 5, symbolically, in nu and chi."""
    theory = derivation.pool
    at = {equation.lhs: one_task_per_prompt(equation.rhs) for equation in (*theory.equations, *theory.observables)}
    a = 1 + (1 + S.rho) / S.alpha
    error = at[S.e_idg].subs(S.gamma, at[S.gamma])
    state = {
        S.chi: at[S.chi].subs(S.omega, at[S.omega]),
        S.m: at[S.m],
        S.q: at[S.q].subs(S.e_idg, error),
        S.lam: at[S.lam],
    }
    assert len(derivation.saddle_point) == 3
    for equation in derivation.saddle_point:
        difference = (equation.lhs - equation.rhs).subs(S.a, a)
        assert difference.free_symbols & {S.chi, S.m, S.q}
        assert sp.simplify(difference.subs(state)) == 0, equation
    assert sp.simplify(error - (1 + S.rho - 2 * state[S.m] + a * state[S.q])) == 0
    e_icl = at[S.e_icl].subs({S.m: state[S.m], S.q: state[S.q], S.alpha_test: S.alpha})
    assert sp.simplify(e_icl - error) == 0


def with_spectrum(expression):
    """The expression with < . > as the sum over SPECTRUM, and t its mean."""

    def average(*arguments):
        integrand = arguments[0] / S.density(S.eigenvalue)
        return sp.Add(*(weight * integrand.subs(S.eigenvalue, value) for value, weight in SPECTRUM))

    return expression.replace(sp.Integral, average).subs(S.strength, STRENGTH)


def stated_values(theory, point):
    """All that `_solution` states, as exact numbers at one point, given nu."""
    values = dict(point)
    for equation in (*theory.equations, *theory.observables):
        values[equation.lhs] = with_spectrum(equation.rhs).subs(values)
    return values


def disagreements(theory, point, temperature):
    """Names of the statements that are not the stationary value of the functional, by numbers to 40 digits.

    The state is written down here from the spins' Gaussian law; derivatives of the functional are mpmath's.
    """
    values = stated_values(theory, {**point, S.T: temperature, S.alpha_test: sp.Integer(2)})
    tau, nu, betahat = point[S.tau], point[S.nu], 1 / temperature
    rows = [(r, r + (STRENGTH + point[S.rho]) / point[S.alpha], weight) for r, weight in SPECTRUM]
    share = sum(w * b / (b + nu) for _, b, w in rows)
    omega = 1 - share / tau
    lam, gamma = nu * omega, sum(w * (b / (b + nu)) ** 2 for _, b, w in rows) / tau
    # The functional's m and q are Tr(R W)/D and Q = Tr W^T B W/D; its error is the one on the pool's prompts.
    m = sum(w * r**2 / (b + nu) for r, b, w in rows)
    mean_square = sum(w * b * r**2 / (b + nu) ** 2 for r, b, w in rows)
    error = (STRENGTH + point[S.rho] - 2 * m + mean_square) / (1 - gamma)
    q = mean_square + gamma * error
    saddle = {
        S.m: m,
        S.q: q,
        S.Delta: share / (betahat * omega),
        S.k_hat: betahat * omega,
        S.m_hat: betahat * omega,
        S.q_hat: betahat**2 * omega**2 * error / tau,
    }
    parameters = {S.betahat: betahat, S.lam: lam, S.tau: tau, S.alpha: point[S.alpha], S.rho: point[S.rho]}
    names = list(saddle)
    phi = sp.lambdify(names, with_spectrum(theory.functional).subs(parameters), "mpmath")
    found = set()
    with mpmath.workdps(40):
        at = [mpmath.mpf(value.p) / value.q for value in map(sp.Rational, saddle.values())]
        for index, name in enumerate(names):
            slope = mpmath.diff(lambda x, k=index: phi(*at[:k], x, *at[k + 1 :]), at[index], h=mpmath.mpf(10) ** -15)
            if abs(slope) > DERIVATIVE:
                found.add(f"stationarity in {name}")
        free_energy = with_spectrum(theory.free_energy.rhs).subs(values).evalf(40)
        if abs(free_energy + temperature * phi(*at)) > THIRTY_DIGITS:
            found.add("free_energy")
    # One spin: mean r/(b + nu), variance shared by replicas error b/(tau (b + nu)^2), response 1/(omega (b + nu)).
    weights_m = sum(w * r / (b + nu) for r, b, w in rows)
    weights_q = sum(w * (r**2 + error * b / tau) / (b + nu) ** 2 for r, b, w in rows)
    expected = {
        S.lam: lam,
        S.omega: omega,
        S.gamma: gamma,
        S.e_idg: STRENGTH + point[S.rho] - 2 * m + q,
        S.m: weights_m,
        S.q: weights_q,
        S.chi: sum(w / (b + nu) for _, b, w in rows) / omega,
        S.e_icl: 1 + point[S.rho] - 2 * weights_m + weights_q * (1 + (1 + point[S.rho]) / 2),
        S.e_train: error * omega**2,
        S.replicon: 1 - gamma,
    }
    return found | {name.name for name, value in expected.items() if sp.simplify(values[name] - value) != 0}


@pytest.mark.parametrize("temperature", [sp.Rational(1, 3), sp.Integer(40)])
@pytest.mark.parametrize("point", POINTS, ids=["below", "above"])
def test_every_statement_is_the_stationary_value_of_the_functional(derivation, point, temperature):
    assert disagreements(derivation.pool, point, temperature) == set()


STATED = ("lam", "omega", "gamma", "e_idg", "m", "q", "chi", "e_icl", "e_train", "replicon", "free_energy")


@pytest.mark.parametrize("name", STATED)
def test_a_wrong_factor_in_any_statement_is_seen_here(derivation, name):
    theory = derivation.pool
    wrong = dataclasses.replace(
        theory,
        equations=doubled(theory.equations, name),
        observables=doubled(theory.observables, name),
        free_energy=doubled([theory.free_energy], name)[0],
    )
    assert name in disagreements(wrong, POINTS[0], sp.Rational(1, 3))


@pytest.mark.parametrize("point", POINTS, ids=["below", "above"])
def test_new_tasks_direction_by_direction(derivation, point):
    """c_* k_* + (t_* + rho) q/alpha_* summed over a spectrum is the error of a row, spelled out and averaged.

    Doubled, or with the signs of a term changed, k_* does not pass.
    """
    cost, total = derivation.pool.directions
    q, error, alpha_test, tested = (sp.Rational(*pair) for pair in ((2, 7), (5, 4), (3, 2), (9, 4)))
    for r, _ in SPECTRUM:
        b = r + (STRENGTH + point[S.rho]) / point[S.alpha]
        mean = r / (b + point[S.nu])
        second = mean**2 + error * b / point[S.tau] / (b + point[S.nu]) ** 2
        found = cost.rhs.subs({**point, S.eigenvalue: r, S.strength: STRENGTH, S.e_idg: error})
        # Error of row i of W for a task of variance c_* there: label, cross term, and the prediction of this row.
        assert sp.nsimplify(found - (1 - 2 * mean + second)) == 0
    mean = sp.Function("E")(S.tested * S.direction_cost)
    given = {S.rho: point[S.rho], S.test_strength: tested, S.alpha_test: alpha_test, S.q: q, mean: tested * found}
    rest = point[S.rho] + (tested + point[S.rho]) / alpha_test * q
    assert sp.nsimplify(total.rhs.subs(given) - tested * found - rest) == 0


def test_isotropic_new_tasks_are_those_of_the_other_equation(derivation):
    """t_* = c_* = 1: e_icl of the functional, integrand by integrand."""
    theory = derivation.pool
    at = {equation.lhs: one_task_per_prompt(equation.rhs) for equation in (*theory.equations, *theory.observables)}
    cost, total = theory.directions
    found = total.rhs.replace(sp.Function("E"), lambda product: product.subs(S.tested, 1))
    found = found.subs(S.direction_cost, cost.rhs.subs({S.eigenvalue: 1, S.strength: 1})).subs(S.test_strength, 1)
    expected = at[S.e_icl].subs({S.m: at[S.m], S.q: at[S.q]})
    assert sp.simplify(found.subs(S.q, at[S.q]) - expected) == 0


BREAKS = {
    "constraints": lambda constraints, row, prompts, precision: (2 * constraints, row, prompts, precision),
    "row": lambda constraints, row, prompts, precision: (constraints, 2 * row, prompts, precision),
    "source": lambda constraints, row, *rest: (constraints, row.subs(S.m_hat, 2 * S.m_hat), *rest),
    "prompts": lambda constraints, row, prompts, precision: (constraints, row, 2 * prompts, precision),
    "label": lambda constraints, row, prompts, precision: (constraints, row, prompts.subs(S.rho, 2 * S.rho), precision),
    "precision": lambda constraints, row, prompts, precision: (constraints, row, prompts, precision + precision),
}


@pytest.mark.parametrize("part", BREAKS)
def test_a_wrong_part_of_the_functional_stops_the_derivation(model, monkeypatch, part):
    functional = pool._functional
    monkeypatch.setattr(pool, "_functional", lambda action: BREAKS[part](*functional(action)))
    with pytest.raises(ValueError, match="of pools"):
        pool_theory(model)
