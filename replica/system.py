r"""Stationarity of the functional: the fixed-point equations of any model, its observables and its stability.

Every equation is a derivative of -T phi (`replica.functional`), passed under the averages by Price's theorem, with the
heat equations of the one-body free energies (`replica.one_body`):

    by q, m, chi:   K = -a E[dg/dw],   M = kappa1 E[dg/dt],   Q = (a/tau) E[g^2]           the prompts' side
    by K, M, Q:     q = w_d^2 + E[s^2],   m = w_d,   chi = E[ds/dh]                        the spins' side

dg/dt is integrated by parts, because labels may jump. As T -> 0 free energies become minima and nothing else changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import LAWS, Average, by_parts, linear
from iclglass.replica.disorder import LabelMoments, label_moments
from iclglass.replica.functional import functional
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.model import Model
from iclglass.replica.one_body import Pull, PullByTeacher, PullSlope, Response, Spin, nodes
from iclglass.replica.stability import replicon

__all__ = ["System", "sides", "system"]


@dataclass(frozen=True)
class System:
    """The theory of one model as expressions in node symbols and `Average`s.

    Attributes
    ----------
    model
        The model.
    thermal
        T > 0; otherwise the limit T -> 0.
    prompts
        K, M, Q in m, q, chi and averages over prompts.
    spins
        m, q, chi in the diagonal spin and averages over spins.
    prompts_by_parts, spins_by_parts
        The same without derivatives of pull and spin, for those that jump.
    definitions
        c, a, a_test, kappa1, kappa2 and teacher_variance.
    covariance, test_covariance
        Of (t, f_cav), at the context lengths of pretraining and of the test.
    label_noise
        Variance of what is added to t before the label is made.
    free_energy
        -T phi, stationary at the solution.
    replicon
        Positive where replica symmetry is stable.
    observables
        Name -> expression.
    """

    model: Model
    thermal: bool
    prompts: Mapping[sp.Symbol, sp.Expr]
    spins: Mapping[sp.Symbol, sp.Expr]
    prompts_by_parts: Mapping[sp.Symbol, sp.Expr]
    spins_by_parts: Mapping[sp.Symbol, sp.Expr]
    definitions: Mapping[sp.Symbol, sp.Expr]
    covariance: sp.ImmutableMatrix
    test_covariance: sp.ImmutableMatrix
    label_noise: sp.Expr
    free_energy: sp.Expr
    replicon: sp.Expr
    observables: Mapping[str, sp.Expr]

    @property
    def equations(self) -> tuple[sp.Eq, ...]:
        """Both sides as equations, the prompts' first."""
        return tuple(
            sp.Eq(unknown, value, evaluate=False)
            for side in (self.prompts, self.spins)
            for unknown, value in side.items()
        )


@cache
def system(model: Model, *, thermal: bool) -> System:
    """Derive the system of a model.

    Parameters
    ----------
    model
        The model; of it are read the disorder, the labels and the loss. What one spin and one prediction do under its
        loss and penalty is behind the node symbols.
    thermal
        At temperature T > 0, or in the limit T -> 0.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> system(linear_attention(), thermal=False).prompts[S.Q]
    a*E_prompts[pull**2]/tau
    >>> system(linear_attention(), thermal=False).spins
    {m: diagonal, q: diagonal**2 + E_spins[spin**2], chi: E_spins[response]}
    """
    labels, universal = label_moments(model), _universal(thermal)
    return System(
        model=model,
        thermal=thermal,
        prompts=universal.prompts,
        spins=universal.spins,
        prompts_by_parts=universal.prompts_by_parts,
        spins_by_parts=universal.spins_by_parts,
        definitions={
            S.kappa1: labels.kappa1,
            S.kappa2: labels.kappa2,
            S.teacher_variance: labels.teacher_variance,
            S.a: labels.feature,
            S.a_test: labels.feature.subs(S.alpha, S.alpha_test),
            S.c: S.a * S.chi / S.tau,
        },
        covariance=LAWS["prompts"].covariance,
        test_covariance=LAWS["test"].covariance,
        label_noise=labels.label_noise,
        free_energy=universal.free_energy,
        replicon=universal.replicon,
        observables=_observables(model, labels, universal.free_energy, thermal=thermal),
    )


@dataclass(frozen=True)
class _Universal:
    """What is the same for every model: of the attributes of `System`."""

    prompts: Mapping[sp.Symbol, sp.Expr]
    spins: Mapping[sp.Symbol, sp.Expr]
    prompts_by_parts: Mapping[sp.Symbol, sp.Expr]
    spins_by_parts: Mapping[sp.Symbol, sp.Expr]
    free_energy: sp.Expr
    replicon: sp.Expr


@cache
def _universal(thermal: bool) -> _Universal:
    (prompts, spins), (prompts_by_parts, spins_by_parts) = (
        tuple({unknown: _in_nodes(value, thermal) for unknown, value in side.items()} for side in sides(jumps=jumps))
        for jumps in (False, True)
    )
    return _Universal(
        prompts=prompts,
        spins=spins,
        prompts_by_parts=prompts_by_parts,
        spins_by_parts=spins_by_parts,
        free_energy=_in_nodes(functional().free_energy(), thermal),
        replicon=_in_nodes(replicon(), thermal),
    )


