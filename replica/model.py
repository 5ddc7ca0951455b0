r"""The model as data: what is random, what is predicted, what is paid, what the spins are.

A `Model` holds expressions, no procedure: the derivation reads them, and a change here (the prior's width,
the label noise, the loss) changes every equation downstream. The one model of this version is the linear
attention layer of Li, Bai and Huang (SG), arXiv:2408.02288, Eqs. for prompts and Hamiltonian:

    y_k = w.x_k/sqrt(D) + sqrt(rho) eps_k,    u_i = (1/norm) sum_k y_k x_{k,i},    u_{D+1} = (1/norm) sum_k y_k^2
    s_ij = u_i xt_j,    f = sum_ij s_ij W_ij + sum_j s_{D+1,j} V_j
    H = (1/P) sum_mu loss(y^mu, f^mu) + sum over spins of prior(spin)

Spins of order one are s = sqrt(D) W, diagonal ones W itself; in the Boltzmann weight exp(-betahat D^2 H) their
energies are r(s) = D^2 prior(s/sqrt(D)) and r(sqrt(D) w). Labels may be the sign of the teacher's field. Spins may
be discrete: the penalty then acts on the diagonal, which stays real.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.growth import growth
from iclglass.replica.guarded_limit import limit
from iclglass.replica.losses import LOSSES, refusal
from iclglass.replica.measures import MEASURES, PENALTIES

__all__ = ["GaussianField", "Model", "SpinBlock", "linear_attention"]

Entry = TypeVar("Entry")

# Summed indices are dummies, so that no free index of a reader's can be captured; the same ones in every model, so that
# models of the same parts are equal.
_TOKEN, _ENTRY = sp.Dummy("k", integer=True), sp.Dummy("e", integer=True)


@dataclass(frozen=True)
class GaussianField:
    """Independent centred Gaussian entries with one variance: a part of the quenched disorder."""

    base: sp.IndexedBase
    variance: sp.Expr


@dataclass(frozen=True)
class SpinBlock:
    """Spins that share one kind of feature.

    Attributes
    ----------
    name
        For messages and headings.
    spins
        The indexed base of the spins, carrying the feature's free indices.
    feature
        s, an expression in the quenched fields with the free indices ``indices``.
    indices
        Free indices of the feature, in the order of the spins' indices.
    ranges
        Their ranges; the product is the number of spins in the block.
    """

    name: str
    spins: sp.IndexedBase
    feature: sp.Expr
    indices: tuple[sp.Symbol, ...]
    ranges: tuple[sp.Expr, ...]

    @property
    def size(self) -> sp.Expr:
        """Number of spins in the block."""
        return sp.Mul(*self.ranges)

    def feature_at(self, *indices: sp.Expr) -> sp.Expr:
        """The feature with its free indices set to ``indices``."""
        return self.feature.xreplace(dict(zip(self.indices, indices, strict=True)))

    def prediction(self, spins: sp.IndexedBase) -> sp.Expr:
        """This block's part of f = s.W, for the weights ``spins``."""
        limits = [(index, 1, size) for index, size in zip(self.indices, self.ranges, strict=True)]
        return sp.Sum(self.feature * spins[self.indices], *limits)


