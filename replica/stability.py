r"""Stability of the replica-symmetric saddle point: the replicon.

Second variation of the action along Q -> Q + eta, with eta symmetric, zero on the diagonal and orthogonal to
(1, ..., 1). On such vectors a replica-symmetric (or bordered) matrix acts as its ``excess``, so with
d^2 ln det X [eta, eta] = -Tr X^{-1} eta X^{-1} eta both parts of the action are multiples of Tr eta^2, for every n:

    spins:    -(1/2) Tr eta^2 / Delta^2
    prompts:  +(tau/2) Tr eta^2 (a g l_ff / (1 + g l_ff a Delta))^2        (l_ff = d^2 loss/df^2)

The replicon is their sum in units of the first. It is the condition number of the saddle-point equations, too:
relative errors of chi grow as 1/replicon (tested).
"""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import ReplicatedAction
from iclglass.replica.ansatz import ReplicaSymmetric
from iclglass.replica.saddle_point import SaddlePointSystem

__all__ = ["replicon"]


def replicon(action: ReplicatedAction, system: SaddlePointSystem) -> sp.Expr:
    """Replicon eigenvalue in units of its value without prompts; positive means stable.

    Equation: 1 - a^2 m^2/tau. Source: this project, notes/derivation.md; the criterion is that of de Almeida and
    Thouless, J. Phys. A 11 (1978) 983.
    """
    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    loss, matrix = action.prompt_matrices(S.m, overlaps)
    spins = 1 / overlaps.excess**2
    prompts = S.tau * (S.a * loss.block.excess / matrix.block.excess) ** 2
    ratio = sp.simplify((1 - prompts / spins).subs(S.g, S.betahat / S.tau).subs(S.Delta, S.chi / S.betahat))
    (chi_of_m,) = sp.solve(system.residuals[1], S.chi)
    return sp.expand(sp.simplify(ratio.subs(S.chi, chi_of_m)))
