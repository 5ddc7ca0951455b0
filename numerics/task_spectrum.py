"""Covariance spectra of tasks: of the pool the tasks are drawn from, and of the tasks tested on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_count, check_real, doubles
from iclglass.numerics.errors import ParameterError

__all__ = ["ISOTROPIC", "TaskSpectrum"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskSpectrum:
    """Eigenvalues of the task covariance in pretraining and in the test, in a common eigenbasis.

    Attributes
    ----------
    pretraining
        eigenvalues c >= 0 of the covariance of the tasks in the pool, shape (n,).
    test
        those of the covariance of new tasks, along the same eigenvectors, shape (n,).
    weights
        fraction of the D directions each stands for, shape (n,), positive, sum 1.

    Raises
    ------
    ParameterError
        an empty spectrum, negative or infinite eigenvalues, no variance at all, weights that are not fractions; shapes
        that differ.

    Examples
    --------
    >>> TaskSpectrum.spiked(strength=4.0, fraction=0.1).pretraining.round(4).tolist()
    [3.0769, 0.7692]
    """

    pretraining: Array
    test: Array
    weights: Array

    def __post_init__(self) -> None:
        for name in ("pretraining", "test", "weights"):
            object.__setattr__(self, name, doubles(name, getattr(self, name)))
        if self.pretraining.size == 0:
            raise ParameterError("the task spectrum is empty: give at least one eigenvalue")
        if not self.pretraining.shape == self.test.shape == self.weights.shape or self.pretraining.ndim != 1:
            raise ParameterError("pretraining, test and weights must be one-dimensional and of one length")
        for name, values in (("pretraining", self.pretraining), ("test", self.test)):
            bad = ~(np.isfinite(values) & (values >= 0))
            if bad.any():
                raise ParameterError(f"{name} eigenvalue {values[bad][0]} must be finite and >= 0: it is a variance")
        if not np.all(self.weights > 0) or not np.isclose(self.weights.sum(), 1, rtol=1e-9):
            raise ParameterError(f"the weights must be > 0 and sum to 1, not to {self.weights.sum()}")
        if self.strength == 0:
            raise ParameterError("the pretraining spectrum is zero: at least one eigenvalue must be > 0")

    @property
    def strength(self) -> float:
        """Mean pretraining eigenvalue, Tr C/D."""
        return float(self.weights @ self.pretraining)

    @property
    def test_strength(self) -> float:
        """Mean test eigenvalue."""
        return float(self.weights @ self.test)

    def record(self) -> object:
        """The spectrum for a file, as JSON holds it exactly.

        Examples
        --------
        >>> ISOTROPIC.record(), TaskSpectrum.from_eigenvalues([0.5, 1.5]).record()["weights"]
        ('isotropic', [0.5, 0.5])
        """
        if np.all(self.pretraining == 1) and np.all(self.test == 1):
            return "isotropic"
        return {name: getattr(self, name).tolist() for name in ("pretraining", "test", "weights")}

    @classmethod
    def from_eigenvalues(
        cls, pretraining: ArrayLike, *, test: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> "TaskSpectrum":
        """Given eigenvalues; test tasks as in pretraining and equal weights when not given.

        Examples
        --------
        >>> TaskSpectrum.from_eigenvalues([0.5, 1.5]).strength
        1.0
        """
        train = _vector("pretraining", pretraining)
        return cls(
            pretraining=train,
            test=train if test is None else _vector("test", test),
            weights=np.full(train.shape, 1 / max(train.size, 1)) if weights is None else _vector("weights", weights),
        )

    @classmethod
    def power_law(cls, exponent: float, *, size: int = 200, test: ArrayLike | None = None) -> "TaskSpectrum":
        """Eigenvalues proportional to (k - 1/2)^-exponent, k = 1..size, scaled to mean 1; exponent >= 0.

        Examples
        --------
        >>> round(TaskSpectrum.power_law(1.0, size=50).strength, 12)
        1.0
        """
        power = check_real("exponent", exponent, minimum=0)
        values = (np.arange(1, check_count("size", size, minimum=1) + 1) - 0.5) ** -power
        return cls.from_eigenvalues(values / values.mean(), test=test)

    @classmethod
    def spiked(cls, *, strength: float, fraction: float) -> "TaskSpectrum":
        """A fraction of the directions is ``strength`` times as variable as the rest; mean 1."""
        ratio = check_real("strength", strength, minimum=0)
        part = check_real("fraction", fraction, minimum=0, above=True, maximum=1)
        values, weights = np.array([ratio, 1.0]), np.array([part, 1 - part])
        return cls.from_eigenvalues(values / (weights @ values), weights=weights)


def _vector(name: str, values: ArrayLike) -> Array:
    return np.atleast_1d(doubles(name, values))


ISOTROPIC = TaskSpectrum(np.ones(1), np.ones(1), np.ones(1))
