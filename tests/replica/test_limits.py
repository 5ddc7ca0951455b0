"""Limits of the closed form against limits of the saddle-point equations, taken by hand."""

import mpmath
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.limits import _insert

NUMBERS = {S.alpha: sp.Rational(7, 3), S.rho: sp.Rational(1, 5)}
FEATURE = 1 + (1 + NUMBERS[S.rho]) / NUMBERS[S.alpha]
NUMBERS |= {S.a: FEATURE, S.b: FEATURE - 1}


def as_dictionary(equations, tau):
    return {str(equation.lhs): equation.rhs.subs({S.tau: tau, **NUMBERS}) for equation in equations}


@pytest.mark.parametrize("tau", [sp.Rational(6, 5), sp.Integer(3), sp.Integer(50)])
def test_ridgeless_above_the_threshold(derivation, tau):
    """Least squares: m = 1/a, 1 + a chi/tau = tau/(tau - 1), e_idg = (1 + rho - 1/a) tau/(tau - 1)."""
    found = as_dictionary(derivation.limits.ridgeless_above, tau)
    error = (1 + NUMBERS[S.rho] - 1 / FEATURE) * tau / (tau - 1)
    expected = {
        "m": 1 / FEATURE,
        "z_bar": 0,
        "chi": tau / (FEATURE * (tau - 1)),
        "e_idg": error,
        "e_train": error * (1 - 1 / tau) ** 2,
        "replicon": 1 - 1 / tau,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert sp.simplify(found[name] - value) == 0, name


@pytest.mark.parametrize("tau", [sp.Rational(1, 50), sp.Rational(1, 3), sp.Rational(9, 10)])
def test_ridgeless_below_the_threshold(derivation, tau):
    """Interpolation: m = tau/a, lam chi = 1 - tau, no train error; q(1 - tau) = m^2 (1 + a (1 + rho - 2m)/tau)."""
    found = as_dictionary(derivation.limits.ridgeless_below, tau)
    m = tau / FEATURE
    q = m**2 * (1 + FEATURE / tau * (1 + NUMBERS[S.rho] - 2 * m)) / (1 - tau)
    expected = {
        "m": m,
        "z_bar": 1 - tau,
        "e_idg": 1 + NUMBERS[S.rho] - 2 * m + FEATURE * q,
        "e_train": 0,
        "replicon": 1 - tau,
    }
    assert found.pop("chi") == sp.oo
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert sp.simplify(found[name] - value) == 0, name


def test_amplitudes_at_the_threshold(derivation):
    """At tau = 1: 1/chi = lam + a/(1 + a chi) gives a lam chi^2 -> 1; replicon -> 2 sqrt(lam/a)."""
    found = {str(sp.simplify(equation.lhs / sp.sqrt(S.lam))): equation.rhs for equation in derivation.limits.threshold}
    assert found.keys() == {"chi", "e_idg"}
    assert sp.simplify(found["chi"] - 1 / sp.sqrt(S.a)) == 0
    expected = (1 + S.rho - 1 / S.a) * sp.sqrt(S.a) / 2
    assert sp.simplify((found["e_idg"] - expected).subs(S.b, S.a - 1)) == 0


def test_amplitudes_at_a_tiny_ridge(derivation):
    with mpmath.workdps(60):
        lam = mpmath.mpf(10) ** -30
        a = mpmath.mpf(FEATURE.p) / FEATURE.q
        for equation in derivation.limits.threshold:
            symbol = next(iter(equation.lhs.free_symbols - {S.lam}))
            value = _insert(symbol, derivation.closed_form, above=True).subs(S.tau, 1).subs(NUMBERS)
            value = mpmath.mpf(str(sp.N(value.subs(S.lam, sp.Rational(1, 10**30)), 40)))
            amplitude = mpmath.mpf(str(sp.N(equation.rhs.subs(NUMBERS), 40)))
            assert abs(value * mpmath.sqrt(lam) / amplitude - 1) < 10 / a * mpmath.sqrt(lam)


def test_ground_state(derivation):
    """T -> 0: energy and free energy are half of train error plus ridge energy."""
    for equation in derivation.limits.ground_state:
        assert sp.simplify(equation.rhs - (S.e_train + S.lam * S.q) / 2) == 0
    assert {str(equation.lhs) for equation in derivation.limits.ground_state} == {"energy", "free_energy"}


def test_the_two_branches_meet(derivation):
    """On d = 0 both branches of every definition have one value."""
    form = derivation.closed_form
    tau = sp.Rational(2, 3)
    ell = (1 - tau) / tau
    at = {S.tau: tau, S.lam: ell * FEATURE, **NUMBERS}
    for symbol in (S.z_bar, S.chi, S.inverse_chi, S.r, S.e_idg, S.e_train):
        above, below = (_insert(symbol, form, above=side).subs(at) for side in (True, False))
        assert sp.simplify(above - below) == 0, symbol
