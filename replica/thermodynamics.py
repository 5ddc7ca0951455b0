r"""Temperature: what a Gaussian measure around the ground state adds to it, and its limit T -> 0.

The energy is quadratic in the spins, so the measure at temperature T is Gaussian around the ground state, of energy E0.
With n_s spins and 2 ln(volume) = V = n_s ln(2 pi T) + const, both in units of D^2, in every theory of this project:

    f(T) = E0 - T V/2,    entropy = -df/dT,    energy = f + T entropy

Only E0, V and n_s differ between one task per prompt, pools and finite sizes.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit

__all__ = ["ThermalOutput", "thermodynamics"]


@dataclass(frozen=True)
class ThermalOutput:
    """One quantity that depends on temperature.

    Attributes
    ----------
    warm : its value at T > 0, in E0, V and n_s, in q and chi, or in e_icl and its response.
    cold : its limit as T -> 0 at fixed ridge; NaN for the entropy, which falls to minus infinity as ln T.
    """

    name: str
    warm: sp.Expr
    cold: sp.Expr


def thermodynamics() -> tuple[ThermalOutput, ...]:
    """All that depends on temperature, by differentiating f, with the limits T -> 0 taken and held against numbers.

    Examples
    --------
    >>> [(output.name, output.cold) for output in thermodynamics()][2:]
    [('energy', E_0), ('free_energy', E_0), ('entropy', nan)]
    """
    constant = sp.Symbol("constant", real=True)
    volume = S.spins * sp.log(2 * sp.pi * S.T) + constant
    free = S.ground_state - S.T / 2 * volume
    entropy = -sp.diff(free, S.T)
    values = {
        "q_self": S.q + S.T * S.chi,
        "e_icl_gibbs": S.e_icl + S.T * S.gibbs_response,
        "energy": sp.expand(free + S.T * entropy),
        "free_energy": free,
        "entropy": entropy,
    }
    named = constant, S.volume - S.spins * sp.log(2 * sp.pi * S.T)
    return tuple(
        ThermalOutput(name, sp.expand(value.subs(*named)), sp.nan if name == "entropy" else limit(value, S.T))
        for name, value in values.items()
    )
