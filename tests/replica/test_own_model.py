"""Own models: taken when they make sense, refused in words when not."""

import math

import numpy as np
import pytest
import sympy as sp

import iclglass
from iclglass.replica import symbols as S
from iclglass.replica.model import Model

x = sp.Symbol("x", real=True)
HOLDS = {
    "math": ({"loss": lambda y, f: math.log(1 + y - f)}, TypeError, "not symbolic.*use sympy functions"),
    "numpy": ({"loss": lambda y, f: np.log(1 + (y - f) ** 2)}, TypeError, "not symbolic.*use sympy functions"),
    "if": ({"loss": lambda y, f: y if f > y else f}, TypeError, "not symbolic.*Piecewise for cases.*no 'if'"),
    "a number": ({"loss": lambda y, f: 3.0}, TypeError, "returns the number 3.0.*use sympy"),
    "a list": ({"loss": lambda y, f: [y, f]}, TypeError, r"returns \[y, f\] \(list\)"),
    "one argument": ({"loss": lambda y: y**2}, TypeError, r"must take the arguments \(y, f\); it takes \(y\)"),
    "two for a penalty": ({"penalty": lambda a, b: a * b}, TypeError, r"must take the arguments \(s\)"),
    "not callable": ({"loss": 3}, TypeError, "must be a function of .* not 3"),
    "text": ({"loss": "(y - f)**2"}, ValueError, "text is never evaluated"),
    "undeclared": ({"loss": lambda y, f: x * (y - f) ** 2}, ValueError, "holds x, which the model does not declare"),
    "namesake": ({"loss": (sp.Symbol("y") - S.f) ** 2}, ValueError, "same name.*assumptions"),
    "undefined": ({"loss": lambda y, f: sp.Function("g")(y - f)}, ValueError, "undefined function g"),
    "no f": ({"loss": lambda y, f: y**2}, ValueError, "does not depend on f"),
    "no y": ({"loss": lambda y, f: f**2}, ValueError, "does not depend on y"),
    "no s": ({"penalty": lambda s: 0 * s}, ValueError, "does not depend on s"),
    "complex": ({"loss": lambda y, f: sp.log(y - f)}, ValueError, "not a finite real number at f ="),
    "complex penalty": ({"penalty": sp.sqrt}, ValueError, "not a finite real number at s = -"),
    "infinite": ({"penalty": lambda s: sp.log(sp.Abs(s))}, ValueError, "not a finite real number at s = 0"),
    "falls": ({"loss": lambda y, f: -((y - f) ** 2)}, ValueError, "not bounded below.*no ground state"),
    "falls on one side": ({"loss": lambda y, f: y - f}, ValueError, "not bounded below.*as f -> oo"),
    "falls slowly": ({"loss": lambda y, f: -sp.log(1 + (y - f) ** 2)}, ValueError, "not bounded below"),
    "no confinement": ({"penalty": lambda s: -(s**2) / 9}, ValueError, "partition function of one spin is infinite"),
    "escape": ({"penalty": lambda s: -(s**4)}, ValueError, "falls faster than -s.2"),
    "too fast": ({"penalty": lambda s: s**4}, ValueError, "grows faster than s.2.*magnetization is 0"),
    "faster by a log": ({"penalty": lambda s: s**2 * sp.log(1 + s**2)}, ValueError, "grows faster than s.2"),
    "margin": ({"loss": lambda y, f: sp.exp(-y * f)}, ValueError, "margin loss.*take labels='sign'"),
    "endless kinks": ({"penalty": lambda s: sp.Abs(sp.sin(s))}, ValueError, "cannot be located"),
    "spins": ({"spins": "complex"}, ValueError, "spins must be one of"),
    "labels": ({"labels": "complex"}, ValueError, "labels must be one of"),
}


@pytest.mark.parametrize(("given", "error", "message"), HOLDS.values(), ids=HOLDS)
def test_refused_in_words(given, error, message):
    with pytest.raises(error, match=message):
        iclglass.Model(**given)


def test_interface_example():
    model = iclglass.Model(
        loss=lambda y, f: sp.log(sp.cosh(y - f)), penalty=lambda s: s**2 / 20 + (sp.sqrt(1 + s**2) - 1) / 2
    )
    assert isinstance(model, Model)
    assert model.loss == sp.log(sp.cosh(S.y - S.f))
    assert model.strengths == ()
    assert model.loss_energy.convex is model.spin_energy.convex is True
    assert model.diagonal_energy().expression == S.diagonal**2 / 20
    assert sp.expand(S.D**2 * model.prior - (S.D * S.sigma**2 / 20 + (sp.sqrt(1 + S.D * S.sigma**2) - 1) / 2)) == 0


TAKEN = {
    "expressions": {"loss": sp.Abs(S.y - S.f), "penalty": S.l1 * sp.Abs(S.scaled_spin)},
    "names": {"loss": "huber", "penalty": "elastic_net"},
    "not convex, bounded": {"loss": lambda y, f: sp.log(1 + (y - f) ** 2)},
    "falls more slowly than -s^2": {"penalty": lambda s: -sp.log(1 + s**2)},
    "root on the half line": {"penalty": sp.sqrt, "spins": "nonnegative"},
    "sign labels": {"loss": lambda y, f: sp.Max(0, 1 - y * f) ** 2, "labels": "sign", "spins": "binary"},
    "double well": {"penalty": lambda s: s**2 / 2 - sp.Abs(s)},
}


@pytest.mark.parametrize("given", TAKEN.values(), ids=TAKEN)
def test_taken(given):
    model = iclglass.Model(**given)
    assert (model.labels, model.spins) == (given.get("labels", "linear"), given.get("spins", "real"))
    assert len(repr(model)) < 300


def test_own_model_of_the_shipped_energies_is_the_shipped_model():
    own = iclglass.Model(lambda y, f: (y - f) ** 2 / 2, lambda s: S.lam * s**2 / 2, name="linear attention")
    shipped = iclglass.Model(name="linear attention")
    assert own == shipped
    assert own.prior == S.lambda0 * S.sigma**2 / 2


def test_decimals_are_fractions():
    model = iclglass.Model(loss=lambda y, f: sp.Max(0, sp.Abs(y - f) - 0.1))
    assert model.loss_energy.kinks == (S.y - sp.Rational(1, 10), S.y + sp.Rational(1, 10))
