"""The disorder averages the theory uses, computed by `replica.moments` from the model's data.

Two kinds: moments of one prompt's label and features (exact at finite D and N), and from them mean and variance
of the fields h_i = (1/P) sum_mu y s_i and couplings J_ij = -(1/P) sum_mu s_i s_j of SG, arXiv:2408.02288,
block by block (SG Fig. 1). Prompts are independent, so a variance over data sets is that of one prompt over P.
"""

from dataclasses import dataclass, replace
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit
from iclglass.replica.model import Model
from iclglass.replica.moments import distinct, expectation

__all__ = [
    "CouplingMoments",
    "FeatureMoments",
    "LabelMoments",
    "coupling_moments",
    "feature_moments",
    "label_moments",
]


@dataclass(frozen=True)
class FeatureMoments:
    """Second moments of one prompt, exact in D, N, norm and the label noise.

    Attributes
    ----------
    label
        E[y^2].
    signal
        D E[y s_ii], the overlap of label and diagonal feature; off-diagonal ones vanish.
    block
        D E[s_ij^2] for i <= D (a_N of the notes); different features are uncorrelated.
    last_row
        E[s_{D+1,j}^2].
    """

    label: sp.Expr
    signal: sp.Expr
    block: sp.Expr
    last_row: sp.Expr

    def equations(self) -> tuple[sp.Eq, ...]:
        """The four averages as equations."""
        y, i, j = sp.Symbol("y"), sp.Symbol("i"), sp.Symbol("j")
        s = sp.IndexedBase("s")
        mean = sp.Function("E")
        return (
            sp.Eq(mean(y**2), self.label),
            sp.Eq(mean(y * s[i, i]), self.signal / S.D),
            sp.Eq(mean(s[i, j] ** 2), self.block / S.D),
            sp.Eq(mean(s[S.D + 1, j] ** 2), self.last_row),
        )


@dataclass(frozen=True)
class CouplingMoments:
    """Mean and variance of one kind of coupling or field, over data sets of P prompts."""

    name: str
    mean: sp.Expr
    variance: sp.Expr


def feature_moments(model: Model) -> FeatureMoments:
    """Second moments of one prompt's label and features.

    Source: this project, notes/derivation.md; E[s_ij s_kl] = delta_ik delta_jl a_N/D.

    Raises
    ------
    ValueError
        Features of different spins are correlated, so that the theory's overlaps do not close.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> feature_moments(linear_attention()).label
    rho + 1
    """
    i, j, k, m = sp.symbols("i j k l", integer=True)
    block, last = model.block("block"), model.block("last row")
    pair = expectation(block.feature_at(i, j) * block.feature_at(k, m), model.variances)
    mixed = expectation(block.feature_at(i, j) * last.feature_at(m), model.variances)
    if distinct(pair) != 0 or mixed != 0:
        raise ValueError(
            f"features of different spins are correlated: {distinct(pair)}, {mixed}; this theory needs them "
            "uncorrelated: choose centred, independent tokens and tasks"
        )
    return FeatureMoments(
        label=sp.factor(expectation(model.label**2, model.variances)),
        signal=sp.factor(S.D * expectation(model.label * block.feature_at(i, i), model.variances)),
        block=sp.factor(S.D * expectation(block.feature_at(i, j) ** 2, model.variances)),
        last_row=sp.factor(expectation(last.feature_at(j) ** 2, model.variances)),
    )


def coupling_moments(model: Model) -> tuple[CouplingMoments, ...]:
    """Mean and variance of each kind of field and coupling, exact in D, N, P, norm and the label noise.

    Kinds are told apart by block and by which indices coincide: a coupling between two spins of one row of W
    shares the context component, one between two spins of one column shares the query component.
    On-site couplings are excluded, as they are from SG's sum over pairs.

    Source: this project, notes/derivation.md (block types of SG Fig. 1).
    """
    i, j, k, m = sp.symbols("i j k l", integer=True)
    s, u = model.block("block").feature_at, model.block("last row").feature_at
    y = model.label
    products = (
        ("field, diagonal of the block", y * s(i, i)),
        ("field, off the diagonal", y * s(i, j)),
        ("field, last row", y * u(j)),
        ("coupling, block with block, all indices differ", -s(i, j) * s(k, m)),
        ("coupling, block with block, same row", -s(i, j) * s(i, m)),
        ("coupling, block with block, same column", -s(i, j) * s(k, j)),
        ("coupling, block with last row, columns differ", -s(i, j) * u(m)),
        ("coupling, block with last row, same column", -s(i, j) * u(j)),
        ("coupling, last row with itself", -u(j) * u(m)),
    )
    result = []
    for name, product in products:
        mean = distinct(expectation(product, model.variances))
        second = distinct(expectation(product**2, model.variances))
        result.append(CouplingMoments(name, sp.factor(mean), sp.factor((second - mean**2) / S.P)))
    return tuple(result)


