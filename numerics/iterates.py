"""iterates(...): steps of message passing on given data sets, with those that state evolution predicts.

The prediction is that for D -> infinity and that at each dimension of the data sets. Source: this project,
notes/state_evolution.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_choice, check_count
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.moments import FeatureMoments, feature_moments
from iclglass.numerics.sizes import NORMS, sizes_at, to_unscaled
from iclglass.numerics.state_evolution import state_evolution
from iclglass.numerics.storage import PROVENANCE, provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["iterates"]

Array = NDArray[np.float64]

_QUANTITIES = ("m", "q", "e_icl", "change")


def iterates(
    instances: Sequence[Instance] = (),
    *,
    task_diversity: float,
    context_length: float,
    label_noise: float = 0.0,
    ridge: float = 0.1,
    steps: int = 15,
    norm: str = NORMS[0],
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> "xr.Dataset":
    """Undamped message passing at one point, predicted and run.

    Parameters
    ----------
    instances
        Data sets drawn at that point, each with P = round(tau D^2) prompts. Their contexts of N = round(alpha D) tokens
        are taken on trust: an instance does not hold its tokens.
    task_diversity, context_length, label_noise, ridge, steps, norm, last_feature, last_row
        As of `numerics.state_evolution.state_evolution`; numbers, steps >= 1.

    Returns
    -------
    xarray.Dataset
        m, q, e_icl, change and rate of `StateEvolution` along ``step``; NAME_finite along ``dimension`` and ``step``;
        NAME_run along ``data_set``, whose dimensions are ``data_set_dimension``, and ``step``.

    Raises
    ------
    ParameterError, ParameterTypeError
        As `state_evolution`; more than one point, data sets of another size or layer.

    Examples
    --------
    >>> found = iterates(task_diversity=1.5, context_length=2.0, steps=3)
    >>> found.m.round(3).values.tolist()
    [0.0, 0.602, 0.589, 0.583]
    """
    import xarray as xr

    check_count("steps", steps, minimum=1)
    check_choice("norm", norm, NORMS)
    layer = LastRow(last_feature, last_row)
    point: dict[str, Any] = {"task_diversity": task_diversity, "context_length": context_length}
    point |= {"label_noise": label_noise, "ridge": ridge}
    limit = state_evolution(**point, steps=steps)
    if limit.rate.ndim:
        raise ParameterError("message passing runs at one point: give one value of each parameter")
    variables: dict[str, Any] = {name: ("step", getattr(limit, name)) for name in _QUANTITIES}
    variables["rate"] = limit.rate
    dimensions = sorted({data.dimension for data in instances})
    ends = {}
    for size in dimensions:
        sizes = sizes_at(size, point, norm)
        moments = feature_moments(dimension=size, context=sizes.context, label_noise=label_noise, norm=norm)
        ends[size] = sizes.prompts, replace(moments, last_row=moments.last_row * layer.scale(size) ** 2)
    runs = [_run(data, ridge, task_diversity, steps, layer, *ends[data.dimension]) for data in instances]
    options = {"steps": steps, "norm": norm, **layer.to_dict()}
    finite = [state_evolution(**point, **options, dimension=size) for size in dimensions]
    for name in _QUANTITIES if runs else ():
        variables[f"{name}_finite"] = (("dimension", "step"), np.array([getattr(path, name) for path in finite]))
        variables[f"{name}_run"] = (("data_set", "step"), np.array([run[name] for run in runs]))
    coordinates = {
        **point,
        "step": np.arange(steps + 1),
        "dimension": dimensions,
        "data_set_dimension": ("data_set", np.array([data.dimension for data in instances], dtype=np.int64)),
    }
    origin = provenance({**point, **options}, modules=["iclglass.numerics.iterates"])
    return xr.Dataset(variables, coordinates, {"title": "iclglass iterates", PROVENANCE: origin})


def _run(
    data: Instance,
    ridge: float,
    task_diversity: float,
    steps: int,
    layer: LastRow,
    prompts: int,
    moments: FeatureMoments,
) -> dict[str, Array]:
    """The quantities along the iteration of one data set, (steps + 1,) each."""
    size = data.dimension
    if data.prompts != prompts:
        raise ParameterError(
            f"a data set of dimension {size} has {data.prompts} prompts, task_diversity = {task_diversity} means "
            f"{prompts}: draw it at this point"
        )
    if data.last_row != layer.last_row:
        raise ParameterError(
            f"a data set has contexts of {data.context.shape[1]} numbers for dimension {size}, last_row = "
            f"{layer.last_row} means {layer.rows(size)}: draw it for this layer"
        )
    means = np.zeros((steps + 1, *data.features.weight_shape))

    def record(step: int, mean: Array, _: Array) -> None:
        """Keep the means of a step."""
        means[step] = mean

    # A tolerance out of reach: all steps are wanted. beta only divides the variances.
    ridge0 = to_unscaled(size, ridge=ridge)["ridge0"]
    gamp(data, ridge0=ridge0, beta=1.0, damping=0.0, tolerance=1e-300, max_iterations=steps, callback=record)
    block, last = means[:, :size], np.sum(means[:, size:] ** 2, axis=(1, 2))
    m = np.trace(block, axis1=1, axis2=2) / size
    q = np.sum(block**2, axis=(1, 2)) / size
    e_icl = moments.label - 2 * moments.signal * m + moments.block * q + moments.last_row * last
    return {
        "m": m,
        "q": q,
        "e_icl": e_icl,
        "change": np.sum(np.diff(block, axis=0, prepend=0) ** 2, axis=(1, 2)) / size,
    }
