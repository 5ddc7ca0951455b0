r"""draw_state_evolution(...): predicted iterates of message passing as lines, those of given data sets as points.

The black line is D -> infinity; each dimension of the data sets has a colour, its dashed line the recursion at that
dimension, its points the median over its data sets with bars from quartile to quartile. Not the mean: in low dimension
a data set now and then diverges without damping. Source: this project, notes/state_evolution.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_choice, check_count
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.moments import FeatureMoments, feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import NORMS, count, to_unscaled
from iclglass.numerics.state_evolution import StateEvolution, state_evolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_state_evolution"]

Array = NDArray[np.float64]

_PANELS = {
    "m": r"magnetization  $m_t$",
    "q": r"overlap  $q_t$",
    "e_icl": r"error on a new task  $e_{\mathrm{ICL}}(t)$",
    "change": r"$|W_t - W_{t-1}|^2/D$",
}


def draw_state_evolution(
    *,
    task_diversity: float,
    context_length: float,
    label_noise: float = 0.0,
    ridge: float = 0.1,
    steps: int = 15,
    instances: Sequence[Instance] = (),
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> "Figure":
    """Overlaps, error and size of the steps of undamped message passing: prediction and iterates.

    Args:
        task_diversity, context_length, label_noise, ridge: one point, as in `numerics.state_evolution.state_evolution`.
        steps: number of steps, >= 1.
        instances: data sets drawn at that point, of at most 6 dimensions D, each with P = round(tau D^2) prompts. Their
            contexts of N = round(alpha D) tokens are taken on trust: an instance does not hold its tokens.
        norm: divisor of their attention sums, "N" or "N+1".
        last_feature, last_row: their layer, as in `numerics.saddle_point.solve`.

    Returns:
        A figure with four panels, to be saved by `numerics.plotting.save_figure`.

    Raises:
        ParameterError, ParameterTypeError: as `state_evolution`; more than one point, data sets of another size or of
            too many dimensions.

    Examples:
        >>> figure = draw_state_evolution(task_diversity=1.5, context_length=2.0, label_noise=0.1)
        >>> [len(panel.get_lines()) for panel in figure.axes]
        [1, 1, 1, 2]
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps = check_count("steps", steps, minimum=1)
    check_choice("norm", norm, NORMS)
    layer = LastRow(last_feature, last_row)

    def predict(size: int | None) -> StateEvolution:
        return state_evolution(
            task_diversity=task_diversity,
            context_length=context_length,
            label_noise=label_noise,
            ridge=ridge,
            steps=steps,
            dimension=size,
            norm=norm,
            last_feature=UNIT_TOKENS.last_feature if size is None else last_feature,
            last_row=size is None or last_row,
        )

    limit = predict(None)
    if limit.rate.ndim:
        raise ParameterError("the picture shows one point: give one value of each parameter")
    groups = _by_dimension(instances, task_diversity, layer)

    figure = Figure(figsize=(10.0, 7.2), layout="constrained")
    panels = dict(zip(_PANELS, figure.subplots(2, 2).reshape(-1), strict=True))
    for name, panel in panels.items():
        first = int(name == "change")
        number = np.arange(first, steps + 1)
        panel.plot(
            number, getattr(limit, name)[first:], color="black", linewidth=1.8, label=r"$D \to \infty$", zorder=3
        )
        panel.set_ylabel(_PANELS[name])
        panel.set_xlabel("step $t$ of message passing")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.25)
    _draw_rate(panels["change"], limit, steps)
    for colour, (size, members) in zip(PALETTE, groups.items(), strict=False):
        path = predict(size)
        context = int(count("context_length", context_length, size))
        moments = feature_moments(dimension=size, context=context, label_noise=label_noise, norm=norm)
        moments = replace(moments, last_row=moments.last_row * layer.scale(size) ** 2)
        measured = [_iterates(data, to_unscaled(size, ridge=ridge)["ridge0"], steps, moments) for data in members]
        for name, panel in panels.items():
            first = int(name == "change")
            number = np.arange(first, steps + 1)
            panel.plot(number, getattr(path, name)[first:], color=colour, linestyle="--", linewidth=1.2)
            values = np.array([row[name] for row in measured])[:, first:]
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            label = f"$D = {size}$, {len(values)} data set{'s' if len(values) > 1 else ''}"
            bars = (middle - low, high - middle)
            panel.errorbar(number, middle, bars, color=colour, fmt="o", markersize=4, label=label, zorder=4)
    handles, labels = panels["m"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        rf"$\tau = {task_diversity:g}$, $\alpha = {context_length:g}$, $\rho = {label_noise:g}$, $\lambda = {ridge:g}$;"
        " lines predicted (dashed at the dimension of the points), points run",
        fontsize="medium",
    )
    return figure


