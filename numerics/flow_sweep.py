"""flow_sweep(...): gradient flow over time and axes, where it ends and when to stop, as a labelled dataset."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from iclglass.numerics.arguments import doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.stopping_time import best_stopping_time
from iclglass.numerics.storage import PROVENANCE, provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["flow_sweep"]

_TIMES = np.geomspace(1e-2, 1e3, 400)
_DEFAULTS = {"label_noise": 0.0, "ridge": 0.1, "initial_overlap": 0.0}


def flow_sweep(*, time: ArrayLike = _TIMES, **parameters: ArrayLike) -> "xr.Dataset":
    """Gradient flow over the product of times and all parameters given as one-dimensional arrays.

    Equation and source: `numerics.learning_curve.learning_curve`, `numerics.stopping_time.best_stopping_time`.

    Parameters
    ----------
    time
        One-dimensional, by default 400 from 0.01 to 1000.
    parameters
        Those of `learning_curve`: numbers, or arrays, which become axes.

    Returns
    -------
    xarray.Dataset
        The quantities of `LearningCurve` along the axes and ``time``; e_icl_end, e_train_end at infinite time;
        best_time, e_icl_best, e_train_best where to stop; numbers as scalar coordinates.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input, as of `learning_curve`.

    Examples
    --------
    >>> found = flow_sweep(time=[0.1, 1, 10], task_diversity=[0.5, 2], context_length=2.0)
    >>> dict(found.e_icl.sizes), bool((found.e_icl_best <= found.e_icl_end).all())
    ({'time': 3, 'task_diversity': 2}, True)
    """
    import xarray as xr

    given: dict[str, Any] = _DEFAULTS | parameters
    named = {
        name: xr.DataArray(np.asarray(value), dims=name, coords={name: np.asarray(value)})
        if np.ndim(value) == 1
        else value
        for name, value in given.items()
    }
    times = doubles("time", time)
    if times.ndim != 1:
        raise ParameterError("time must be a list of times: give at least one in brackets")
    curve = learning_curve(time=xr.DataArray(times, dims="time", coords={"time": times}), **named)
    end = learning_curve(time=np.inf, **named)
    best = best_stopping_time(**named)
    at_best = learning_curve(time=best.time, **named)
    variables = {name: array for name, array in curve.to_dict().items() if name != "time"}
    variables |= {"e_icl_end": end.e_icl, "e_train_end": end.e_train}
    variables |= {"best_time": best.time, "e_icl_best": best.e_icl, "e_train_best": at_best.e_train}
    scalars = {name: float(value) for name, value in given.items() if np.ndim(value) == 0 and value is not None}
    origin = provenance({"time": times, **given}, modules=["iclglass.numerics.flow_sweep"])
    return xr.Dataset(variables, coords=scalars, attrs={"title": "iclglass flow sweep", PROVENANCE: origin})
