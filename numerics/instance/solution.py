"""What every solver of one data set returns: means and variances of the spins, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_observables import log_units
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.running.resuming import Program

__all__ = ["InstanceSolution", "diverged_solution", "pack_solution", "with_masked_column"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class InstanceSolution:
    """Boltzmann measure exp(-beta H) of the weights of one data set, spin by spin (SG section II).

    With A = S^T S/P + ridge0 and h = S^T y/P the measure is Gaussian: mean A^{-1} h, covariance A^{-1}/beta.
    Matrices have SG's shape (D+1, D+1); their last column is the one the masked label of the query switches off. Of a
    layer without last row they have D rows, and keep that column.

    method : "exact", "gamp", "tap" or "published".    ridge0, beta : what was solved for.
    mean : (D+1, D+1), last column 0.
    variance : (D+1, D+1), last column 1/(beta ridge0), the prior (inf at ridge0 = 0).
    variance_error : (D+1, D+1), standard error of an estimated variance; 0 where it is exact or not estimated.
    log_partition : ln Z over the n active spins, flat measure dW; NaN where the method gives none.
    iterations : steps of the iteration; 0 for direct linear algebra.
    residual : |h - A mean|/|h|, computed anew from the mean returned.
    status, reason : how it ended, and one sentence why; for a divergence the predicted cause.
    spectral_radius : of the linearised (damped) iteration at its fixed point where computed, else NaN.
    history : (iterations,), the residual or the change at each step.
    last_feature : of the data set, see `numerics.last_row`; the unit of the last row's weights in free_energy.
    parameters : all that it follows from, plain values by the names of the solver's arguments; of arrays and random
        numbers a digest.    programs : which have worked on it one after another, see `numerics.running.resuming`.

    A diverged solution has NaN mean and variance, never a number that is not a solution.
    """

    method: str
    ridge0: float
    beta: float
    mean: FloatArray
    variance: FloatArray
    variance_error: FloatArray
    log_partition: float
    iterations: int
    residual: float
    status: Status
    reason: str
    spectral_radius: float
    history: FloatArray
    last_feature: str = UNIT_TOKENS.last_feature
    parameters: Mapping[str, Any] = field(default_factory=dict)
    programs: tuple[Program, ...] = ()

    @property
    def free_energy(self) -> float:
        """-(T/D^2) ln Z at T = D^2/beta, as `numerics.solution.Solution` has it: over sqrt(D) W and D s W_last."""
        rows, columns = self.mean.shape
        dimension = columns - 1
        scale = LastRow(self.last_feature, rows > dimension).scale(dimension)
        return -(self.log_partition + float(log_units(dimension, scale))) / self.beta


def with_masked_column(active: FloatArray, value: float) -> FloatArray:
    """The (D+1, D+1) matrix of the active spins (D+1, D), its masked last column filled with a value.

    >>> with_masked_column(np.ones((2, 1)), 0.0).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    return np.column_stack([active, np.full(active.shape[0], value)])


def pack_solution(
    method: str,
    *,
    ridge0: float,
    beta: float,
    mean: FloatArray,
    variance: FloatArray,
    masked_variance: float,
    log_partition: float,
    residual: float,
    status: Status,
    reason: str,
    history: list[float],
    radius: float = math.nan,
) -> InstanceSolution:
    """The common result from means and variances (D+1, D) of the active spins."""
    rows = mean.shape[0]
    return InstanceSolution(
        method=method,
        ridge0=ridge0,
        beta=beta,
        mean=with_masked_column(mean, 0.0),
        variance=with_masked_column(variance, masked_variance),
        variance_error=np.zeros((rows, mean.shape[1] + 1)),
        log_partition=log_partition,
        iterations=len(history),
        residual=residual,
        status=status,
        reason=reason,
        spectral_radius=radius,
        history=np.array(history),
    )


def diverged_solution(
    method: str,
    weight_shape: tuple[int, int],
    *,
    ridge0: float,
    beta: float,
    reason: str,
    radius: float,
    history: list[float],
) -> InstanceSolution:
    """The result that holds no number but the predicted spectral radius."""
    nothing = with_masked_column(np.full(weight_shape, math.nan), math.nan)
    return InstanceSolution(
        method=method,
        ridge0=ridge0,
        beta=beta,
        mean=nothing,
        variance=nothing.copy(),
        variance_error=nothing.copy(),
        log_partition=math.nan,
        iterations=len(history),
        residual=math.nan,
        status=Status.DIVERGES,
        reason=reason,
        spectral_radius=radius,
        history=np.array(history),
    )
