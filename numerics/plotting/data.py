"""What a picture reads: the dataset behind what is given, and in words why it has no number."""

from typing import TYPE_CHECKING

import numpy as np

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import closest
from iclglass.numerics.solution import QUANTITIES, solved
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["absence", "as_dataset", "check_observable"]

_NO_NUMBER = {
    Status.DIVERGES: "diverging",
    Status.NOT_CONVERGED: "not converged",
    Status.NOT_FINITE: "not finite",
    Status.FAILED: "failed",
    Status.LOST: "lost",
}


def check_observable(name: str) -> str:
    """The name, if it is an observable; ParameterError with a suggestion, or ParameterTypeError where it is not."""
    if not isinstance(name, str):
        raise ParameterTypeError(f"observable must be the name of a quantity, got {type(name).__name__}")
    if name not in QUANTITIES:
        raise ParameterError(f"quantity {name!r} is unknown{closest(name, QUANTITIES)}")
    return name


def as_dataset(name: str, given: object, *needed: str, source: str) -> "xr.Dataset":
    """The dataset a picture reads, from one or from a result with a method ``to_dataset``.

    Parameters
    ----------
    name, source
        The argument, and what returns such a thing: for messages.
    needed
        Names of variables.

    Raises
    ------
    ParameterTypeError, ParameterError
        Something else; a variable is missing.

    Examples
    --------
    >>> as_dataset("run", [1.0], "energy", source="train")
    Traceback (most recent call last):
    iclglass.numerics.errors.ParameterTypeError: run must be an xarray.Dataset or a result as train returns it, got list
    """
    import xarray as xr

    found = given
    if not isinstance(given, xr.Dataset | xr.DataArray | type):
        try:
            found = getattr(given, "to_dataset", lambda: given)()
        except ParameterTypeError as error:
            raise ParameterTypeError(f"{name}: {error}") from error
    if not isinstance(found, xr.Dataset):
        raise ParameterTypeError(
            f"{name} must be an xarray.Dataset or a result as {source} returns it, got {type(given).__name__}"
        )
    missing = [variable for variable in needed if variable not in found]
    if missing:
        raise ParameterError(f"{name} has no {' and no '.join(missing)}: give what {source} returns")
    return found


def absence(dataset: "xr.Dataset", name: str) -> str:
    """Why a variable has no number at any point, from the status of the points; empty where it has one."""
    if np.isfinite(dataset[name].values).any():
        return ""
    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    cold = name.startswith("entropy") and not np.any(dataset.get("temperature", 0.0))
    reasons = []
    for status, count in zip(map(Status, codes.tolist()), counts, strict=True):
        if not solved(status):
            reasons.append(f"{count} {_NO_NUMBER[status]}")
        else:
            reasons.append("entropy does not exist at temperature 0" if cold else f"{count} converged without {name}")
    return f"no number at any of {dataset['status'].size} points: {', '.join(reasons)}"
