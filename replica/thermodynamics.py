r"""Temperature: what a Gaussian measure around the ground state adds to it, and its limit T -> 0.

The energy is quadratic in the spins, so the measure at temperature T is Gaussian around the ground state, of energy E0.
With n_s spins and 2 ln(volume) = V = n_s ln(2 pi T) + const, both in units of D^2, in every theory of this project:

    f(T) = E0 - T V/2,    entropy = -df/dT,    energy = f + T entropy

Only E0, V and n_s differ between one task per prompt, pools and finite sizes.
"""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit

__all__ = ["thermodynamics"]


def thermodynamics() -> tuple[tuple[str, sp.Expr, sp.Expr], ...]:
    """(name, value at T > 0, limit T -> 0 at fixed ridge) of all that depends on T, by differentiating f.

    The entropy falls to minus infinity as ln T, and is NaN at T = 0.

    Examples
    --------
    >>> [(name, cold) for name, _, cold in thermodynamics()][2:]
    [('energy', E_0), ('free_energy', E_0), ('entropy', nan)]
    """
    constant = sp.Symbol("constant", real=True)
    thermal = S.spins * sp.log(2 * sp.pi * S.T)
    free = S.ground_state - S.T / 2 * (thermal + constant)
    entropy = -sp.diff(free, S.T)
    values = {
        "q_self": S.q + S.T * S.chi,
        "e_icl_gibbs": S.e_icl + S.T * S.gibbs_response,
        "energy": sp.expand(free + S.T * entropy),
        "free_energy": free,
        "entropy": entropy,
    }
    return tuple(
        (name, sp.expand(value.subs(constant, S.volume - thermal)), sp.nan if value is entropy else limit(value, S.T))
        for name, value in values.items()
    )
