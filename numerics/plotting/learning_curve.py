"""Errors of gradient flow over time: solid lines, dashed where they end, filled circles where to stop."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import (
    PALETTE,
    PARAMETER_SYMBOLS,
    axis_label,
    legend_below,
    new_figure,
    set_title,
    title_of,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_learning_curve"]

_DASHED: dict[str, Any] = {"linestyle": (0, (5, 3)), "linewidth": 1.0}
# Ordinates that span more than this factor are logarithmic, down to this fraction of their largest.
_SPAN, _DEPTH = 3.0, 1e-4


def draw_learning_curve(dataset: "xr.Dataset") -> "Figure":
    """Error on a new task and training error over time, one colour a value of the axis, where there is one.

    Parameters
    ----------
    dataset
        Of `numerics.flow_sweep.flow_sweep`, with at most one axis beside time, of 1 to 7 values.

    Raises
    ------
    ParameterError
        More axes, too many values, or times that do not fit a logarithmic axis.
    ParameterTypeError
        Something else.

    Examples
    --------
    >>> from iclglass.numerics.flow_sweep import flow_sweep
    >>> figure = draw_learning_curve(flow_sweep(task_diversity=[0.5, 2], context_length=2, ridge=0))
    >>> [panel.get_xscale() for panel in figure.axes]
    ['log', 'log']
    """
    names = [f"{name}{end}" for name in ("e_icl", "e_train") for end in ("", "_end", "_best")]
    data = as_dataset("dataset", dataset, *names, "best_time", source="flow_sweep")
    axes = [str(name) for name in data.best_time.dims]
    times = data.time.values
    if times.size < 2 or not np.all(np.isfinite(times) & (times > 0)):
        raise ParameterError("time must be a list of at least two finite times > 0: the axis is logarithmic")
    if not np.all(np.diff(times) > 0):
        raise ParameterError("time must rise from each value to the next: sort it")
    if len(axes) > 1:
        raise ParameterError(f"one parameter at most may be a list of values, not {', '.join(axes)}")
    if not 1 <= data.best_time.size <= len(PALETTE):
        raise ParameterError(f"{data.best_time.size} curves cannot be told apart: give 1 to {len(PALETTE)} values")
    figure, panels = new_figure((10.0, 4.4), columns=2)
    for panel, name in zip(panels, ("e_icl", "e_train"), strict=True):
        for number in range(data.best_time.size):
            curve = data.isel({axes[0]: number}) if axes else data
            label = f"${PARAMETER_SYMBOLS[axes[0]]} = {float(curve[axes[0]]):g}$" if axes else None
            colour, best = PALETTE[number], float(curve.best_time)
            panel.plot(times, curve[name].values, color=colour, linewidth=1.8, label=label)
            end = float(curve[f"{name}_end"])
            if end > 0:  # a vanishing training error has no place on a logarithmic axis
                panel.axhline(end, color=colour, alpha=0.8, **_DASHED)
            if times[0] <= best <= times[-1]:
                least = float(curve[f"{name}_best"])
                panel.plot(best, least, "o", color=colour, markersize=7, markeredgecolor="white", zorder=4)
        _scale(panel, data[name].values)
        panel.set(xscale="log", xlim=times[[0, -1]], xlabel=axis_label("time"), ylabel=axis_label(name))
    panels[0].plot([], [], color="0.35", label=r"$t \to \infty$", **_DASHED)
    if np.any((data.best_time >= times[0]) & (data.best_time <= times[-1])):
        panels[0].plot([], [], "o", color="0.35", markersize=7, label="best stopping time $t^*$")
    legend_below(figure, panels[0], len(PALETTE) + 2, frameon=False, handlelength=2.2)
    set_title(figure, title_of(data, axes))
    return figure


def _scale(panel: "Axes", values: Any) -> None:
    """Logarithmic where values span more than half a decade, without the depths to which an interpolator falls."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    finite = values[np.isfinite(values) & (values > 0)]
    if not finite.size or finite.max() <= _SPAN * finite.min():
        return
    panel.set_yscale("log")
    if finite.min() < _DEPTH * finite.max():
        panel.set_ylim(_DEPTH * finite.max(), 1.5 * finite.max())
    elif finite.max() < 100 * finite.min():
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
