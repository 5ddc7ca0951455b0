r"""The model as data: what is random, what is predicted, what is paid, what the spins are.

A `Model` holds expressions, no procedure: the derivation reads them, and a change here (the prior's width,
the label noise, the loss) changes every equation downstream. The one model of this version is the linear
attention layer of Li, Bai and Huang (SG), arXiv:2408.02288, Eqs. for prompts and Hamiltonian:

    y_k = w.x_k/sqrt(D) + sqrt(rho) eps_k,    u_i = (1/norm) sum_k y_k x_{k,i},    u_{D+1} = (1/norm) sum_k y_k^2
    s_ij = u_i xt_j,    f = sum_ij s_ij W_ij + sum_j s_{D+1,j} V_j
    H = (1/P) sum_mu loss(y^mu, f^mu) + sum over spins of prior(spin)
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit

__all__ = ["GaussianField", "Model", "SpinBlock", "linear_attention"]


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


@dataclass(frozen=True)
class Model:
    """A glass of real-valued spins with quenched prompts, as data.

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
        Energy of one spin, in symbol sigma; the spin measure is exp(-beta prior) d sigma.
    scaling
        How sizes, ridge and inverse temperature grow with D.
    labels
        "linear": the label itself; "sign": its sign, in the context and of the query.
    spins
        Measure of the spins off the diagonal.
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


def linear_attention(
    *,
    label_noise: sp.Expr = S.rho,
    task_variance: sp.Expr = sp.S.One,
    prior_precision: sp.Expr = S.lambda0,
) -> Model:
    """The linear attention layer on linear-regression prompts, every prompt with its own task.

    Equation: module docstring. Source: SG, arXiv:2408.02288, model and Hamiltonian.

    Parameters
    ----------
    label_noise
        Variance of the label noise, default rho (SG: 0).
    task_variance
        Variance of an entry of the task vector, default 1.
    prior_precision
        Second derivative of one spin's energy, default lambda0.

    Examples
    --------
    >>> linear_attention().loss
    (-f + y)**2/2
    >>> linear_attention().block("last row").size
    D
    """
    i, j = sp.symbols("i j", integer=True)
    # Summed indices are dummies, so that no free index of a reader's can be captured.
    k, e = sp.Dummy("k", integer=True), sp.Dummy("e", integer=True)
    D, N = S.D, S.N
    context_label = sp.Sum(S.w[e] * S.x[k, e], (e, 1, D)) / sp.sqrt(D) + sp.sqrt(label_noise) * S.eps[k]
    query_label = sp.Sum(S.w[e] * S.xt[e], (e, 1, D)) / sp.sqrt(D) + sp.sqrt(label_noise) * S.epst[1]
    context = sp.Sum(context_label * S.x[k, i], (k, 1, N)) / S.norm
    last_context = sp.Sum(context_label**2, (k, 1, N)) / S.norm
    one = sp.S.One
    return Model(
        name="linear attention, one task per prompt",
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
        loss=(S.y - S.f) ** 2 / 2,
        prior=sp.sympify(prior_precision, strict=True) * S.sigma**2 / 2,
        scaling=(
            (S.norm, S.N),
            (S.P, S.tau * D**2),
            (S.N, S.alpha * D),
            (S.lambda0, S.lam / D),
            (S.beta, S.betahat * D**2),
        ),
    )