@cache
def sides(*, jumps: bool = False) -> tuple[dict[sp.Symbol, sp.Expr], dict[sp.Symbol, sp.Expr]]:
    """K, M, Q of the prompts' side and m, q, chi of the spins', in functions of one body; the same for every model.

    Parameters
    ----------
    jumps
        Integrate every derivative of pull and spin by parts, not only the one through the label.
    """
    free = functional().free_energy()
    prompts = stationary(free, {S.K: S.q, S.M: S.m, S.Q: S.chi})
    spins = stationary(free, {S.chi: S.Q, S.m: S.M, S.q: S.K})
    instead = _slopes()[1 if jumps else 0]
    return (
        {unknown: value.xreplace(instead) for unknown, value in prompts.items()},
        {unknown: spins[unknown].xreplace(instead) for unknown in (S.m, S.q, S.chi)},
    )


def stationary(free: sp.Expr, side: Mapping[sp.Symbol, sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
    """Solve the derivative of the functional by each variable for its unknown, in the order given."""
    solution: dict[sp.Symbol, sp.Expr] = {}
    for unknown, variable in side.items():
        gradient = linear(sp.expand(sp.diff(free, variable)))
        # Averages are linear coefficients here: what is inside them is not touched.
        masks = {average: sp.Dummy() for average in gradient.atoms(Average)}
        (value,) = sp.solve(gradient.xreplace(masks), unknown)
        masked = {known: expression.xreplace(masks) for known, expression in solution.items()}
        value = sp.expand(value.subs(masked)) if value.has(S.T) else sp.expand(value)
        solution[unknown] = value.xreplace({mask: average for average, mask in masks.items()})
    return solution


def _in_nodes(expression: sp.Expr, thermal: bool) -> sp.Expr:
    """Node symbols for functions of one body, and T = 0 outside of them unless there is a temperature."""
    result = linear(nodes(expression))
    if thermal:
        return result
    masks = {average: sp.Dummy(real=True) for average in result.atoms(Average)}
    return value_at_zero(result.xreplace(masks), S.T).xreplace({mask: average for average, mask in masks.items()})


_ARGUMENTS = S.t, S.f_cav, S.a * S.chi / S.tau


def _slopes() -> tuple[dict[sp.Expr, sp.Expr], dict[sp.Expr, sp.Expr]]:
    """Averages of derivatives -> what stands for them: of dg/dt by parts; of all of them."""
    pull, spin = Pull(*_ARGUMENTS), Spin(S.field, S.K)
    by_t, by_f = (Average(slope(*_ARGUMENTS), "prompts") for slope in (PullByTeacher, PullSlope))
    by_h = Average(Response(S.field, S.K), "spins")
    correlation = LAWS["prompts"].covariance
    # E[t g] = E[t^2] E[dg/dt] + E[t w] E[dg/dw].
    smooth = (Average(S.t * pull, "prompts") - correlation[0, 1] * by_f) / correlation[0, 0]
    jumps = dict(zip((by_t, by_f), by_parts(pull, "prompts"), strict=True))
    jumps |= dict(zip((by_h,), by_parts(spin, "spins"), strict=True))
    return {by_t: smooth}, jumps


def _observables(model: Model, labels: LabelMoments, free: sp.Expr, *, thermal: bool) -> dict[str, sp.Expr]:
    temperature = S.T if thermal else sp.S.Zero
    observables: dict[str, sp.Expr] = {"q_self": S.q + temperature * S.chi}
    if model.labels == "linear":
        # E (y - f)^2 of the mean weights.
        error = S.kappa2 - 2 * S.kappa1 * S.m
        observables |= {
            "e_icl": error + S.a_test * S.q,
            "e_icl_gibbs": error + S.a_test * observables["q_self"],
            "e_idg": error + S.a * S.q,
            "e_train": Average((S.y - S.f) ** 2, "prompts"),
        }
    else:
        # Angle between the label's field and the prediction, both Gaussian.
        total = labels.teacher_variance + labels.label_noise
        observables["error_rate"] = sp.acos(S.kappa1 * S.m / sp.sqrt(total * S.a_test * S.q)) / sp.pi
    density = Average(S.nonzero, "spins")
    energy = Average(S.mean_loss, "prompts") + Average(S.mean_penalty, "spins") + S.diagonal_penalty
    observables |= {
        "test_loss": Average(model.loss.subs(S.f, S.f_cav), "test"),
        "train_loss": Average(model.loss, "prompts"),
        "contrast": S.m / sp.sqrt(S.q),
        "density": density,
        "density_off_diagonal": density,
        "energy": energy,
        "free_energy": free,
    }
    if thermal:
        observables["entropy"] = (energy - free) / S.T
    return observables
