r"""Replicate the system n times and average over the disorder.

    E Z^n = int prod_a dW^a  exp(-beta sum_a sum_i prior(W^a_i))  [ < exp(-(beta/P) sum_a loss(y, f^a)) > ]^P

Order parameters appear by themselves: the covariance of label and predictions, averaged over the prompt at fixed
spins (`replica.moments`), depends on the spins only through m^a = Tr W^a/D and Q_ab = Tr W^a (W^b)^T/D.
*Gaussian equivalence*: at large D, (y, f^1, ..., f^n) is taken to be Gaussian with that covariance. This is the one
approximation of the derivation; simulation tests it. The last row of W has D of the D(D+1) spins, a fraction
1/D: it drops out as D -> infinity and comes back as a 1/D correction.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.ansatz import ReplicaSymmetric
from iclglass.replica.model import Model
from iclglass.replica.moments import expectation

__all__ = ["GaussianAverage", "ReplicatedAction", "replicate"]


class GaussianAverage(sp.Expr):
    r"""Average of exp(exponent) over centred Gaussian fields, kept unevaluated until it can be done.

    ``doit`` evaluates a quadratic form: E exp(-z.B.z/2) = det(1 + B C)^(-1/2). Any other exponent (a margin loss,
    binary spins) stays as it is, to be integrated numerically.

    Parameters
    ----------
    exponent
        Function of the fields.
    fields
        The fields z, as a Tuple of symbols.
    covariance
        Their covariance C, an ImmutableMatrix.

    Examples
    --------
    >>> z, c = sp.symbols("z c", positive=True)
    >>> GaussianAverage(-z**2 / 2, sp.Tuple(z), sp.ImmutableMatrix([[c]])).doit()
    1/sqrt(c + 1)
    >>> GaussianAverage(-sp.Abs(z), sp.Tuple(z), sp.ImmutableMatrix([[c]])).doit().func.__name__
    'GaussianAverage'
    """

    def __new__(cls, exponent: sp.Expr, fields: sp.Tuple, covariance: sp.ImmutableMatrix) -> "GaussianAverage":
        return sp.Expr.__new__(cls, sp.sympify(exponent, strict=True), fields, covariance)

    def doit(self, **hints: bool) -> sp.Expr:
        """The closed form for a quadratic exponent; self otherwise."""
        exponent, fields, covariance = self.args
        form = quadratic_form(-exponent, tuple(fields))
        if form is None:
            return self
        return 1 / sp.sqrt((sp.eye(len(fields)) + form * covariance).det())

    def _latex(self, printer: object) -> str:
        exponent, fields, _ = self.args
        return rf"\left\langle \exp\left({sp.latex(exponent)}\right)\right\rangle_{{{sp.latex(fields)}}}"


def quadratic_form(expression: sp.Expr, fields: tuple[sp.Symbol, ...]) -> sp.ImmutableMatrix | None:
    """B with expression = z.B.z/2, or None when the expression is not a pure quadratic form."""
    form = sp.ImmutableMatrix(sp.hessian(expression, list(fields)))
    vector = sp.Matrix(fields)
    if form.free_symbols & set(fields):
        return None
    remainder = sp.expand(expression - (vector.T * form * vector)[0] / 2)
    return form if remainder == 0 else None


@dataclass(frozen=True)
class ReplicatedAction:
    """ln E Z^n / D^2 in pieces, per replica structure, at large D.

    Attributes
    ----------
    label
        E[y^2].
    signal
        Coefficient of m^a in E[y f^a].
    feature
        Coefficient of Q_ab in E[f^a f^b], as an expression in alpha and rho.
    loss_form
        Hessian of the loss in (y, f) where it is a quadratic form and labels are linear; else None.
    spin_precision
        Precision of one spin's prior Boltzmann weight, at W = W~/sqrt(D), for Gaussian spins; else None.
    """

    label: sp.Expr
    signal: sp.Expr
    feature: sp.Expr
    loss_form: sp.ImmutableMatrix | None
    spin_precision: sp.Expr | None

    @property
    def gaussian(self) -> tuple[sp.ImmutableMatrix, sp.Expr]:
        """Both, where averages have a closed form.

        Raises
        ------
        ValueError
            One of them is missing.
        """
        if self.loss_form is None or self.spin_precision is None:
            raise ValueError(
                "loss and prior must be quadratic forms, labels linear and spins real: only then are spins and local "
                "fields integrated as Gaussians; of another model take its system"
            )
        return self.loss_form, self.spin_precision

    def covariance(self, replicas: int) -> sp.ImmutableMatrix:
        """Covariance of (y, f^1, ..., f^n) for replica-symmetric overlaps."""
        overlaps = ReplicaSymmetric(S.a * S.Delta, S.a * S.q, sp.Integer(replicas)).explicit()
        border = self.signal * S.m * sp.ones(replicas, 1)
        return sp.ImmutableMatrix(
            sp.Matrix(sp.BlockMatrix([[sp.Matrix([[self.label]]), border.T], [border, overlaps]]))
        )


def replicate(model: Model) -> ReplicatedAction:
    """Average the replicated Boltzmann weight over the disorder.

    Raises
    ------
    ValueError
        The covariance of the predictions does not close on m and Q.
    """
    first, second = sp.IndexedBase("W1", real=True), sp.IndexedBase("W2", real=True)
    leading = [block for block in model.blocks if model.large_dimension(block.size / S.D**2) != 0]
    if len(leading) != 1:
        raise ValueError(f"{len(leading)} blocks have of order D^2 spins; the overlaps of this theory need one")
    block = leading[0]
    trace = _sum_over_spins(first, diagonal=True)
    overlap = _sum_over_spins(first, second)
    label_prediction = expectation(model.label * block.prediction(first), model.variances)
    predictions = expectation(block.prediction(first) * block.prediction(second), model.variances)
    loss_form = quadratic_form(model.loss, (S.y, S.f)) if model.labels == "linear" else None
    prior_form = quadratic_form(model.prior, (S.sigma,)) if model.spins == "real" else None
    return ReplicatedAction(
        label=model.large_dimension(expectation(model.label**2, model.variances)),
        signal=model.large_dimension(_coefficient(label_prediction, trace) * S.D),
        feature=sp.expand(model.large_dimension(_coefficient(predictions, overlap) * S.D)),
        loss_form=loss_form,
        spin_precision=sp.expand(model.scaled(S.beta * prior_form[0, 0] / S.D)) if prior_form is not None else None,
    )


def _sum_over_spins(*spins: sp.IndexedBase, diagonal: bool = False) -> sp.Expr:
    row = sp.Symbol("i1", integer=True)
    column = row if diagonal else sp.Symbol("i2", integer=True)
    limits = [(row, 1, S.D)] if diagonal else [(row, 1, S.D), (column, 1, S.D)]
    return sp.Sum(sp.Mul(*(base[row, column] for base in spins)), *limits)


def _coefficient(expression: sp.Expr, invariant: sp.Expr) -> sp.Expr:
    """The factor of an invariant of the spins, which must carry the whole expression."""
    factor = sp.expand(expression).coeff(invariant)
    if sp.expand(expression - factor * invariant) != 0:
        raise ValueError(f"{expression} does not close on {invariant}: other overlaps are needed")
    return factor
