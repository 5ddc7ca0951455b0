"""Means and variances of couplings and fields from the symbolic layer, derived once: it takes seconds."""

from functools import cache

from iclglass.replica.disorder import CouplingMoments, coupling_moments
from iclglass.replica.model import linear_attention

__all__ = ["symbolic_moments"]


@cache
def symbolic_moments() -> tuple[CouplingMoments, ...]:
    """The moments of every kind of coupling and field, exact at finite D and N.

    >>> len(symbolic_moments()) > 5
    True
    """
    return tuple(coupling_moments(linear_attention()))
