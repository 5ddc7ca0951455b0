"""Limits of the closed form against limits of the saddle-point equations, taken by hand."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit
from iclglass.replica.limits import _insert
from iclglass.replica.thermodynamics import thermodynamics

NUMBERS = {S.alpha: sp.Rational(7, 3), S.rho: sp.Rational(1, 5)}
FEATURE = 1 + (1 + NUMBERS[S.rho]) / NUMBERS[S.alpha]
NUMBERS |= {S.a: FEATURE, S.b: FEATURE - 1}


def above(tau):
    """Least squares: m = 1/a, 1 + a chi/tau = tau/(tau - 1), e_idg = (1 + rho - 1/a) tau/(tau - 1)."""
    error = (1 + NUMBERS[S.rho] - 1 / FEATURE) * tau / (tau - 1)
    chi = tau / (FEATURE * (tau - 1))
    return {"m": 1 / FEATURE, "z_bar": 0, "chi": chi, "e_idg": error, "e_train": error * (1 - 1 / tau) ** 2}


def below(tau):
    """Interpolation: m = tau/a, lam chi = 1 - tau, no train error; q(1 - tau) = m^2 (1 + a (1 + rho - 2m)/tau)."""
    m = tau / FEATURE
    q = m**2 * (1 + FEATURE / tau * (1 + NUMBERS[S.rho] - 2 * m)) / (1 - tau)
    error = 1 + NUMBERS[S.rho] - 2 * m + FEATURE * q
    return {"m": m, "z_bar": 1 - tau, "chi": sp.oo, "e_idg": error, "e_train": 0}


@pytest.mark.parametrize("tau", [(1, 50), (1, 3), (9, 10), (6, 5), (3, 1), (50, 1)], ids=str)
def test_ridgeless(derivation, tau):
    tau = sp.Rational(*tau)
    limits, by_hand = derivation.limits, (above if tau > 1 else below)(tau)
    equations = limits.ridgeless_above if tau > 1 else limits.ridgeless_below
    found = {str(equation.lhs): equation.rhs.subs({S.tau: tau, **NUMBERS}) for equation in equations}
    expected = {**by_hand, "replicon": 1 - min(tau, 1 / tau)}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value or sp.simplify(found[name] - value) == 0, name


def test_amplitudes_at_the_threshold(derivation):
    """At tau = 1: 1/chi = lam + a/(1 + a chi) gives a lam chi^2 -> 1; replicon -> 2 sqrt(lam/a)."""
    found = {str(sp.simplify(equation.lhs / sp.sqrt(S.lam))): equation.rhs for equation in derivation.limits.threshold}
    assert found.keys() == {"chi", "e_idg"}
    assert sp.simplify(found["chi"] - 1 / sp.sqrt(S.a)) == 0
    expected = (1 + S.rho - 1 / S.a) * sp.sqrt(S.a) / 2
    assert sp.simplify((found["e_idg"] - expected).subs(S.b, S.a - 1)) == 0


def test_ground_state(derivation):
    """T -> 0: energy and free energy are half of train error plus ridge energy."""
    for equation in derivation.limits.ground_state:
        assert sp.simplify(equation.rhs - (S.e_train + S.lam * S.q) / 2) == 0
    assert {str(equation.lhs) for equation in derivation.limits.ground_state} == {"energy", "free_energy"}


def test_what_depends_on_temperature_is_one_free_energy():
    """With V = n_s ln T + const: energy = f + T entropy; q and e_icl rise linearly; the entropy falls without end."""
    warm = {name: value for name, value, _ in thermodynamics()}
    constant = sp.Symbol("constant", real=True)
    at = {name: value.subs(S.volume, S.spins * sp.log(S.T) + constant) for name, value in warm.items()}
    assert sp.expand(at["entropy"] + sp.diff(at["free_energy"], S.T)) == 0
    assert sp.expand(at["energy"] - at["free_energy"] - S.T * at["entropy"]) == 0
    assert sp.expand(at["energy"] - S.ground_state - S.spins * S.T / 2) == 0
    assert sp.diff(warm["q_self"], S.T) == S.chi
    assert sp.diff(warm["e_icl_gibbs"], S.T) == S.gibbs_response
    assert limit(sp.exp(at["entropy"].subs(S.spins, 1)), S.T) == 0


def test_the_two_branches_meet(derivation):
    """On d = 0 both branches of every definition have one value."""
    form = derivation.closed_form
    tau = sp.Rational(2, 3)
    ell = (1 - tau) / tau
    at = {S.tau: tau, S.lam: ell * FEATURE, **NUMBERS}
    for symbol in (S.z_bar, S.chi, S.inverse_chi, S.r, S.e_idg, S.e_train):
        above, below = (_insert(symbol, form, above=side).subs(at) for side in (True, False))
        assert sp.simplify(above - below) == 0, symbol
