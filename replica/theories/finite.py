r"""The theory at finite D: the same one-body problems, prompts whose size fluctuates, and classes of spins.

At D -> infinity |u|^2 |xt|^2 is the same for every prompt and the last row of weights does not count; at D = 10 that is
an error of 20 %. Leave one prompt out, keep its scalars

    f_1 = |u|^2 |xt|^2,   f_2 = v^2 |xt|^2,   o_x = u.xt,   t = w.xt/sqrt(D)

and three classes of spins: D on the diagonal, D(D-1) off it, D in the last row. In scaled spins s = sqrt(D) W, with
mean square v and response chi of each class (mean m sqrt(D) on the diagonal), the prediction without the prompt and its
leverage are

    f_cav = m o_x + N(0, S),   S = f_1 (v_d + (D-1) v_o)/D^2 + f_2 v_l/D
                               c = [f_1 (chi_d + (D-1) chi_o)/D + f_2 chi_l]/(tau D)

and -T phi is one free energy a spin and one a prompt (`replica.one_body`), with the terms that tie them together:

    -T phi = E[prompt_free(t, f_cav, c)] + sum over classes of (share of D^2)
             { <spin_free(b + field, K)> - K (mean^2 + v + T chi)/2 + Q chi/2 + b mean }

b = M sqrt(D) on the diagonal and 0 elsewhere. Everything else is its stationarity, as at D -> infinity. E is over one
prompt, scalars included: what its law is, and how to average over it, numerics knows (`numerics.lowering.finite`).

With squared error and linear labels, what is averaged is a square of (y, o_x, N(0, S)), whose second moments given the
scalars are all there is to know, because xt is isotropic (`second_moments`). Source: this project,
notes/finite_size.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import Average, GaussianLaw, by_parts, linear
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.model import Model
from iclglass.replica.one_body import PromptFree, Pull, PullSlope, Response, Spin, SpinFree, nodes
from iclglass.replica.stability import eigenvalue
from iclglass.replica.system import stationary

__all__ = ["CLASSES", "FiniteSystem", "finite_system", "second_moments"]

_SCALARS = (S.t, S.feature_block, S.feature_last, S.query_overlap, S.label_square, S.label_signal)


@dataclass(frozen=True)
class _Class:
    """Spins of one kind, with symbols of their own: number/D^2, mean, v, chi, field's mean, K and Q."""

    name: str
    share: sp.Expr
    mean: sp.Expr
    v: sp.Symbol
    chi: sp.Symbol
    bias: sp.Expr
    K: sp.Symbol
    Q: sp.Symbol

    @property
    def argument(self) -> tuple[sp.Expr, sp.Symbol]:
        """Field and precision of one spin."""
        return self.bias + S.field, self.K

    @property
    def law(self) -> GaussianLaw:
        """Of the field around its mean."""
        return GaussianLaw(self.name, (S.field,), sp.Matrix([[self.Q]]), (S.normal,))

    def average(self, integrand: sp.Expr) -> sp.Expr:
        return Average(integrand, self.law)

    def term(self) -> sp.Expr:
        """What one such spin adds to -T phi."""
        free = self.average(SpinFree(*self.argument))
        tied = self.Q * self.chi / 2 - self.K * (self.mean**2 + self.v + S.T * self.chi) / 2 + self.bias * self.mean
        return self.share * (free + tied)


def _own(name: str) -> tuple[sp.Symbol, ...]:
    return tuple(sp.Symbol(f"{part}_{name}", real=True) for part in ("v", "chi", "K", "Q"))


_D = S.D
_v_d, _chi_d, _K_d, _Q_d = _own("d")
_v_o, _chi_o, _K_o, _Q_o = _own("o")
_DIAGONAL = _Class("diagonal", 1 / _D, sp.sqrt(_D) * S.m, _v_d, _chi_d, sp.sqrt(_D) * S.M, _K_d, _Q_d)
_OFF = _Class("off", (_D - 1) / _D, sp.S.Zero, _v_o, _chi_o, sp.S.Zero, _K_o, _Q_o)
_LAST = _Class("last", 1 / _D, sp.S.Zero, S.v_last, S.chi_last, sp.S.Zero, S.K_last, S.Q_last)
CLASSES = tuple(each.name for each in (_DIAGONAL, _OFF, _LAST))
"""Names of the classes, which are those of the laws of their fields."""