@dataclass(frozen=True)
class LabelMoments:
    """What labels say of the teacher, at large D.

    Attributes
    ----------
    teacher_variance
        E[t^2], t the label's field without noise.
    label_noise
        Variance of the noise that is added to t before the label is made.
    kappa1
        E[y t].
    kappa2
        E[y^2].
    feature
        a = D E[s_ij^2].
    """

    teacher_variance: sp.Expr
    label_noise: sp.Expr
    kappa1: sp.Expr
    kappa2: sp.Expr
    feature: sp.Expr


def label_moments(model: Model) -> LabelMoments:
    """Second moments of teacher, labels and features, for linear labels g and for y = sign(g).

    The context's labels are made like the query's. Of a function y of g only the part linear in g is correlated with
    the tokens (Hermite expansion): y = eta g + rest with eta = E[y g]/E[g^2]. The signal is multiplied by eta, its
    share of a by eta^2, and the share that every label adds incoherently is proportional to E[y^2].

    Raises
    ------
    ValueError
        Labels of another kind.

    Examples
    --------
    >>> import dataclasses
    >>> from iclglass.replica.model import linear_attention
    >>> label_moments(linear_attention()).feature
    1 + rho/alpha + 1/alpha
    >>> label_moments(dataclasses.replace(linear_attention(), labels="sign")).feature
    2/(pi*(rho + 1)) + 1/alpha
    """
    # Loss, penalty and spins do not enter: models that differ in them alone share the averages.
    return _label_moments(replace(_by_field(model), name="", loss=sp.S.Zero, prior=sp.S.Zero, spins="real"))


@cache
def _label_moments(model: Model) -> LabelMoments:
    moments = feature_moments(model)
    silent = {field.base: field.variance for field in model.disorder if field.base not in (S.eps, S.epst)}
    quiet = model.label.replace(lambda part: isinstance(part, sp.Indexed) and part.base == S.epst, lambda _: sp.S.Zero)
    quiet_square = expectation(quiet**2, silent)
    # SymPy drops positive factors of what it takes the sign of, sqrt(D) among them; t is w.xt/sqrt(D).
    scale = quiet_square / (silent[S.w] * silent[S.xt]) if model.labels == "sign" else sp.S.One
    total, variance, signal, feature = (
        model.large_dimension(moment / scale) for moment in (moments.label, quiet_square, moments.signal, moments.block)
    )
    coherent = limit(feature, S.alpha, sp.oo)
    incoherent = sp.cancel((feature - coherent) / total)
    if model.labels == "linear":
        slope, second = sp.S.One, total
    elif model.labels == "sign":
        # E|g| = sqrt(2 E[g^2]/pi).
        slope, second = sp.sqrt(2 / (sp.pi * total)), sp.S.One
    else:
        raise ValueError(f"labels must be linear or sign, got {model.labels!r}")
    return LabelMoments(
        teacher_variance=variance,
        label_noise=sp.expand(total - variance),
        kappa1=slope * signal,
        kappa2=second,
        feature=slope**2 * coherent + sp.expand(second * incoherent),
    )


def _by_field(model: Model) -> Model:
    """The model with every label replaced by the Gaussian field g of which it is the sign."""

    def field(expression: sp.Expr) -> sp.Expr:
        return expression.replace(sp.sign, lambda argument: argument)

    blocks = tuple(replace(block, feature=field(block.feature)) for block in model.blocks)
    return replace(model, label=field(model.label), blocks=blocks)
