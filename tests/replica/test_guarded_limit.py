"""The guard of every limit: SymPy's own wrong one is caught, and so is every other; right ones pass."""

import pytest
import sympy as sp

from iclglass.replica import guarded_limit
from iclglass.replica.guarded_limit import limit, value_at_zero

x, a, b = sp.symbols("x a b", positive=True)
signed = sp.Symbol("signed", real=True)
RIGHT = [
    ((a - sp.sqrt(a**2 - x)) / x, 1 / (2 * a)),
    (sp.sqrt(x), sp.S.Zero),
    (x * sp.log(x) + signed, signed),
    ((1 - sp.cos(x)) / x**2, sp.Rational(1, 2)),
    ((sp.sqrt(a**2 + x) - a - x / (2 * a)) / x**2, -1 / (8 * a**3)),
    (-a / sp.sqrt(x), -sp.oo),
    (sp.sqrt(signed**2 + x), sp.Abs(signed)),
]


def cancelling_roots():
    """SymPy issue 23525: a dispersion relation, its slope at 0."""
    k, stiffness, spacing, one, two = sp.symbols("k C a M_1 M_2", positive=True)
    inner = sp.sqrt((one + two) ** 2 - one * two * (2 - 2 * sp.cos(k * spacing)))
    slope = sp.diff(sp.sqrt(stiffness * (one + two - inner) / (one * two)), k)
    return k, slope, spacing * sp.sqrt(stiffness / (2 * (one + two)))


def test_a_limit_that_sympy_gets_wrong_is_refused_with_both_values():
    k, slope, by_hand = cancelling_roots()
    assert sp.limit(slope, k, 0, "+") == 0, "SymPy has mended issue 23525: find another of its wrong limits"
    with pytest.raises(ValueError, match=r"SymPy gives 0 as the limit of .* numbers tend to 0\.\d{9}"):
        limit(slope, k)
    guarded_limit._check(slope, k, sp.S.Zero, by_hand)


@pytest.mark.parametrize(("expression", "value"), RIGHT, ids=str)
def test_right_limits_pass(expression, value):
    guarded_limit._check(expression, x, sp.S.Zero, value)
    guarded_limit._check(expression.subs(x, 1 / x), x, sp.oo, value)


@pytest.mark.parametrize(("expression", "value"), RIGHT, ids=str)
def test_wrong_limits_do_not(expression, value):
    wrong = [sp.oo, -sp.oo, sp.nan, sp.zoo, value + sp.Rational(1, 10**12), value * b + 1, value + x]
    for other in wrong:
        if other != value:
            with pytest.raises(ValueError, match="SymPy gives"):
                guarded_limit._check(expression, x, sp.S.Zero, other)


def test_a_value_right_for_one_sign_only_is_wrong():
    with pytest.raises(ValueError, match="SymPy gives signed"):
        guarded_limit._check(sp.sqrt(signed**2 + x), x, sp.S.Zero, signed)


def test_a_value_at_zero_that_is_not_the_limit_is_refused():
    """0/0 is nan, and a step has a value that is nowhere near."""
    for expression, symbol in (((a - sp.sqrt(a**2 - x)) / x, x), (sp.Heaviside(signed, 0), signed)):
        with pytest.raises(ValueError, match="SymPy gives"):
            value_at_zero(expression, symbol)
    assert value_at_zero(sp.sqrt(a + x), x) == sp.sqrt(a)
