"""Errors a user can cause or must know of; the command line maps each to an exit code."""

__all__ = [
    "ConvergenceError",
    "MissingExtraError",
    "OutputError",
    "ParameterError",
    "ParameterTypeError",
    "WorkerError",
]


class ParameterError(ValueError):
    """A value outside its range; the message names the value, the range and the remedy."""


class MissingExtraError(ParameterError):
    """What was asked for needs a package that is not installed; the message has the command that installs it."""


class ParameterTypeError(TypeError):
    """A value of the wrong type; the message names the type found and the type wanted."""


class ConvergenceError(ArithmeticError):
    """A point or a solve did not converge where no status can say so; the message says what, and the remedy."""


class OutputError(OSError):
    """A file is missing, damaged, not writable, or would be overwritten."""


class WorkerError(RuntimeError):
    """Workers died, or what hands them work, and the work cannot be finished; what was kept is kept."""
