"""Pools of tasks at finite dimension: a task covariance's D eigenvalues, and tasks drawn from it."""

import numpy as np
from numpy.typing import ArrayLike

from iclglass.numerics.arguments import FloatArray, check_count, check_type, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.task_spectrum import TaskSpectrum

__all__ = ["at_dimension", "draw_pool", "eigenvalues_of"]


def draw_pool(*, dimension: int, count: int, spectrum: ArrayLike | None = None, rng: np.random.Generator) -> FloatArray:
    """Draw K = count tasks, shape (K, D), entries w_i ~ N(0, spectrum_i) independent.

    dimension D >= 1, count K >= 1. spectrum: D eigenvalues >= 0 of the task covariance, which is diagonal (tokens are
    isotropic, so its eigenbasis does not matter); by default ones.

    Raises ParameterError or ParameterTypeError (a ValueError or TypeError) for a value outside its range.

    >>> draw_pool(dimension=3, count=2, spectrum=[1, 1, 0], rng=np.random.default_rng(1))[:, 2].tolist()
    [0.0, 0.0]
    """
    dimension = check_count("dimension", dimension, minimum=1)
    count = check_count("count", count, minimum=1)
    check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")
    tasks: FloatArray = rng.standard_normal((count, dimension))
    if spectrum is not None:
        tasks *= np.sqrt(eigenvalues_of(spectrum, dimension))
    return tasks


def eigenvalues_of(spectrum: ArrayLike, dimension: int) -> FloatArray:
    """The D eigenvalues of a task covariance, checked: finite, >= 0, one for each direction.

    >>> eigenvalues_of([1, 2], 2).tolist()
    [1.0, 2.0]
    """
    values = doubles("spectrum", spectrum)
    if values.shape != (dimension,):
        raise ParameterError(
            f"the task spectrum must hold one eigenvalue a dimension, ({dimension},), got {values.shape}"
        )
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ParameterError(f"task eigenvalue {values[bad][0]} must be finite and >= 0: it is a variance")
    return values


def at_dimension(tasks: TaskSpectrum, dimension: int) -> TaskSpectrum:
    """The spectrum's D mid-quantiles: D eigenvalues of equal weight, for pretraining and test in common.

    Direction k = 1..D takes the eigenvalues found at the fraction (k - 1/2)/D of the directions, in the order listed.
    Where every weight is a multiple of 1/D the spectrum is unchanged. Elsewhere weights are rounded to multiples of
    1/D; the theory is then compared at the rounded spectrum, as it is at the rounded P, N and K.

    >>> spiked = TaskSpectrum.from_eigenvalues([8.0, 1.0], weights=[0.25, 0.75])
    >>> at_dimension(spiked, 8).pretraining.tolist()
    [8.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    dimension = check_count("dimension", dimension, minimum=1)
    # The sum of the weights is 1 but for rounding; the last direction must not fall off its end.
    ends = np.cumsum(tasks.weights)[:-1]
    places = np.searchsorted(ends, (np.arange(dimension) + 0.5) / dimension, side="right")
    pretraining, test = tasks.pretraining[places], tasks.test[places]
    if not np.any(pretraining > 0):
        raise ParameterError(
            f"at dimension {dimension} no direction is left with pretraining eigenvalue > 0: the weights of those are "
            "too small; use larger dimensions"
        )
    return TaskSpectrum.from_eigenvalues(pretraining, test=test)
