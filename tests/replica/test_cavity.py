"""The second road: same equations, for any convex pair."""

import dataclasses

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.cavity import cavity, cavity_differences
from iclglass.replica.disorder import label_moments
from iclglass.replica.model import linear_attention
from iclglass.replica.system import system

CONVEX = {
    "default": {},
    "lasso": {"penalty": "lasso"},
    "huber, non-negative": {"loss": "huber", "spins": "nonnegative"},
    "log loss": {"loss": "log_loss", "labels": "sign"},
    "tasks": {"task_variance": sp.Integer(2), "label_noise": 3 * S.rho},
}


@pytest.mark.parametrize("name", CONVEX)
def test_cavity_equations_are_those_of_the_replicas(name):
    model = linear_attention(**CONVEX[name])
    equations = cavity(model, label_moments(model))
    assert set(cavity_differences(equations, system(model, thermal=False))) == {0}


def test_one_prompt_settles_at_the_least_of_its_loss_and_distance():
    """f = f_cav + c pull and the slope of the pull, for a loss that is not quadratic."""
    residual, c = sp.Rational(2, 5), sp.Rational(3, 4)
    force = sp.tanh
    equation, slope = cavity(linear_attention(), label_moments(linear_attention())).one_prompt
    y, f = 2, 2 - residual
    f_cav = f - c * force(residual)
    assert equation.subs({S.f: f, S.f_cav: f_cav, S.c: c, S.pull: force(residual)}).doit() == sp.true
    curvature = 1 - force(residual) ** 2
    eps = sp.Rational(1, 10**12)
    moved = sp.nsolve(S.f - (f_cav + eps) - c * force(y - S.f), S.f, float(f), prec=40)
    numeric = (force(y - moved) - force(residual)) / eps
    stated = slope.rhs.subs({S.c: c, sp.Symbol("l''"): curvature})
    assert abs(sp.N(numeric - stated, 30)) < 1e-11


def test_leave_one_prompt_out_on_a_matrix(derivation):
    """One prompt's residual with and without it in the fit, for an explicit ridge regression of two weights."""
    s = sp.Matrix([[1, 2], [3, -1], [2, 5], [1, 1]])
    y = sp.Matrix([1, 4, -2, 3])
    prompts, ridge = s.shape[0], sp.Rational(1, 3)

    def fit(rows):
        features, labels = s.extract(rows, [0, 1]), y.extract(rows, [0])
        hessian = features.T * features / prompts + ridge * sp.eye(2)
        return hessian.inv(), hessian.inv() * features.T * labels / prompts

    _, full = fit([0, 1, 2, 3])
    response, without = fit([0, 1, 2])
    last = s[3, :]
    leverage = (last * response * last.T)[0] / prompts
    equation, _ = derivation.cavity.one_prompt
    prediction = (last * full)[0]
    numbers = {S.c: leverage, S.pull: y[3] - prediction, S.f: prediction, S.f_cav: (last * without)[0]}
    assert equation.lhs.subs(numbers) == equation.rhs.subs(numbers)
    assert leverage > 0


@pytest.mark.parametrize("name", ["kappa1", "feature"])
def test_a_wrong_moment_is_seen(derivation, name):
    wrong = dataclasses.replace(derivation.labels, **{name: 2 * getattr(derivation.labels, name)})
    assert set(cavity_differences(cavity(derivation.model, wrong), derivation.general)) != {0}
