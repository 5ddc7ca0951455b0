r"""draw_learning_curve(...): errors of gradient flow over time, for several task diversities or ridges.

Solid lines are the flow, dashed lines the saddle point it tends to, filled circles the best stopping times. The palette
is that of Okabe and Ito. Source: this project, notes/learning_curves.md.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.learning_curve import flow_parameters, learning_curve
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import Solution
from iclglass.numerics.stopping_time import best_stopping_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_learning_curve"]

Array = NDArray[np.float64]

_SYMBOLS = {
    "task_diversity": r"\tau",
    "context_length": r"\alpha",
    "label_noise": r"\rho",
    "ridge": r"\lambda",
    "initial_overlap": "q_0",
    "test_context_length": r"\alpha_*",
}
# Ordinates that span more than this factor are logarithmic, down to this fraction of their largest.
_SPAN, _DEPTH = 3.0, 1e-4
_DEFAULT_TIMES = np.geomspace(1e-2, 1e3, 400)


def draw_learning_curve(
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    initial_overlap: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> "Figure":
    """Error on a new task and training error over time, one colour a value of the one parameter that is a list.

    Args:
        task_diversity, context_length, label_noise, ridge, initial_overlap, test_context_length: as in
            `numerics.learning_curve.learning_curve`; at most one of them a list, of 1 to 7 values.
        time: times on the logarithmic axis, > 0, finite and rising; default 400 from 0.01 to 1000.

    Returns:
        A figure with two panels, to be saved by `numerics.plotting.save_figure`.

    Raises:
        ParameterError, ParameterTypeError: as `learning_curve`; more than one list, too many values, or times that
            do not fit a logarithmic axis.

    Examples:
        >>> figure = draw_learning_curve(task_diversity=[0.5, 2], context_length=2, label_noise=0.1, ridge=0)
        >>> [panel.get_xscale() for panel in figure.axes]
        ['log', 'log']
    """
    from matplotlib.figure import Figure

    given: dict[str, ArrayLike] = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "label_noise": label_noise,
        "ridge": ridge,
        "initial_overlap": initial_overlap,
        "test_context_length": context_length if test_context_length is None else test_context_length,
    }
    theory: dict[str, ArrayLike | None] = {name: value for name, value in given.items() if name != "initial_overlap"}
    times = _times(time)
    # Validates everything before the lists are counted, so that a bad value is named as such.
    broadcast = flow_parameters(theory, {"time": 0.0, "initial_overlap": initial_overlap})
    lists = [name for name, value in given.items() if np.ndim(value) > 0]
    if test_context_length is None and "context_length" in lists:
        lists.remove("test_context_length")
    if len(lists) > 1 or broadcast["time"].ndim > 1:
        raise ParameterError(f"one parameter at most may be a list of values, not {', '.join(lists)}")
    count = broadcast["time"].size
    if not 1 <= count <= len(PALETTE):
        raise ParameterError(f"{count} curves cannot be told apart: give 1 to {len(PALETTE)} values")

    points = {name: broadcast[name].reshape(-1) for name in given}
    curves = learning_curve(time=times[:, None], **points)
    limits = solve(
        task_diversity=points["task_diversity"],
        context_length=points["context_length"],
        label_noise=points["label_noise"],
        ridge=points["ridge"],
        test_context_length=points["test_context_length"],
    )
    best = best_stopping_time(**points)
    at_best = learning_curve(time=np.where(np.isfinite(best.time), best.time, 0.0), **points)

    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number in range(count):
        label = f"${_SYMBOLS[lists[0]]} = {points[lists[0]][number]:g}$" if lists else None
        colour = PALETTE[number]
        for panel, values in ((left, curves.e_icl), (right, curves.e_train)):
            panel.plot(times, values[:, number], color=colour, linewidth=1.8, label=label)
        if times[0] <= best.time[number] <= times[-1]:
            for panel, value in ((left, best.e_icl[number]), (right, at_best.e_train[number])):
                panel.plot(best.time[number], value, "o", color=colour, markersize=7, markeredgecolor="white", zorder=4)
    # Without ridge, flat directions keep their initial weights.
    reached = (points["ridge"] > 0) | (points["initial_overlap"] == 0) | (points["task_diversity"] > 1)
    _draw_limits(left, right, limits, reached)
    _scale(left, curves.e_icl)
    _scale(right, curves.e_train)
    for panel, title in (
        (left, r"error on a new task  $e_{\mathrm{ICL}}(t)$"),
        (right, r"training error  $e_{\mathrm{train}}(t)$"),
    ):
        panel.set_xscale("log")
        panel.set_xlim(times[0], times[-1])
        panel.set_xlabel(r"training time $t$ (gradient flow, units of $D$)")
        panel.set_ylabel(title)
        panel.grid(alpha=0.25, which="major")
    _legend(figure, left, times, best.time)
    figure.suptitle(_title(points, lists, separate_test=test_context_length is not None), fontsize="medium")
    return figure


def _times(time: ArrayLike | None) -> Array:
    if time is None:
        return _DEFAULT_TIMES
    checked = flow_parameters({"task_diversity": 1.0, "context_length": 1.0}, {"time": time})["time"]
    if checked.ndim != 1 or checked.size < 2 or not np.all(np.isfinite(checked) & (checked > 0)):
        raise ParameterError("time must be a list of at least two finite times > 0: the axis is logarithmic")
    if not np.all(np.diff(checked) > 0):
        raise ParameterError("time must rise from each value to the next: sort it")
    return checked


def _draw_limits(left: "Axes", right: "Axes", limits: Solution, reached: NDArray[np.bool_]) -> None:
    """Dashed lines at the saddle point, none where the flow does not end there."""
    for number in range(reached.size):
        if not reached[number] or limits.status[number] != Status.CONVERGED:
            continue
        for panel, value in ((left, limits.e_icl[number]), (right, limits.e_train[number])):
            # A vanishing training error has no place on a logarithmic axis.
            if value > 0:
                panel.axhline(value, color=PALETTE[number], linestyle=(0, (5, 3)), linewidth=1.0, alpha=0.8)


def _scale(panel: "Axes", values: Array) -> None:
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


def _legend(figure: "Figure", panel: "Axes", times: Array, best: Array) -> None:
    from matplotlib.lines import Line2D

    handles = [line for line in panel.get_lines() if not str(line.get_label()).startswith("_")]
    handles += [Line2D([], [], color="0.35", linestyle=(0, (5, 3)), linewidth=1.0, label=r"$t\to\infty$: saddle point")]
    if np.any((best >= times[0]) & (best <= times[-1])):
        handles.append(
            Line2D([], [], color="0.35", marker="o", linestyle="", markersize=7, label="best stopping time $t^*$")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=2.2)


def _title(points: dict[str, Array], lists: list[str], *, separate_test: bool) -> str:
    shown = [name for name in points if name not in lists and (name != "test_context_length" or separate_test)]
    return ", ".join(f"${_SYMBOLS[name]} = {points[name][0]:.4g}$" for name in shown)