def _by_dimension(instances: Sequence[Instance], task_diversity: float, layer: LastRow) -> dict[int, list[Instance]]:
    groups: dict[int, list[Instance]] = {}
    for data in instances:
        expected = int(count("task_diversity", task_diversity, data.dimension))
        if data.prompts != expected:
            raise ParameterError(
                f"a data set of dimension {data.dimension} has {data.prompts} prompts, task_diversity = "
                f"{task_diversity} means {expected}: draw it at the point of the picture"
            )
        if data.last_row != layer.last_row:
            raise ParameterError(
                f"a data set has contexts of {data.context.shape[1]} numbers for dimension {data.dimension}, "
                f"last_row = {layer.last_row} means {layer.rows(data.dimension)}: draw it for the layer of the picture"
            )
        groups.setdefault(data.dimension, []).append(data)
    if len(groups) >= len(PALETTE):  # the last colour is the black of the limit
        raise ParameterError(f"{len(groups)} dimensions cannot be told apart: give at most {len(PALETTE) - 1}")
    return dict(sorted(groups.items()))


def _iterates(data: Instance, ridge0: float, steps: int, moments: FeatureMoments) -> dict[str, Array]:
    """The quantities of the panels along the iteration of one data set, (steps + 1,) each."""
    size = data.dimension
    means = np.zeros((steps + 1, *data.features.weight_shape))

    def record(step: int, mean: Array, _: Array) -> None:
        means[step] = mean

    # A tolerance out of reach: all steps are wanted. beta only divides the variances.
    gamp(data, ridge0=ridge0, beta=1.0, damping=0.0, tolerance=1e-300, max_iterations=steps, callback=record)
    block, last = means[:, :size], np.sum(means[:, size:] ** 2, axis=(1, 2))
    m = np.trace(block, axis1=1, axis2=2) / size
    q = np.sum(block**2, axis=(1, 2)) / size
    return {
        "m": m,
        "q": q,
        "e_icl": moments.label - 2 * moments.signal * m + moments.block * q + moments.last_row * last,
        "change": np.sum(np.diff(block, axis=0, prepend=0) ** 2, axis=(1, 2)) / size,
    }


def _draw_rate(panel: "Axes", limit: StateEvolution, steps: int) -> None:
    """The predicted rate as a slope beside the changes."""
    panel.set_yscale("log")
    if not np.isfinite(limit.rate):
        return
    number = np.array([steps / 2, steps])
    # Below the prediction: data sets of finite dimension are above it.
    slope = 0.3 * limit.change[steps] * limit.rate ** (2 * (number - steps))
    panel.plot(number, slope, color="0.5", linewidth=1.2)
    panel.annotate(
        rf"$(1 - \Lambda_R)^t$, $\Lambda_R = {1 - limit.rate**2:.3f}$",
        (float(number[0]), float(slope[0])),
        xytext=(-4, -4),
        textcoords="offset points",
        color="0.35",
        horizontalalignment="right",
        verticalalignment="top",
    )
