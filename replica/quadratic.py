r"""Squared error and Gaussian spins: the one-body integrals in closed form, put into what is true of every model.

    Lambda_s(h, k) = (1/2) ln(2 pi/(k + p)) + h^2/(2 (k + p))              p: precision of the prior
    Lambda_p(y, w, V) = ln int Dz exp(-g l(y, w + V^(1/2) z))              l: a quadratic form

Both averages are then of polynomials, so functional, system and replicon are rational: part of the theory that has a
closed form (`replica.closed_form`).
"""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import ReplicatedAction
from iclglass.replica.averages import Average, GaussianLaw, OneBody
from iclglass.replica.one_body import DiagonalFree, PromptFree, Pull, PullSlope, Response, Spin, SpinFree

__all__ = [
    "gaussian_integral",
    "inserted",
    "log_diagonal",
    "log_prompt",
    "log_spin",
    "prompt_law",
]


def gaussian_integral(exponent: sp.Expr, variable: sp.Symbol) -> sp.Expr:
    """ln of the integral over the real line of exp(exponent), a quadratic polynomial.

    Examples
    --------
    >>> x, p = sp.symbols("x p", positive=True)
    >>> gaussian_integral(-p * x**2 / 2, x)
    log(2*pi/p)/2
    """
    polynomial = sp.Poly(sp.expand(exponent), variable)
    if polynomial.degree() != 2:
        raise ValueError(f"{exponent} is not of second degree in {variable}")
    curvature, slope, constant = polynomial.all_coeffs()
    precision = sp.factor(-2 * curvature)
    return sp.log(2 * sp.pi / precision) / 2 + slope**2 / (2 * precision) + constant


def log_spin(action: ReplicatedAction) -> sp.Expr:
    """Lambda_s in S.field and S.k_hat."""
    prior = action.gaussian[1] * S.scaled_spin**2 / 2
    return gaussian_integral(-prior - S.k_hat * S.scaled_spin**2 / 2 + S.field * S.scaled_spin, S.scaled_spin)


def log_diagonal(action: ReplicatedAction, precision: sp.Expr) -> sp.Expr:
    """Extremum of one diagonal spin's exponent at this precision, the size of its prior being as off the diagonal."""
    exponent = S.m_hat * S.diagonal - (precision + action.gaussian[1]) * S.diagonal**2 / 2
    (extremum,) = sp.solve(sp.diff(exponent, S.diagonal), S.diagonal)
    return sp.simplify(exponent.subs(S.diagonal, extremum))


def log_prompt(action: ReplicatedAction, variance: sp.Expr) -> sp.Expr:
    """Lambda_p in S.y and S.f_cav, for predictions of this variance around f_cav."""
    vector = sp.Matrix([S.y, S.f_cav + sp.sqrt(variance) * S.normal])
    loss = (vector.T * action.gaussian[0] * vector)[0] / 2
    exponent = -S.g * loss - S.normal**2 / 2
    # The measure Dz is normalised.
    return sp.expand_log(gaussian_integral(exponent, S.normal) - sp.log(2 * sp.pi) / 2, force=True)


def prompt_law(action: ReplicatedAction) -> GaussianLaw:
    """Label, teacher and prediction; the teacher of linear labels is the label without its noise."""
    label, signal = action.label, action.signal
    covariance = sp.Matrix(
        [
            [label, signal, signal * S.m],
            [signal, signal, signal * S.m],
            [signal * S.m, signal * S.m, S.a * S.q],
        ]
    )
    return GaussianLaw("prompts", (S.y, S.t, S.f_cav), covariance)


def inserted(expression: sp.Expr, action: ReplicatedAction) -> sp.Expr:
    """The same with one body's functions in closed form and every average done.

    Parameters
    ----------
    expression
        In functions of `replica.one_body` and their averages.
    action
        Of a model with squared error and Gaussian spins.
    """
    K, M, c = S.K, S.M, S.c
    units = {S.k_hat: K / S.T, S.m_hat: M / S.T, S.field: S.field / S.T, S.betahat: 1 / S.T, S.g: 1 / (S.tau * S.T)}
    spin = -S.T * log_spin(action).subs(units)
    prompt = -S.tau * S.T * log_prompt(action, S.tau * S.T * c).subs(units)
    diagonal = -S.T * log_diagonal(action, S.k_hat).subs(units)
    pull = -sp.diff(prompt, S.f_cav)
    closed: dict[type[sp.Function], tuple[sp.Expr, tuple[sp.Symbol, ...]]] = {
        SpinFree: (spin, (S.field, K)),
        Spin: (-sp.diff(spin, S.field), (S.field, K)),
        Response: (-sp.diff(spin, S.field, 2), (S.field, K)),
        PromptFree: (prompt, (S.t, S.f_cav, c)),
        Pull: (pull, (S.t, S.f_cav, c)),
        PullSlope: (sp.diff(pull, S.f_cav), (S.t, S.f_cav, c)),
        DiagonalFree: (diagonal, (K, M)),
    }

    def solved(function: sp.Expr) -> sp.Expr:
        value, symbols = closed[type(function)]
        return value.subs(dict(zip(symbols, function.args, strict=True)), simultaneous=True)

    law = prompt_law(action)

    def averaged(average: Average) -> sp.Expr:
        inside = average.integrand.replace(lambda part: type(part) in closed, solved)
        return Average(inside, law if average.law == "prompts" else average.measure).doit()

    done = expression.replace(lambda part: isinstance(part, Average), averaged)
    done = done.replace(lambda part: isinstance(part, OneBody), solved)
    return done.subs(S.diagonal, -sp.diff(diagonal, M))
