"""What every solver of one data set returns: means and variances of the spins, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_observables import log_units
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.running.resuming import Program
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["InstanceSolution", "diverged_solution", "pack_solution"]

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

    def to_dataset(self) -> xr.Dataset:
        """Arrays and numbers as variables of these names; method, status, reason and last feature as attributes."""
        import xarray as xr

        matrix = ("row", "column")
        variables: dict[str, Any] = {
            name: (matrix, getattr(self, name)) for name in ("mean", "variance", "variance_error")
        }
        variables["history"] = ("iteration", self.history)
        for name in ("ridge0", "beta", "log_partition", "free_energy", "iterations", "residual", "spectral_radius"):
            variables[name] = ((), np.asarray(getattr(self, name)))
        text = {"status": self.status.name, "method": self.method, "reason": self.reason}
        return xr.Dataset(variables, attrs={**text, "last_feature": self.last_feature})


def pack_solution(
    method: str,
    *,
    ridge0: float,
    beta: float,
    mean: FloatArray,
    variance: FloatArray,
    residual: float,
    converged: bool,
    reason: str,
    history: Sequence[float] | FloatArray = (),
    variance_error: FloatArray | float = 0.0,
    log_partition: float = math.nan,
    radius: float = math.nan,
) -> InstanceSolution:
    """The common result from means and variances (D+1, D) of the active spins; masked ones have their prior."""
    masked = np.zeros((mean.shape[0], 1))
    prior = 1 / (beta * ridge0) if ridge0 > 0 else math.inf
    return InstanceSolution(
        method=method,
        ridge0=ridge0,
        beta=beta,
        mean=np.hstack([mean, masked]),
        variance=np.hstack([variance, masked + prior]),
        variance_error=np.hstack([np.broadcast_to(variance_error, mean.shape), masked]),
        log_partition=log_partition,
        iterations=len(history),
        residual=residual,
        status=Status.CONVERGED if converged else Status.NOT_CONVERGED,
        reason=reason,
        spectral_radius=radius,
        history=np.array(history, dtype=np.float64),
    )


def diverged_solution(method: str, weight_shape: tuple[int, int], **given: Any) -> InstanceSolution:
    """The result that holds no number but the predicted spectral radius; given: others of `pack_solution`."""
    nothing = np.full(weight_shape, math.nan)
    found = pack_solution(method, mean=nothing, variance=nothing, residual=math.nan, converged=False, **given)
    matrices: dict[str, Any] = {
        name: np.full_like(found.mean, math.nan) for name in ("mean", "variance", "variance_error")
    }
    return replace(found, **matrices, status=Status.DIVERGES)
