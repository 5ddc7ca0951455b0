"""The second road: same equations, and it refuses what it cannot do."""

import dataclasses

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.cavity import cavity, cavity_differences
from iclglass.replica.disorder import feature_moments
from iclglass.replica.model import linear_attention


def test_cavity_equations_are_those_of_the_replicas(derivation):
    assert cavity_differences(derivation.cavity, derivation.system) == (0, 0, 0, 0)


def test_cavity_does_not_use_the_replica_modules():
    """What `cavity` computes comes from the model and the moments of one prompt alone."""
    model = linear_attention()
    equations = cavity(model, feature_moments(model))
    assert sp.simplify(equations.leverage.rhs - S.a * S.chi / S.tau) == 0
    screening = 1 + S.a * S.chi / S.tau
    right = [equation.rhs for equation in equations.equations]
    assert sp.simplify(right[0] - S.lam - S.a / screening) == 0
    assert sp.simplify(right[1] - S.chi / screening) == 0
    error = 1 + S.rho - 2 * S.m + S.a * S.q
    assert sp.simplify(right[2] - S.m**2 - S.a / S.tau * (S.chi / screening) ** 2 * error) == 0


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
    equation = derivation.cavity.one_prompt
    numbers = {S.c: leverage, S.y: y[3], S.f: (last * full)[0], sp.Symbol("f_cav", real=True): (last * without)[0]}
    assert equation.lhs.subs(numbers) == equation.rhs.subs(numbers)
    assert leverage > 0


@pytest.mark.parametrize(
    "change", [{"loss": (S.y - S.f) ** 2}, {"prior": S.sigma**4}, {"loss": sp.Abs(S.y - S.f)}], ids=str
)
def test_linear_response_must_be_exact(change):
    model = dataclasses.replace(linear_attention(), **change)
    with pytest.raises(ValueError, match="exact linear response"):
        cavity(model, feature_moments(model))


def test_a_wrong_moment_is_seen(derivation):
    model = linear_attention()
    moments = feature_moments(model)
    for name in ("label", "signal", "block"):
        wrong = dataclasses.replace(moments, **{name: 2 * getattr(moments, name)})
        assert any(difference != 0 for difference in cavity_differences(cavity(model, wrong), derivation.system)), name
