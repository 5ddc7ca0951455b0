"""What became of one point of a solver or a sweep: a code. Sentences are where the physics is, `numerics.solution`."""

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """What became of one point."""

    CONVERGED = 0
    DIVERGES = 1
    NOT_CONVERGED = 2
    NOT_FINITE = 3
    FAILED = 4
    LOST = 5
    RS_UNSTABLE = 6
