r"""The solver of tasks of one's own solves the derived system: its equations term by term, and its limit lam -> 0.

`numerics.finite_own_tasks` is written in g_a, v_a, om = 1/(1 + c) and R. With squared error and a ridge every average
of `replica.theories.finite` is known given a prompt's scalars, and becomes one of these:

    chi = g_1/D, chi_last = g_2/D,   K = E[om f_1]/D,   M = E[om |xt|^2 u.w/sqrt(D)]/D,   Q = E[om^2 f_1 R]/(tau D)
"""

import numpy as np
import pytest
import sympy as sp

from iclglass.numerics.finite_models import solve_finite_model
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.last_row import LastRow
from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.model import linear_attention
from iclglass.replica.theories.finite import finite_system, second_moments

g_1, g_2, v_1, v_2 = sp.symbols("g_1 g_2 v_1 v_2", positive=True)
f_1, f_2, signal, label, size = S.feature_block, S.feature_last, S.label_signal, S.label_square, S.D
PROMPTS = S.tau * size**2
LEVERAGE = (g_1 * f_1 + g_2 * f_2) / PROMPTS
OM = 1 / (1 + LEVERAGE)
R = label - 2 * S.m * signal / size + S.m**2 * f_1 / size + f_1 * v_1 + f_2 * v_2
"""The typed equations' R; label = (t^2 |xt|^2/D + rho), signal = |xt|^2 u.w/sqrt(D)."""
IN_SPINS = {S.chi: g_1 / size, S.chi_last: g_2 / size, S.v: size * v_1, S.v_last: size * v_2}


def given_scalars(expression):
    """The integrand over scalars of an expression that is linear in averages over prompts."""
    table = second_moments(linear_attention().loss)
    system = finite_system(linear_attention(), thermal=False)
    result = expression.replace(lambda part: isinstance(part, Average), lambda part: table[part.integrand])
    return result.xreplace({S.c: system.leverage}).xreplace(IN_SPINS)


def same(one, other):
    return sp.simplify(sp.together(one - other)) == 0


def test_the_typed_equations_are_the_derived_ones():
    system = finite_system(linear_attention(), thermal=False)
    prompts = system.prompts
    assert same(system.leverage.xreplace(IN_SPINS), LEVERAGE)
    stiffness, last = given_scalars(prompts[S.K]), given_scalars(prompts[S.K_last])
    assert same(stiffness, OM * f_1 / size)
    assert same(last, OM * f_2)
    signal_field = given_scalars(prompts[S.M] - S.K * S.m) + stiffness * S.m
    assert same(signal_field, OM * signal / size)
    assert same(given_scalars(prompts[S.Q]), OM**2 * f_1 * R / (S.tau * size))
    assert same(given_scalars(prompts[S.Q_last]), OM**2 * f_2 * R / S.tau)
    assert same(given_scalars(system.observables["e_train"]), OM**2 * R)


def test_a_term_of_the_wrong_sign_or_size_is_seen():
    found = given_scalars(finite_system(linear_attention(), thermal=False).prompts[S.Q])
    for wrong in (R + 4 * S.m * signal / size, R + f_2 * v_2, R - S.m**2 * f_1 / (2 * size)):
        assert not same(found, OM**2 * f_1 * wrong / (S.tau * size))


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_without_ridge_it_is_the_limit_of_the_derived_system(tau):
    """The difference falls as lam does; tau = 0.5 has fewer prompts than spins."""
    exact = solve_finite(dimension=12, task_diversity=tau, context_length=2.0, label_noise=0.1, ridge=0.0)
    ridges = np.array([1e-3, 1e-4])
    flat = {"dimension": 12.0, "prompts": tau * 144, "context": 24.0, "test_context": 24.0, "label_noise": 0.1}
    flat = {name: np.full(2, value) for name, value in (flat | {"temperature": 0.0}).items()}
    found = solve_finite_model(linear_attention(), flat, {"lam": ridges}, norm="N", layer=LastRow())
    for name in ("m", "q", "e_icl"):
        moved = np.abs(found[name] / float(getattr(exact, name)) - 1)
        assert moved[1] < 2e-3, name
        assert moved[0] / moved[1] == pytest.approx(10, rel=0.1), name
