"""What happens step by step: gradient flow in time, message passing, and training runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.axes import set_scale
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, PARAMETER_SYMBOLS, axis_label, finish, new_figure, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_learning_curve", "draw_state_evolution", "draw_training"]

_DASHED: dict[str, Any] = {"linestyle": (0, (5, 3)), "linewidth": 1.0}
_SPAN, _DEPTH = 3.0, 1e-4
"""Errors that span more than this factor are logarithmic, down to this fraction of their largest."""


def draw_learning_curve(curve: Any, stop: Any = None) -> "Figure":
    """Error on a new task and training error over time, one colour a value of the axis, where there is one.

    Solid lines are the flow, dashed lines its end, filled circles where to stop.

    Parameters
    ----------
    curve
        A `LearningCurve`, or its dataset, along ``time`` and at most one axis of 1 to 7 values. An infinite time, after
        all others, is the end.
    stop
        The same at one time for each value of the axis, for instance at `best_stopping_time`.

    Raises
    ------
    ParameterError, ParameterTypeError
        More axes, too many values, times that do not fit a logarithmic axis; something else.
    """
    data = as_dataset("curve", curve, "e_icl", "e_train", "time", source="learning_curve")
    best = data if stop is None else as_dataset("stop", stop, "e_icl", "e_train", "time", source="learning_curve")
    axes = [str(name) for name in data.e_icl.dims if name != "time"]
    if "time" not in data.sizes:
        raise ParameterError("curve must be along time: give learning_curve a DataArray of times")
    moving = data.isel(time=np.isfinite(data.time.values))
    times = moving.time.values
    if times.size < 2 or not np.all(times > 0) or not np.all(np.diff(data.time.values) > 0):
        raise ParameterError("time must be a list of at least two rising times > 0: its axis is logarithmic")
    if len(axes) > 1:
        raise ParameterError(f"one parameter at most may be a list of values, not {', '.join(axes)}")
    count = data.sizes[axes[0]] if axes else 1
    if not 1 <= count <= len(PALETTE):
        raise ParameterError(f"{count} curves cannot be told apart: give 1 to {len(PALETTE)} values")
    figure, panels = new_figure((10.0, 4.4), columns=2)
    for panel, name in zip(panels, ("e_icl", "e_train"), strict=True):
        for number, colour in zip(range(count), PALETTE, strict=False):
            one, end, mark = (found.isel({axes[0]: number} if axes else {}) for found in (moving, data, best))
            label = f"${PARAMETER_SYMBOLS[axes[0]]} = {float(one[axes[0]]):g}$" if axes else None
            panel.plot(times, one[name].values, color=colour, linewidth=1.8, label=label)
            if end.sizes["time"] > times.size and end[name][-1] > 0:  # 0 has no place on a logarithmic axis
                panel.axhline(float(end[name][-1]), color=colour, alpha=0.8, **_DASHED)
            if stop is not None and times[0] <= mark.time <= times[-1]:
                point = float(mark.time), float(mark[name])
                panel.plot(*point, "o", color=colour, markersize=7, markeredgecolor="white", zorder=4)
        values = moving[name].values[moving[name].values > 0]
        set_scale(panel, "y", values, steep=_SPAN)
        if values.size and values.min() < _DEPTH * values.max():  # to which an interpolator falls
            panel.set_ylim(_DEPTH * values.max(), 1.5 * values.max())
        panel.set(xscale="log", xlim=times[[0, -1]], xlabel=axis_label("time"), ylabel=axis_label(name))
    if data.sizes["time"] > times.size:
        panels[0].plot([], [], color="0.35", label=r"$t \to \infty$", **_DASHED)
    if stop is not None and np.any((best.time >= times[0]) & (best.time <= times[-1])):
        panels[0].plot([], [], "o", color="0.35", markersize=7, label="best stopping time $t^*$")
    finish(figure, title_of(data, axes), panels[0], len(PALETTE) + 2, frameon=False, handlelength=2.2)
    return figure


def draw_state_evolution(dataset: Any) -> "Figure":
    """Overlaps, error and size of the steps of undamped message passing: prediction and iterates.

    The black line is D -> infinity; each dimension of the data sets has a colour, its dashed line the prediction there,
    its points the median over its data sets with bars from quartile to quartile. Not the mean: in low dimension a data
    set now and then diverges without damping.

    Parameters
    ----------
    dataset
        m, q, e_icl and change along ``step``, and rate, as of `state_evolution`; NAME_finite along ``dimension`` and
        ``step``; NAME_run along ``data_set``, whose dimensions are ``data_set_dimension``, and ``step``.

    Raises
    ------
    ParameterError, ParameterTypeError
        More than 6 dimensions; something else.
    """
    from matplotlib.ticker import MaxNLocator

    names = ("m", "q", "e_icl", "change")
    data = as_dataset("dataset", dataset, *names, "rate", "dimension", source="state_evolution")
    sizes = data.dimension.values.tolist()
    if len(sizes) >= len(PALETTE):  # the last colour is the black of the limit
        raise ParameterError(f"{len(sizes)} dimensions cannot be told apart: give at most {len(PALETTE) - 1}")
    figure, panels = new_figure((10.0, 7.2), 2, 2)
    for panel, name in zip(panels, names, strict=True):
        shown = data.isel(step=slice(int(name == "change"), None))  # nothing has changed at the start
        number = shown.step.values
        panel.plot(number, shown[name].values, color="black", linewidth=1.8, label=r"$D \to \infty$", zorder=3)
        for colour, size in zip(PALETTE, sizes, strict=False):
            path = shown[f"{name}_finite"].sel(dimension=size).values
            panel.plot(number, path, color=colour, linestyle="--", linewidth=1.2)
            values = shown[f"{name}_run"].values[data.data_set_dimension.values == size]
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            label = f"$D = {size}$, {len(values)} data set{'s' if len(values) > 1 else ''}"
            bars = (middle - low, high - middle)
            panel.errorbar(number, middle, bars, color=colour, fmt="o", markersize=4, label=label, zorder=4)
        panel.set(xlabel=axis_label("step"), ylabel=axis_label(name))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[3].set_yscale("log")
    rate, ends = float(data.rate), number[[len(number) // 2, -1]]
    if np.isfinite(rate):  # as a slope below the prediction: data sets of finite dimension are above it
        slope = 0.3 * float(data.change[-1]) * rate ** (2.0 * (ends - ends[-1]))
        panels[3].plot(ends, slope, color="0.5", linewidth=1.2)
        words = rf"$(1 - \Lambda_R)^t$, $\Lambda_R = {1 - rate**2:.3f}$ "
        panels[3].text(ends[0], slope[0], words, color="0.35", ha="right", va="top")
    meaning = "lines predicted (dashed at the dimension of the points), points run"
    finish(figure, f"{title_of(data)}; {meaning}", panels[0], 4, frameon=False)
    return figure


def draw_training(
    run: Any,
    *,
    ground_energy: float | None = None,
    final_error: float | None = None,
    flow_steps: Any = None,
    flow: Mapping[str, Any] | None = None,
) -> "Figure":
    """Energy of a `TrainingRun`, or its dataset, on the left, test error on the right where there is one, by step.

    Parameters
    ----------
    ground_energy, final_error
        Lines at the least energy there is, and at what theory says of the test error there.
    flow_steps, flow
        The theory of gradient flow, values "energy" and "e_icl" at steps > 0.

    Raises
    ------
    ParameterError, ParameterTypeError
        The run diverged before its first recorded step: there is nothing to draw; something else.
    """
    data = as_dataset("run", run, "energy", "test_error", source="train")
    data = data.isel(step=data.step.values > 0)  # step 0 has no place on a logarithmic axis
    if not data.step.size:
        raise ParameterError(f"the run has no steps to draw: {data.attrs.get('reason', '')}")
    shown = [("energy", "energy", "$H$: energy on the prompts trained on", ground_energy, "ground state")]
    if not np.isnan(data.test_error).all():
        theory = "ground state, finite-size theory"
        shown.append(("test_error", "e_icl", "squared error on new prompts", final_error, theory))
    figure, panels = new_figure((10.0 if len(shown) == 2 else 5.4, 4.2), columns=len(shown))
    for panel, (name, flowing, label, end, meaning) in zip(panels, shown, strict=True):
        panel.plot(data.step.values, data[name].values, "o-", color=PALETTE[0], markersize=3.5, label="this run")
        if flow is not None and flow_steps is not None:
            theory = r"gradient flow, $D \to \infty$"
            panel.plot(flow_steps, flow[flowing], "--", color=PALETTE[1], label=theory)
        if end is not None and end > 0:
            panel.axhline(end, color="0.35", label=meaning, **_DASHED)
        panel.set(xscale="log", yscale="log", xlabel="step", ylabel=label)
        panel.legend(fontsize="small")
    return figure
