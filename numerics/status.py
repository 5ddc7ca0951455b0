"""What became of one point of a solver or a sweep: a code. Sentences are where the physics is, `numerics.solution`."""

from enum import IntEnum

__all__ = ["UNSTABLE", "Status"]

UNSTABLE = -1e-9
"""A replicon below it is negative, not 0 to rounding: it vanishes for absolute errors with a lasso, say."""


class Status(IntEnum):
    """What became of one point."""

    CONVERGED = 0
    DIVERGES = 1
    NOT_CONVERGED = 2
    NOT_FINITE = 3
    FAILED = 4
    LOST = 5
    RS_UNSTABLE = 6
