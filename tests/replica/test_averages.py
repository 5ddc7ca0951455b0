"""The unevaluated average: Price's theorem, polynomials, integration by parts, printing."""

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import LAWS, Average, GaussianLaw, by_parts, linear
from iclglass.replica.functional import functional
from iclglass.replica.one_body import SpinFree, nodes

NUMBERS = {S.teacher_variance: 1.3, S.kappa1: 0.8, S.m: 0.5, S.a: 1.7, S.q: 0.9, S.Q: 0.6}


def quadrature(average, numbers=NUMBERS):
    law = average.measure
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / np.sqrt(2 * np.pi)
    root = np.linalg.cholesky(np.array(law.covariance.subs(numbers), dtype=float))
    grids = np.meshgrid(*[z] * len(law.fields), indexing="ij")
    fields = np.tensordot(root, np.stack(grids), axes=1)
    weights = np.ones_like(grids[0])
    for axis in range(len(law.fields)):
        weights = weights * weight.reshape([-1 if index == axis else 1 for index in range(len(law.fields))])
    inside = sp.lambdify(law.fields, average.integrand.subs(numbers), "numpy")
    return float((weights * inside(*fields)).sum())


@pytest.mark.parametrize("symbol", [S.m, S.q, S.a, S.kappa1], ids=str)
def test_price(symbol):
    """Derivative by a parameter of the covariance, against differences of integrals."""
    average = Average(sp.cos(S.t + S.f_cav / 2) * sp.exp(-(S.f_cav**2) / 7), "prompts")
    stated = sp.diff(average, symbol)
    value = float(stated.replace(lambda part: isinstance(part, Average), quadrature).subs(NUMBERS))
    step = 1e-3
    around = [quadrature(average, {**NUMBERS, symbol: NUMBERS[symbol] + k * step}) for k in (-2, -1, 1, 2)]
    assert abs(value - np.dot([1, -8, 8, -1], around) / (12 * step)) < 1e-10


@pytest.mark.parametrize("polynomial", [S.t**2 * S.f_cav**2, S.t**4, S.t * S.f_cav**3 + 3, S.f_cav], ids=str)
def test_polynomials_are_done(polynomial):
    average = Average(polynomial, "prompts")
    assert abs(float(average.doit().subs(NUMBERS)) - quadrature(average)) < 1e-12


def test_what_is_no_polynomial_stays():
    for inside in (sp.Abs(S.t), S.pull**2, S.t * S.pull, sp.exp(S.f_cav)):
        average = Average(inside, "prompts")
        assert average.doit() == average
    assert Average(3, "prompts") == 3


def test_by_parts_sees_jumps():
    """E[d sign/dt] is 2 E[delta(t)], though the derivative is 0 wherever there is one."""
    slope_t, slope_f = by_parts(sp.sign(S.t), "prompts")
    values = {S.t: np.sqrt(2 / np.pi * NUMBERS[S.teacher_variance])}
    covariance = np.array(LAWS["prompts"].covariance.subs(NUMBERS), dtype=float)
    values[S.f_cav] = covariance[0, 1] / covariance[0, 0] * values[S.t]

    def known(average):
        return sp.Float(next(value for field, value in values.items() if average.integrand.has(field * sp.sign(S.t))))

    numbers = [
        float(e.replace(lambda part: isinstance(part, Average), known).subs(NUMBERS)) for e in (slope_t, slope_f)
    ]
    assert abs(numbers[0] - 2 / np.sqrt(2 * np.pi * covariance[0, 0])) < 1e-12
    assert abs(numbers[1]) < 1e-12


def test_node_symbols_are_not_differentiated():
    """What one body does depends on every parameter: only its functions know how."""
    assert sp.diff(Average(S.pull, "prompts"), S.m).func is sp.Derivative
    assert sp.diff(Average(SpinFree(S.field, S.K), "spins"), S.K) != 0
    assert nodes(SpinFree(S.field, S.K)) == S.spin_free


def test_factors_that_do_not_vary_are_taken_out():
    average = Average(S.tau * S.pull * (1 + S.m * S.t), "prompts")
    expected = S.tau * Average(S.pull, "prompts") + S.tau * S.m * Average(S.pull * S.t, "prompts")
    assert linear(average) == expected
    assert average.free_symbols >= {S.tau, S.m, S.pull}
    assert not {S.t, S.f_cav} & average.free_symbols


def test_printing():
    average = Average(S.pull**2, "prompts")
    assert str(average) == "E_prompts[pull**2]"
    assert sp.latex(average) == r"\int D(t,f_{cav})\,pull^{2}"
    assert sp.latex(Average(S.t + S.f_cav, "test")) == r"\int D_{*}(t,f_{cav})\,\left(f_{cav} + t\right)"
    assert "∫ Dz_0 spin" in sp.pretty(Average(S.spin**2, "spins"), use_unicode=True)
    assert "∫ D*(t, f_cav)" in sp.pretty(Average(sp.Abs(S.y - S.f_cav), "test"), use_unicode=True)
    assert r"\int" in sp.latex(functional().phi)


def test_laws_of_ones_own():
    x = sp.Symbol("x")
    law = GaussianLaw("mine", (x,), sp.Matrix([[4]]))
    assert Average(x**2 + 1, law).doit() == 5
    assert Average(x, law).law == "mine"