@dataclass(frozen=True, repr=False)
class Model:
    """A glass of spins with quenched prompts, as data.

    Attributes
    ----------
    name
        Title of the derivation.
    disorder
        The quenched Gaussian fields of one prompt.
    label
        The label of the query, in terms of the disorder.
    blocks
        The spins with their features.
    loss
        Cost of one prompt, in symbols y (label) and f (prediction).
    prior
        Energy of one unscaled spin, in symbol sigma; the spin measure is exp(-beta prior) d sigma.
    scaling
        How sizes, strengths and inverse temperature grow with D.
    labels
        What labels are, of `replica.losses.LABELS`.
    spins
        Where spins may lie, of `replica.measures.MEASURES`.
    """

    name: str
    disorder: tuple[GaussianField, ...]
    label: sp.Expr
    blocks: tuple[SpinBlock, ...]
    loss: sp.Expr
    prior: sp.Expr
    scaling: tuple[tuple[sp.Symbol, sp.Expr], ...]
    labels: str = "linear"
    spins: str = "real"

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, loss={self.loss}, prior={self.prior}, labels={self.labels!r}, spins={self.spins!r})"
        )

    @property
    def variances(self) -> dict[sp.IndexedBase, sp.Expr]:
        """Variance of one entry of each quenched field."""
        return {field.base: field.variance for field in self.disorder}

    def block(self, name: str) -> SpinBlock:
        """The block of spins with this name."""
        return next(block for block in self.blocks if block.name == name)

    def scaled(self, expression: sp.Expr) -> sp.Expr:
        """Put the scaling in: only D and scaled parameters are left."""
        # norm is given in terms of N, so the substitution is done in the order written.
        for symbol, value in self.scaling:
            expression = expression.subs(symbol, value)
        return sp.sympify(expression, strict=True)

    def large_dimension(self, expression: sp.Expr) -> sp.Expr:
        """Leading value as D -> infinity at fixed scaled parameters."""
        return limit(sp.cancel(self.scaled(expression)), S.D, sp.oo)

    @cached_property
    def penalty(self) -> sp.Expr:
        """r(s) = D^2 prior(s/sqrt(D)), the energy of one real scaled spin, in `S.scaled_spin` and scaled strengths.

        Raises
        ------
        ValueError
            It depends on D: the strengths are not scaled as spins need it.
        """
        penalty = sp.expand(self.scaled(S.D**2 * self.prior.subs(S.sigma, S.scaled_spin / sp.sqrt(S.D))))
        if penalty.has(S.D):
            raise ValueError(
                f"the energy of one scaled spin depends on D: {penalty}. Scale its strengths with D: a ridge is lam/D, "
                "a lasso l1/D^(3/2)"
            )
        return penalty

    @property
    def loss_energy(self) -> Energy:
        """The loss as a function of the prediction `S.f`, at label `S.y`."""
        return Energy(S.f, self.loss)

    @property
    def spin_energy(self) -> Energy:
        """The energy r(s) of one scaled spin off the diagonal; 0 on discrete ones."""
        measure = MEASURES[self.spins]
        expression = sp.S.Zero if measure.discrete else self.penalty
        return Energy(S.scaled_spin, expression, measure.support, measure.levels)

    def diagonal_energy(self, D: sp.Expr | float | None = None) -> Energy:
        """The energy of one diagonal spin `S.diagonal`: r(sqrt(D) w)/D.

        Parameters
        ----------
        D
            Dimension at which it is taken, a symbol or number; default the limit D -> infinity, in which only what
            grows as s^2 is left of a penalty.

        Raises
        ------
        ValueError
            The penalty grows faster than s^2 and D is infinite.

        Examples
        --------
        >>> model = linear_attention(penalty="elastic_net")
        >>> model.diagonal_energy().expression, model.diagonal_energy(sp.Integer(4)).expression
        (diagonal**2*lam/2, diagonal**2*lam/2 + l1*Abs(diagonal)/2)
        """
        support = MEASURES[self.spins].diagonal
        if D is not None:
            size = sp.sympify(D, strict=True)
            there = self.penalty.subs(S.scaled_spin, sp.sqrt(size) * S.diagonal) / size
            return Energy(S.diagonal, sp.expand(there), support)
        # r(sqrt(D) w)/D = w^2 r(x)/x^2 at x = sqrt(D) w, on either side of 0.
        left, right = growth(Energy(S.scaled_spin, self.penalty, support))
        square = S.diagonal**2
        expression = right * square
        if sp.simplify(left - right) != 0:
            expression = sp.Piecewise((left * square, S.diagonal < 0), (right * square, True))
        return Energy(S.diagonal, expression, support)

    @property
    def strengths(self) -> tuple[sp.Symbol, ...]:
        """Free parameters of loss, penalty and levels, by name."""
        used = self.loss.free_symbols | self.penalty.free_symbols
        if MEASURES[self.spins].discrete:
            used = used | {S.spacing}
        return tuple(sorted(used - {S.y, S.f, S.scaled_spin}, key=str))

    @property
    def label_noise(self) -> sp.Expr:
        """Variance of the noise that is added to the teacher's field before a label is made."""
        made = self.label.args[0] if isinstance(self.label, sp.sign) else self.label
        return sp.expand(made).coeff(S.epst[1]) ** 2 * self.variances[S.epst]

    def label_noise_at(self, rho: float) -> float:
        """The same as a number, at this value of the parameter `S.rho`.

        >>> linear_attention(label_noise=3 * S.rho).label_noise_at(0.5)
        1.5
        """
        return float(self.label_noise.subs(S.rho, rho))

    @property
    def task_variance(self) -> sp.Expr:
        """Variance of one entry of a task."""
        return self.variances[S.w]


