"""The closed form: proved, so that breaking any definition or output is refused; and checked by numbers."""

import pytest
import sympy as sp
from sympy.codegen.cfunctions import log1p

from iclglass.replica import closed_form as module
from iclglass.replica import symbols as S
from iclglass.replica.action import replicate
from iclglass.replica.closed_form import branch, closed_form
from iclglass.replica.free_energy import free_energy
from iclglass.replica.model import linear_attention
from iclglass.replica.saddle_point import saddle_point
from tests.tolerances import THIRTY_DIGITS


def names(items):
    return [str(key) for key, _ in items]


DEFINED = names(module._definitions())
OUTPUTS = names(module._outputs())
THERMAL = names(module._thermal_outputs())


def double(value):
    if isinstance(value, sp.Piecewise):
        return sp.Piecewise(*((2 * expression, condition) for expression, condition in value.args))
    return 2 * value


def one_branch(above):
    def change(value):
        parts = [branch(value, above=True), branch(value, above=False)]
        parts[0 if above else 1] *= 2
        return sp.Piecewise((parts[0], S.d >= 0), (parts[1], True))

    return change


def logarithm(value):
    """Not only the rational part is compared: a factor inside the logarithm must be seen."""
    return value.replace(log1p, lambda argument: log1p(2 * argument))


SIGNS = {
    "d": lambda _: S.delta - S.ell * S.tau,
    "s": lambda _: sp.sqrt(S.d**2 - 4 * S.ell * S.tau),
    "z": lambda _: 2 * S.tau / (1 + S.tau + S.ell * S.tau - S.s),
    "e_idg": lambda _: (S.rho + (S.b - S.z_bar**2) / S.a) / S.replicon,
    "e_icl": lambda value: value.subs(S.b_test, -S.b_test),
}
# z and inverse_chi are outputs, too: they are handed on to the thermal functions.
BREAKS = [
    *(("_definitions", name, double) for name in DEFINED),
    *(("_definitions", name, change) for name, change in SIGNS.items()),
    *(
        ("_definitions", name, one_branch(side))
        for name in ("z_bar", "r", "chi", "inverse_chi")
        for side in (True, False)
    ),
    *(("_outputs", name, double) for name in OUTPUTS),
    *(("_thermal_outputs", name, double) for name in THERMAL),
    *(("_thermal_outputs", name, logarithm) for name in ("free_energy", "entropy")),
]


@pytest.mark.parametrize(
    ("function", "name", "change"),
    [pytest.param(*case, marks=[pytest.mark.slow] if number else []) for number, case in enumerate(BREAKS)],
)  # a proof takes a second or two: one in every run of the tests
def test_anything_wrong_is_refused(monkeypatch, derivation, function, name, change):
    usual = getattr(module, function)()
    wrong = tuple((key, change(value) if str(key) == name else value) for key, value in usual)
    assert wrong != usual
    monkeypatch.setattr(module, function, lambda: wrong)
    with pytest.raises(ValueError, match=r"the closed form fails|does not hold"):
        closed_form(derivation.system)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"prior_precision": 2 * S.lambda0}, id="prior"),
        pytest.param({"label_noise": 2 * S.rho}, id="noise", marks=pytest.mark.slow),
        pytest.param({"task_variance": sp.Integer(2)}, id="tasks", marks=pytest.mark.slow),
    ],
)
def test_the_closed_form_is_for_this_model_only(change):
    action = replicate(linear_attention(**change))
    with pytest.raises(ValueError, match=r"another model|does not hold"):
        closed_form(saddle_point(action, free_energy(action)))


def test_quadratic_and_its_roots(derivation):
    form = derivation.closed_form
    assert sp.expand(form.quadratic - (S.z**2 - (1 + S.tau + S.ell * S.tau) * S.z + S.tau)) == 0
    definitions = dict(form.definitions)
    for tau, ell in ((sp.Rational(1, 3), sp.Rational(1, 7)), (sp.Integer(3), sp.Rational(1, 7)), (sp.Integer(1), 2)):
        at = {S.tau: tau, S.ell: ell}
        low, high = sorted(sp.Poly(form.quadratic.subs(at), S.z).nroots(n=30))
        assert 0 < low < min(1, tau) <= max(1, tau) < high
        # The one defined is the lower one, which goes to zero as the ridge grows.
        for symbol in (S.delta, S.d, S.s, S.z):
            at[symbol] = definitions[symbol].subs(at)
        assert abs(at[S.z] - low) < THIRTY_DIGITS


def test_definitions_use_only_earlier_ones(derivation):
    known = {S.tau, S.alpha, S.alpha_test, S.rho, S.lam, S.T}
    for symbol, value in derivation.closed_form.definitions:
        assert value.free_symbols <= known, symbol
        known.add(symbol)
    for name, value in derivation.closed_form.outputs + derivation.closed_form.thermal_outputs:
        assert value.free_symbols <= known, name
