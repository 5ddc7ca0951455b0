"""Means and variances of couplings and fields from the symbolic layer, derived once: it takes seconds."""

from iclglass.replica.derivation import derive
from iclglass.replica.disorder import CouplingMoments

__all__ = ["symbolic_moments"]


def symbolic_moments() -> tuple[CouplingMoments, ...]:
    """The moments of every kind of coupling and field, exact at finite D and N."""
    return derive().couplings
