"""What became of one point of a solver or a sweep: a code, and a sentence in the model's words that says what to do."""

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """What became of one point; `sentence` says it in words."""

    CONVERGED = 0
    DIVERGES = 1
    NOT_CONVERGED = 2
    NOT_FINITE = 3
    FAILED = 4
    LOST = 5

    @property
    def sentence(self) -> str:
        """The status in words, with what to do."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.CONVERGED: "converged",
    Status.DIVERGES: (
        "diverges at the interpolation threshold without ridge (tau = 1; at finite D as many prompts as spins; there "
        "also one or two tokens, or a single noiseless task): take lam > 0 or another tau"
    ),
    Status.NOT_CONVERGED: (
        "not converged: the residual is above the tolerance; take a larger ridge, or, if method 'iteration' was asked "
        "for, 'closed-form'"
    ),
    Status.NOT_FINITE: (
        "not finite: beyond floating-point range, or no root in the bracket; bring the parameters nearer to 1"
    ),
    Status.FAILED: "failed: an error while it was computed, kept among the failures of the dataset",
    Status.LOST: "lost: its worker died every time, or memory was short; take fewer workers, or smaller sizes",
}
