"""A simulated sweep against the theory beside it, in standard errors."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["z_scores"]

_POOL_FREEDOM = 11
"""Degrees of freedom of the theory's standard error, at the least: `numerics.finite_pool`."""
_ROUNDING = 1e-12
"""Of a quantity of order one."""


def z_scores(dataset: "xr.Dataset", quantity: str) -> NDArray[np.float64]:
    """Deviations from the theory as normal deviates, in the shape of the grid; NaN where there is nothing to compare.

    Nor is there where both are the same to rounding, as e_train is without ridge below the interpolation threshold: 0.
    The theory's own standard error counts; the degrees of freedom are then those of Welch and Satterthwaite.

    >>> import xarray as xr
    >>> one = xr.Dataset({"m": 1.2, "m_theory": 1.0, "m_standard_error": 0.1, "seed_count": 1000000})
    >>> z_scores(one, "m").round(3).tolist()
    2.0
    """
    parts = [quantity, f"{quantity}_theory", f"{quantity}_standard_error"]
    if not all(part in dataset for part in parts):
        return np.full(dataset["status"].shape, np.nan)
    mean, theory, sampling = (dataset[part].values for part in parts)
    dof = np.maximum(dataset["seed_count"].values - 1, 1).astype(np.float64)
    own = f"{quantity}_theory_standard_error"
    beside = np.nan_to_num(dataset[own].values) if own in dataset else np.zeros_like(theory)
    error = np.hypot(sampling, beside)
    scale = np.maximum(np.maximum(np.abs(mean), np.abs(theory)), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        same = np.maximum(np.abs(mean - theory), error) <= _ROUNDING * scale
        # Data sets that agree to the last bit on something else than the theory: as far off as can be.
        t = np.where((error >= 0) & ~same, (mean - theory) / error, np.nan)
        dof = np.where(beside > 0, error**4 / (sampling**4 / dof + beside**4 / _POOL_FREEDOM), dof)
    normal: NDArray[np.float64] = -np.sign(t) * special.ndtri(special.stdtr(dof, -np.abs(t)))
    return normal
