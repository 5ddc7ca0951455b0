"""What the theory returns over a grid: order parameters, observables and diagnostics, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import is_data_array
from iclglass.numerics.errors import ParameterTypeError
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DIAGNOSTICS", "OBSERVABLES", "Solution", "labelled"]

Array = NDArray[np.float64]

OBSERVABLES: dict[str, str] = {
    "m": "magnetization Tr W / D",
    "q": "overlap of two replicas",
    "q_self": "self-overlap q + T chi",
    "chi": "susceptibility",
    "e_icl": "squared error on a new task",
    "e_icl_gibbs": "squared error on a new task, weights drawn at temperature T",
    "e_idg": "squared error on a new prompt of the pretraining law",
    "e_train": "squared error on the pretraining prompts",
    "contrast": "contrast ratio",
    "free_energy": "free energy -T ln Z/D^2",
    "energy": "mean energy <H>",
    "entropy": "differential entropy over D^2",
    "replicon": "replicon (> 0: replica symmetry is stable)",
}

DIAGNOSTICS: dict[str, str] = {
    "residual": "largest relative residual of the equations",
    "error_bound": "bound on the relative error of chi, m, q; of pools at finite D: half of a 95 % interval",
}


@dataclass(frozen=True, eq=False)
class Solution:
    """The saddle point at every point of a grid.

    All arrays have the broadcast shape of the parameters. A point that failed is NaN everywhere and its status says
    why. What does not exist is NaN: the entropy at temperature 0. chi (and, at T > 0, what contains it) is
    infinite in the ridgeless limit below tau = 1, where a fraction 1 - tau of the directions is flat.

    Attributes:
        m, q, q_self, chi: order parameters, notes/notation.md.
        e_icl, e_icl_gibbs, e_idg, e_train: squared errors; e_icl_gibbs is for weights drawn at temperature T, the
            others for the mean weights.
        contrast: m/sqrt(q), the contrast ratio of SG Fig. 4 at large D.
        free_energy, energy, entropy: -(T/D^2) ln Z over sqrt(D) W; <H>; (energy - free_energy)/T.
        replicon: stability of replica symmetry.
        residual: largest relative residual of the saddle-point equations.
        error_bound: bound on the relative error of chi, m and q, to first order in the residual.
        status: codes of `numerics.status.Status`.
    """

    m: Array
    q: Array
    q_self: Array
    chi: Array
    e_icl: Array
    e_icl_gibbs: Array
    e_idg: Array
    e_train: Array
    contrast: Array
    free_energy: Array
    energy: Array
    entropy: Array
    replicon: Array
    residual: Array
    error_bound: Array
    status: NDArray[np.int8]

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Where the status is CONVERGED."""
        converged: NDArray[np.bool_] = self.status == Status.CONVERGED
        return converged

    def to_dict(self) -> dict[str, Array]:
        """Name -> array, in the order of the attributes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_dataset(self) -> "xr.Dataset":
        """As `labelled`."""
        return labelled(self.to_dict(), "Solution", "sweep(...) returns a dataset with axes")


def labelled(arrays: Mapping[str, Any], kind: str, instead: str = "") -> "xr.Dataset":
    """The DataArrays of a result, which has a ``status``, as a dataset along the dimensions of its parameters.

    Raises
    ------
    ParameterTypeError
        The parameters were plain arrays, which the result does not know; what to do instead is said.
    """
    import xarray as xr

    if not is_data_array(arrays["status"]):
        remedy = f"{instead}, or give" if instead else "give"
        raise ParameterTypeError(f"a {kind} of arrays does not know its parameters: {remedy} them as DataArrays")
    return xr.Dataset({name: array for name, array in arrays.items() if name not in array.dims})