_BLOCK = {
    S.v: (_v_d + (_D - 1) * _v_o) / _D,
    S.chi: (_chi_d + (_D - 1) * _chi_o) / _D,
}
"""Means over the block."""


@dataclass(frozen=True)
class FiniteSystem:
    """The theory of one model at finite D, in node symbols and averages over "prompts", "test" and the classes.

    Attributes
    ----------
    model, thermal, last_row
        The model; T > 0 or its limit T -> 0; whether there is a last row of weights.
    leverage, variance
        c and S in the prompt's scalars, chi, v and those of the last row.
    prompts
        K, M, Q, K_last, Q_last in m and averages over prompts.
    spins
        m, v, chi, v_last, chi_last in averages over the classes' fields.
    prompts_by_parts, spins_by_parts
        The same without derivatives of pull and spin, for those that jump.
    replicon
        The matrix whose largest eigenvalue, taken from 1, is the replicon.
    observables
        Name -> expression.
    """

    model: Model
    thermal: bool
    last_row: bool
    leverage: sp.Expr
    variance: sp.Expr
    prompts: Mapping[sp.Symbol, sp.Expr]
    spins: Mapping[sp.Symbol, sp.Expr]
    prompts_by_parts: Mapping[sp.Symbol, sp.Expr]
    spins_by_parts: Mapping[sp.Symbol, sp.Expr]
    replicon: sp.ImmutableMatrix
    observables: Mapping[str, sp.Expr]