def linear_attention(
    *,
    label_noise: sp.Expr = S.rho,
    task_variance: sp.Expr = sp.S.One,
    prior_precision: sp.Expr = S.lambda0,
    loss: str | sp.Expr = "squared_error",
    labels: str = "linear",
    spins: str = "real",
    penalty: str | sp.Expr | None = None,
    name: str = "linear attention, one task per prompt",
) -> Model:
    """The linear attention layer on regression or classification prompts, every prompt with its own task.

    Equation: module docstring. Source: SG, arXiv:2408.02288, model and Hamiltonian.

    Parameters
    ----------
    label_noise
        Variance of the label noise, default rho (SG: 0).
    task_variance
        Variance of an entry of the task vector, default 1.
    prior_precision
        Second derivative of one spin's energy, default lambda0.
    loss
        A name in `replica.losses.LOSSES`, or an expression in `S.y` and `S.f`.
    labels
        "linear", or "sign" for labels -1 and 1, in the context and of the query.
    spins
        A name in `replica.measures.MEASURES`.
    penalty
        Energy of one scaled spin in place of the ridge ``prior_precision``: a name in `replica.measures.PENALTIES`,
        or an expression in `S.scaled_spin`, with strengths `S.lam`, `S.l1`.
    name
        Title of the derivation.

    Raises
    ------
    ValueError
        A name is not in its table, or loss and labels do not go together.

    Examples
    --------
    >>> linear_attention().loss
    (-f + y)**2/2
    >>> linear_attention().block("last row").size
    D
    """
    cost = _entry(LOSSES, loss, "loss").expression if isinstance(loss, str) else loss
    reason = refusal(cost, labels)
    if reason is not None:
        raise ValueError(reason)
    _entry(MEASURES, spins, "spins")
    if penalty is None:
        prior = sp.sympify(prior_precision, strict=True) * S.sigma**2 / 2
    else:
        prior = _unscaled(_entry(PENALTIES, penalty, "penalty") if isinstance(penalty, str) else penalty)
    # The lasso's scaling is named where there is one.
    lasso = ((S.l0, S.l1 / S.D ** sp.Rational(3, 2)),) if prior.has(S.l0) else ()
    i, j = sp.symbols("i j", integer=True)
    k, e = _TOKEN, _ENTRY
    D, N = S.D, S.N
    context_label = sp.Sum(S.w[e] * S.x[k, e], (e, 1, D)) / sp.sqrt(D) + sp.sqrt(label_noise) * S.eps[k]
    query_label = sp.Sum(S.w[e] * S.xt[e], (e, 1, D)) / sp.sqrt(D) + sp.sqrt(label_noise) * S.epst[1]
    if labels == "sign":
        context_label, query_label = sp.sign(context_label), sp.sign(query_label)
    context = sp.Sum(context_label * S.x[k, i], (k, 1, N)) / S.norm
    last_context = sp.Sum(context_label**2, (k, 1, N)) / S.norm
    one = sp.S.One
    return Model(
        name=name,
        disorder=(
            GaussianField(S.w, sp.sympify(task_variance, strict=True)),
            GaussianField(S.x, one),
            GaussianField(S.xt, one),
            GaussianField(S.eps, one),
            GaussianField(S.epst, one),
        ),
        label=query_label,
        blocks=(
            SpinBlock("block", S.W, context * S.xt[j], (i, j), (D, D)),
            SpinBlock("last row", S.V, last_context * S.xt[j], (j,), (D,)),
        ),
        loss=cost,
        prior=prior,
        scaling=(
            (S.norm, S.N),
            (S.P, S.tau * D**2),
            (S.N, S.alpha * D),
            (S.lambda0, S.lam / D),
            *lasso,
            (S.beta, S.betahat * D**2),
        ),
        labels=labels,
        spins=spins,
    )


def _unscaled(penalty: sp.Expr) -> sp.Expr:
    """prior(W) = r(sqrt(D) W)/D^2, in unscaled strengths."""
    D = S.D
    strengths = {S.lam: D * S.lambda0, S.l1: D ** sp.Rational(3, 2) * S.l0}
    return sp.expand(penalty.subs({S.scaled_spin: sp.sqrt(D) * S.sigma, **strengths}, simultaneous=True) / D**2)


def _entry(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, not {name!r}")
    return table[name]
