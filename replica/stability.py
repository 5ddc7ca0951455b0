r"""Stability of the replica-symmetric saddle point: the replicon, for any one-body functions.

The second variation of the replicated functional by the overlaps Q_ab and their conjugates Qh_ab has, at the symmetric
saddle point, three kinds of entries for two pairs of replicas: the same pair, one replica shared, none shared,

    same = E[<x^2>^2],   one = E[<x^2><x>^2],   none = E[<x>^4]    (replicas are independent in their common field)

with x the spin, or d/dw of one prompt's weight, which Price's theorem puts in place of d/dQ_ab. On the replicon
directions, eta symmetric, zero on the diagonal and orthogonal to (1, ..., 1), the eigenvalue is same - 2 one + none:
E of the squared second derivative of Lambda. Overlaps and conjugates are coupled, so the saddle point is stable where
the product of the two eigenvalues is below one. Source: de Almeida and Thouless, J. Phys. A 11 (1978) 983.
"""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.one_body import PromptFree, SpinFree

__all__ = ["eigenvalue", "replicon", "replicon_eigenvalue"]


def replicon_eigenvalue(mean: sp.Expr, mean_square: sp.Expr) -> sp.Expr:
    """What is averaged, from the first two moments of x in one field.

    Examples
    --------
    >>> x, v = sp.symbols("x v")
    >>> replicon_eigenvalue(x, v + x**2)
    v**2
    """
    same, one, none = mean_square**2, mean_square * mean**2, mean**4
    return sp.factor(sp.expand(same - 2 * one + none))


def eigenvalue(log_partition: sp.Expr, field: sp.Symbol, unit: sp.Expr) -> sp.Expr:
    """`replicon_eigenvalue` of a one-body log-partition function, differentiated by its field in this unit."""
    slope, curvature = unit * sp.diff(log_partition, field), unit**2 * sp.diff(log_partition, field, 2)
    return replicon_eigenvalue(slope, sp.expand(curvature + slope**2))


def replicon() -> sp.Expr:
    """1 - (a^2/tau) E[(dg/dw)^2] E[(ds/dh)^2], in functions of one body; positive means stable.

    The D spins on the diagonal are too few to count.
    """
    spin = SpinFree(S.field, S.K)
    prompt = PromptFree(S.t, S.f_cav, S.a * S.chi / S.tau)
    # The field on a spin in units of T; the covariance of predictions is a Q_ab.
    spins = Average(eigenvalue(-spin / S.T, S.field, S.T), "spins")
    prompts = S.tau * S.a**2 * Average(eigenvalue(-prompt / (S.tau * S.T), S.f_cav, sp.S.One), "prompts")
    return 1 - prompts * spins
