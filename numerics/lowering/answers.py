"""What one body answers to a field at T = 0: the parts of x(B), and x at one field; of any energy."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.envelope import envelope, minima
from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment

__all__ = ["answer", "items_of"]

Array = NDArray[np.float64]


def items_of(
    body: OneBody, A: Array, bottom: Array, top: Array, strengths: Mapping[str, Array]
) -> list[Segment | Kink]:
    """The parts of x(B) for B between ``bottom`` and ``top``, in order; arrays over points."""
    if body.discrete:
        return body.steps(A, bottom, top, strengths)
    return (body.convex_items if body.convex else lambda *given: envelope(body, *given))(A, bottom, top, strengths)


def answer(body: OneBody, B: Array, A: Array, strengths: Mapping[str, Array]) -> tuple[Array, Array]:
    """The minimiser x in the field B, and min E + A x^2/2 - B x; arrays over points."""
    arguments = body.arguments(strengths)
    best, least = np.full_like(A, np.nan), np.full_like(A, np.inf)
    convex = body.discrete or body.convex
    for x in body.stationary(A, B, strengths) if convex else minima(body, A, B, strengths):
        with np.errstate(all="ignore"):
            value = body.value(x, arguments) + A * x**2 / 2 - B * x
        better = value < least
        best, least = np.where(better, x, best), np.where(better, value, least)
    return best, least
