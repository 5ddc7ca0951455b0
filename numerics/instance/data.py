"""One data set as arrays: contexts, queries, labels. Everything about its Boltzmann measure follows from these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numerics.errors import ParameterError
from numerics.instance.features import FeatureOperator

__all__ = ["Instance"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Instance:
    """One data set of P prompts in D dimensions, as linear attention sees it (SG section II).

    context : (P, D+1), U = C/norm; the last column is the sum of the squared labels over norm.
    query : (P, D), the query tokens X.
    label : (P,), the labels y_t of the queries.

    >>> data = Instance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0]]), np.array([2.0]))
    >>> data.prompts, data.dimension, data.spins
    (1, 2, 6)
    """

    context: FloatArray
    query: FloatArray
    label: FloatArray

    def __post_init__(self) -> None:
        count, dimension = self.query.shape
        if self.context.shape != (count, dimension + 1) or self.label.shape != (count,):
            raise ParameterError(
                f"shapes of prompts do not fit: context {self.context.shape}, query {self.query.shape}, "
                f"label {self.label.shape}; want (P, D+1), (P, D), (P,)"
            )

    @property
    def dimension(self) -> int:
        """Token dimension D."""
        return int(self.query.shape[1])

    @property
    def prompts(self) -> int:
        """Number of prompts P."""
        return int(self.query.shape[0])

    @property
    def spins(self) -> int:
        """Number n = D(D+1) of active spins (the query's masked label switches the last column of W off)."""
        return self.dimension * (self.dimension + 1)

    @property
    def features(self) -> FeatureOperator:
        """The feature matrix S as an operator."""
        return FeatureOperator(self.context, self.query)
