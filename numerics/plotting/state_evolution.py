"""Message passing step by step: predicted iterates as lines, those of data sets as points.

The black line is D -> infinity; each dimension of the data sets has a colour, its dashed line the recursion at that
dimension, its points the median over its data sets with bars from quartile to quartile. Not the mean: in low dimension
a data set now and then diverges without damping.
"""

from typing import TYPE_CHECKING

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, axis_label, legend_below, new_figure, set_title, title_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_state_evolution"]

_PANELS = ("m", "q", "e_icl", "change")


def draw_state_evolution(dataset: "xr.Dataset") -> "Figure":
    """Overlaps, error and size of the steps of undamped message passing: prediction and iterates.

    Parameters
    ----------
    dataset
        Of `numerics.iterates.iterates`, with data sets of at most 6 dimensions.

    Raises
    ------
    ParameterError
        Too many dimensions.
    ParameterTypeError
        Something else.

    Examples
    --------
    >>> from iclglass.numerics.iterates import iterates
    >>> figure = draw_state_evolution(iterates(task_diversity=1.5, context_length=2.0, label_noise=0.1))
    >>> [len(panel.get_lines()) for panel in figure.axes]
    [1, 1, 1, 2]
    """
    from matplotlib.ticker import MaxNLocator

    data = as_dataset("dataset", dataset, *_PANELS, "rate", source="iterates")
    sizes = data.dimension.values.tolist()
    if len(sizes) >= len(PALETTE):  # the last colour is the black of the limit
        raise ParameterError(f"{len(sizes)} dimensions cannot be told apart: give at most {len(PALETTE) - 1}")
    figure, panels = new_figure((10.0, 7.2), rows=2, columns=2)
    for panel, name in zip(panels, _PANELS, strict=True):
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
    _draw_rate(panels[-1], data)
    legend_below(figure, panels[0], 4, frameon=False)
    meaning = "lines predicted (dashed at the dimension of the points), points run"
    set_title(figure, f"{title_of(data)}; {meaning}")
    return figure


def _draw_rate(panel: "Axes", data: "xr.Dataset") -> None:
    """The predicted rate as a slope beside the changes."""
    panel.set_yscale("log")
    rate, steps = float(data.rate), int(data.step[-1])
    if not np.isfinite(rate):
        return
    number = np.array([steps / 2, steps])
    # Below the prediction: data sets of finite dimension are above it.
    slope = 0.3 * float(data.change[-1]) * rate ** (2 * (number - steps))
    panel.plot(number, slope, color="0.5", linewidth=1.2)
    panel.annotate(
        rf"$(1 - \Lambda_R)^t$, $\Lambda_R = {1 - rate**2:.3f}$",
        (float(number[0]), float(slope[0])),
        xytext=(-4, -4),
        textcoords="offset points",
        color="0.35",
        horizontalalignment="right",
        verticalalignment="top",
    )
