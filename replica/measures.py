r"""Spin measures as data: where one spin may lie, off the diagonal and on it.

Levels are in units of one scaled spin sqrt(D) W; c is `S.spacing`. A diagonal spin is of order sqrt(D) and carries the
signal: beside discrete spins it is real, since a diagonal of finite levels has magnetization 0 as D -> infinity.
A new measure is one entry.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.energies import Support

__all__ = ["MEASURES", "PENALTIES", "Measure"]


@dataclass(frozen=True)
class Measure:
    """Where spins may lie.

    Attributes
    ----------
    name
        What users call it.
    meaning
        In words.
    support
        Of a spin off the diagonal, see `replica.energies.Energy`.
    diagonal
        Of a diagonal spin: "real" or "half-line".
    levels
        The values of a spin off the diagonal, increasing, if they are finitely many.
    """

    name: str
    meaning: str
    support: Support
    diagonal: Support
    levels: tuple[sp.Expr, ...] | None = None

    @property
    def discrete(self) -> bool:
        """Whether spins off the diagonal take separate values only."""
        return self.support in ("levels", "lattice")


_c = S.spacing

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("real", "any real number", "real", "real"),
        Measure("nonnegative", "any number >= 0, on the diagonal too", "half-line", "half-line"),
        Measure("binary", "-c or c", "levels", "real", (-_c, _c)),
        Measure("ternary", "-c, 0 or c", "levels", "real", (-_c, sp.S.Zero, _c)),
        Measure("integer", "c times any integer", "lattice", "real"),
    )
}

_s = S.scaled_spin

PENALTIES: dict[str, sp.Expr] = {
    "ridge": S.lam * _s**2 / 2,
    "lasso": S.l1 * sp.Abs(_s),
    "elastic_net": S.lam * _s**2 / 2 + S.l1 * sp.Abs(_s),
}
"""Energies r(s) of one scaled spin."""
