r"""The functional for Gaussian spins and squared error: its averages are done, its conjugate fields eliminated.

They enter rationally, so this is exact. Result, tested against theory in closed form:

    phi = (1/2) ln(2 pi Delta) + 1/2 + (q - m^2)/(2 Delta) - betahat lam (q + Delta)/2
          - (tau/2) ln(1 + betahat a Delta/tau) - (betahat/2) (1 + rho - 2 m + a q)/(1 + betahat a Delta/tau)
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import ReplicatedAction
from iclglass.replica.functional import SYMMETRIC, SpinClass, functional
from iclglass.replica.quadratic import log_diagonal, log_prompt, log_spin, prompt_law

__all__ = ["FreeEnergy", "free_energy", "prompt_part"]


@dataclass(frozen=True)
class FreeEnergy:
    """The replica-symmetric free entropy phi = lim E ln Z/D^2 and the steps to it.

    Attributes
    ----------
    spins
        lim (1/n) of the spins' part, with the conjugate fields k_hat, q_hat, m_hat.
    conjugates
        Stationary values of the conjugate fields.
    spin_part
        The spins' part at those values, in m, q, Delta.
    prompt_part
        lim (1/n) of the prompts' part, in m, q, Delta.
    """

    spins: sp.Expr
    conjugates: tuple[tuple[sp.Symbol, sp.Expr], ...]
    spin_part: sp.Expr
    prompt_part: sp.Expr

    @property
    def functional(self) -> sp.Expr:
        """phi(m, q, Delta), to be extremised."""
        return self.spin_part + self.prompt_part


def free_energy(action: ReplicatedAction) -> FreeEnergy:
    """Do the averages of the functional and eliminate the conjugate fields.

    Raises
    ------
    ValueError
        Loss or prior is not a quadratic form.
    """
    general = functional(
        spins=(
            SpinClass("off the diagonal", log_spin(action), large=False),
            SpinClass("diagonal", log_diagonal(action, SYMMETRIC.precision()), large=True),
        ),
    )
    spins = general.constraints + sp.Add(*general.spins).doit()

    unknowns = [S.k_hat, S.q_hat, S.m_hat]
    gradients = [sp.diff(spins, unknown) for unknown in (S.q_hat, S.m_hat, S.k_hat)]
    (stationary,) = sp.solve(gradients, unknowns, dict=True)
    conjugates = tuple((unknown, sp.simplify(stationary[unknown])) for unknown in unknowns)
    entropy = _tidy(spins.subs(dict(conjugates)))
    return FreeEnergy(spins, conjugates, entropy, prompt_part(action))


def prompt_part(action: ReplicatedAction) -> sp.Expr:
    """The prompts' part of the functional, averaged."""
    general = functional(prompt=log_prompt(action, S.a * S.Delta), law=prompt_law(action))
    return _collect_error(general.prompts.doit().subs(S.g, S.betahat / S.tau))


def _tidy(entropy: sp.Expr) -> sp.Expr:
    """Join the logarithms and the terms that share Delta or lam."""
    terms = sp.Add.make_args(sp.expand(sp.expand_log(entropy)))
    logarithms = sp.logcombine(2 * sp.Add(*(term for term in terms if term.has(sp.log))), force=True) / 2
    ridge = sp.factor(sp.Add(*(term for term in terms if term.has(S.lam))))
    rest = sp.Add(*(term for term in terms if not term.has(sp.log, S.lam)))
    return logarithms + ridge + sp.collect(rest, 1 / S.Delta)


def _collect_error(prompts: sp.Expr) -> sp.Expr:
    """Write the part without logarithm as one fraction over 1 + betahat a Delta/tau."""
    logarithm = sum((term for term in sp.Add.make_args(sp.expand(prompts)) if term.has(sp.log)), sp.S.Zero)
    screening = 1 + S.betahat * S.a * S.Delta / S.tau
    rest = sp.expand(sp.cancel((prompts - logarithm) * screening / S.betahat))
    return logarithm + S.betahat * sp.collect(rest, (S.a, S.m)) / screening
