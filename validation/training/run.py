"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.validation.training.layer import Matrices

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LOG_COLUMNS", "Outcome", "TrainingRun"]

FloatArray = NDArray[np.float64]

LOG_COLUMNS = ("energy", "train_error", "test_error", "residual")
"""What is recorded at a step, in the order of the log's columns."""


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    DIVERGES = "diverges"


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained layer and how it got there.

    Attributes
    ----------
    steps : (K,) array
        The steps recorded.
    energy : (K,) array
        H on all prompts (`validation.training.layer`), what training lowers.
    train_error, test_error : (K,) arrays
        Mean squared error on the prompts trained on, and on the held-out ones or exact for a law of prompts; NaN where
        there is no test.
    residual : (K,) array
        |dH/d(parameters)|/|h|, h = S^T y/P. For the merged layer it is |h - A W|/|h|.
    parameters : tuple of arrays
        The final matrices, (W,) or (W_k, W_q).
    weights : (D+1, D) array
        The W they make.
    outcome : Outcome
        Completed (all steps done, no tolerance asked for), converged (residual below the tolerance), not converged, or
        diverges. A run that diverges has NaN parameters and weights; what was recorded before is kept.
    reason : str
        One sentence.
    stable_rate : float
        2/L, L the largest curvature of H at the initial parameters: descent on all prompts is stable below it (the
        merged layer everywhere, the separate one there; for sgd it is an upper bound, for adam it does not apply).
    """

    steps: NDArray[np.int64]
    energy: FloatArray
    train_error: FloatArray
    test_error: FloatArray
    residual: FloatArray
    parameters: Matrices
    weights: FloatArray
    outcome: Outcome
    reason: str
    stable_rate: float

    def to_dataset(self) -> xr.Dataset:
        """What was recorded along ``step``, and the weights; outcome and reason as attributes."""
        import xarray as xr

        variables: dict[str, Any] = {name: ("step", getattr(self, name)) for name in LOG_COLUMNS}
        variables["weights"] = (("row", "column"), self.weights)
        return xr.Dataset(variables, {"step": self.steps}, {"outcome": self.outcome.value, "reason": self.reason})