@cache
def finite_system(model: Model, *, thermal: bool, last_row: bool = True) -> FiniteSystem:
    """Derive the system of a model at finite D.

    Parameters
    ----------
    model
        Of it are read the loss, and by numerics what one spin and one prediction do.
    thermal
        At temperature T > 0, or in the limit T -> 0.
    last_row
        Whether the mean squared label has weights.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> found = finite_system(linear_attention(), thermal=False)
    >>> found.prompts[S.M]
    K*m + E_prompts[o_x*pull]
    >>> found.prompts[S.Q], found.prompts[S.Q_last]
    (E_prompts[f_1*pull**2]/(D*tau), E_prompts[f_2*pull**2]/tau)
    >>> found.spins[S.m]
    E_diagonal[spin]/sqrt(D)
    """
    classes = (_DIAGONAL, _OFF, _LAST)[: 2 + last_row]
    leverage, variance = _leverage(last_row), _variance(last_row)
    law, test = (
        GaussianLaw(name, (S.fluctuation,), sp.Matrix([[variance]]), (S.fluctuation, *_SCALARS))
        for name in ("prompts", "test")
    )
    arguments = S.t, S.m * S.query_overlap + S.fluctuation, leverage
    of_prompts = linear(Average(PromptFree(*arguments), law))
    prompts, spins = _prompts_side(of_prompts, classes), _spins_side(classes)
    features = (S.feature_block, S.feature_last)[: 1 + last_row]
    pull_jumps = {
        Average(feature * PullSlope(*arguments), law): by_parts(feature * Pull(*arguments), law)[0]
        for feature in features
    }
    spin_jumps = {
        each.average(Response(*each.argument)): by_parts(Spin(*each.argument), each.law)[0] for each in classes
    }

    def finished(side: Mapping[sp.Symbol, sp.Expr], instead: Mapping[sp.Expr, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        return {symbol: _in_nodes(value.xreplace(dict(instead)), thermal) for symbol, value in side.items()}

    return FiniteSystem(
        model=model,
        thermal=thermal,
        last_row=last_row,
        leverage=leverage,
        variance=variance,
        prompts=finished(prompts, {}),
        spins=finished(spins, {}),
        prompts_by_parts=finished(prompts, pull_jumps),
        spins_by_parts=finished(spins, spin_jumps),
        replicon=_replicon(law, classes, arguments, thermal),
        observables=_observables(model, law, test, classes, of_prompts, thermal),
    )


def _leverage(last_row: bool) -> sp.Expr:
    last = S.feature_last * S.chi_last if last_row else sp.S.Zero
    return sp.expand((S.feature_block * S.chi + last) / (S.tau * _D))


def _variance(last_row: bool) -> sp.Expr:
    last = S.feature_last * S.v_last if last_row else sp.S.Zero
    return sp.expand((S.feature_block * S.v + last) / _D)


def _prompts_side(of_prompts: sp.Expr, classes: tuple[_Class, ...]) -> dict[sp.Symbol, sp.Expr]:
    """Fields by stationarity in m, v, chi of the block, of its diagonal alone, and of the last row.

    Raises ArithmeticError: the fields of the two classes of the block are not the same.
    """
    # Means over the block, and the diagonal's, instead of both classes': prompts know the former only.
    off = {_v_o: (_D * S.v - _v_d) / (_D - 1), _chi_o: (_D * S.chi - _chi_d) / (_D - 1)}
    free = of_prompts + sp.Add(*(each.term().subs(off) for each in classes))
    unknowns = {_K_o: S.v, _K_d: _v_d, S.M: S.m, _Q_o: S.chi, _Q_d: _chi_d}
    if len(classes) > 2:
        unknowns |= {S.K_last: S.v_last, S.Q_last: S.chi_last}
    found = stationary(free, unknowns)
    for one, other in ((_K_o, _K_d), (_Q_o, _Q_d)):
        if sp.expand(found[other].xreplace({one: found[one]}) - found[one]) != 0:
            raise ArithmeticError(f"fields of the block differ: {found[one]} and {found[other]}")
    return {
        S.K: found[_K_o],
        S.M: found[S.M],
        S.Q: found[_Q_o],
        **{symbol: found[symbol] for symbol in (S.K_last, S.Q_last) if symbol in found},
    }


def _spins_side(classes: tuple[_Class, ...]) -> dict[sp.Symbol, sp.Expr]:
    """m and the block's and last row's v and chi."""
    found: dict[sp.Symbol, sp.Expr] = {}
    for each in classes:
        signal = {S.m: S.M} if each.bias.has(S.M) else {}
        found |= stationary(each.term(), {each.chi: each.Q, **signal, each.v: each.K})
    # The diagonal's v is its mean square without that of its mean.
    averages = {symbol: value.xreplace(found) for symbol, value in _BLOCK.items()}
    block = {S.m: found[S.m], **{symbol: linear(sp.expand(value)) for symbol, value in averages.items()}}
    return block | {symbol: found[symbol] for symbol in (S.v_last, S.chi_last) if symbol in found}


def _in_nodes(expression: sp.Expr, thermal: bool) -> sp.Expr:
    """Node symbols for functions of one body, the block's fields, and T = 0 unless there is a temperature."""
    result = linear(nodes(expression.xreplace(_IN_BLOCK)))
    if thermal:
        return result
    masks = {average: sp.Dummy(real=True) for average in result.atoms(Average)}
    return value_at_zero(result.xreplace(masks), S.T).xreplace({mask: average for average, mask in masks.items()})


def _replicon(
    law: GaussianLaw, classes: tuple[_Class, ...], arguments: tuple[sp.Expr, ...], thermal: bool
) -> sp.ImmutableMatrix:
    """What a perturbation of the v of block and last row becomes in one step, in the replicon's directions.

    The field on a spin of group a gets E[f_a g'^2 dS] / ..., which its mean square follows by its squared response.
    """
    prompt = eigenvalue(-PromptFree(*arguments) / (S.tau * S.T), S.fluctuation, sp.S.One)
    spin = [
        each.average(eigenvalue(-SpinFree(*each.argument) / S.T, S.field, S.T)) * share
        for each, share in zip(classes, (1 / _D, (_D - 1) / _D, sp.S.One), strict=False)
    ]
    groups = [(spin[0] + spin[1], S.feature_block, S.chi), *((each, S.feature_last, S.chi_last) for each in spin[2:])]
    variance, leverage = law.covariance[0, 0], arguments[2]
    rows = []
    for row, (response, _, chi) in enumerate(groups):
        # dQ_a = 2/share d(-T phi)/d chi_a: E[tau (dc/d chi_a)/share_a ...] in units of prompts' free energies.
        pushed = S.tau**2 * sp.diff(leverage, chi) * (_D if row else 1)
        moved = [sp.diff(variance, v) for v in (S.v, S.v_last)[: len(groups)]]
        pushes = [linear(Average(pushed * part * prompt, law)) for part in moved]
        rows.append([_in_nodes(sp.expand(push * linear(response)), thermal) for push in pushes])
    return sp.ImmutableMatrix(rows)


def _observables(
    model: Model,
    law: GaussianLaw,
    test: GaussianLaw,
    classes: tuple[_Class, ...],
    of_prompts: sp.Expr,
    thermal: bool,
) -> dict[str, sp.Expr]:
    q, T = S.m**2 + S.v, S.T if thermal else sp.S.Zero
    last_row = len(classes) > 2
    last = S.v_last if last_row else sp.S.Zero
    spins = sp.Add(*(each.share for each in classes))
    penalty = sp.Add(*(each.share * each.average(S.mean_penalty) for each in classes))
    observables = {
        "q": q,
        "q_self": q + T * S.chi,
        "last_row": last,
        "contrast": S.m * _D / sp.sqrt((_D + int(last_row)) * (_D * q + last)),
        "density": sp.Add(*(each.share * each.average(S.nonzero) for each in classes)) / spins,
        "density_off_diagonal": _OFF.average(S.nonzero),
        "train_loss": Average(model.loss, law),
        "test_loss": Average(model.loss.subs(S.f, S.f_cav), test),
        "energy": Average(S.mean_loss, law) + penalty,
    }
    if model.labels == "linear":
        observables["e_train"] = Average((S.y - S.f) ** 2, law)
    else:
        # The share of f_cav = m o_x + N(0, S) of the wrong sign.
        observables["error_rate"] = Average(
            sp.erfc(S.y * S.m * S.query_overlap / sp.sqrt(2 * _variance(last_row))) / 2, test
        )
    # The terms of block classes are linear in v and chi, of which only the means over the block are kept.
    means = {symbol: mean for each in classes[:2] for symbol, mean in ((each.v, S.v), (each.chi, S.chi))}
    free = of_prompts + sp.Add(*(each.term().subs(means) for each in classes))
    observables["free_energy"] = _in_nodes(sp.expand(free), thermal)
    if thermal:
        observables["entropy"] = (observables["energy"] - observables["free_energy"]) / S.T
    return observables


_IN_BLOCK = {_K_d: S.K, _K_o: S.K, _Q_d: S.Q, _Q_o: S.Q}


@cache
def second_moments(loss: sp.Expr, *, last_row: bool = True) -> Mapping[sp.Expr, sp.Expr]:
    """Averages over a prompt given its scalars, for a quadratic loss of linear labels: integrand -> function of these.

    The one-body problem of the prompt is solved in closed form, and what is left is a polynomial of second degree in
    (y, o_x, N(0, S)), of which the moments given (y_2, y_u, f_1, f_2) are exact.

    Parameters
    ----------
    loss
        A quadratic form in y and f.
    last_row
        Whether there is one.

    Examples
    --------
    >>> found = second_moments((S.y - S.f) ** 2 / 2)
    >>> sp.factor(found[S.feature_block * S.pull_slope])
    -f_1/(c + 1)
    """
    c, noise = S.c, sp.Dummy("noise", real=True)
    f_cav = S.m * S.query_overlap + noise
    exponent = loss + (S.f - S.f_cav) ** 2 / (2 * c)
    (minimum,) = sp.solve(sp.diff(exponent, S.f), S.f)
    pull = sp.factor((minimum - S.f_cav) / c)
    heat = sp.factor(1 / sp.diff(exponent, S.f, 2))  # the variance of f in units of tau T
    least, settled, temperature = (
        sp.factor(exponent.subs(S.f, minimum)),
        sp.factor(loss.subs(S.f, minimum)),
        S.tau * S.T,
    )
    values = {
        S.pull: pull,
        S.pull_slope: sp.diff(pull, S.f_cav),
        S.mean_loss: settled + temperature * heat * sp.diff(loss, S.f, 2) / 2,
        S.prompt_free: least + temperature * sp.log(c / heat) / 2,
        (S.y - S.f) ** 2: sp.factor((S.y - minimum) ** 2),
        loss: settled,
    }
    law = GaussianLaw(
        "given scalars",
        (S.y, S.query_overlap, noise),
        sp.Matrix(
            [
                [S.label_square, S.label_signal / _D, 0],
                [S.label_signal / _D, S.feature_block / _D, 0],
                [0, 0, _variance(last_row)],
            ]
        ),
    )
    wanted = [S.query_overlap * S.pull, (S.y - S.f) ** 2, loss, S.mean_loss, S.prompt_free]
    features = (S.feature_block, S.feature_last)[: 1 + last_row]
    for place, feature in enumerate(features):
        wanted += [feature * S.pull_slope, feature * S.pull**2]
        wanted += [feature * other * S.pull_slope**2 for other in features[place:]]
    return {
        integrand: linear(Average(integrand.xreplace(values).subs(S.f_cav, f_cav), law)).doit() for integrand in wanted
    }
