"""The solution of one data set: the mean weights, their variances, and how the iteration converged."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import new_figure, set_title, title_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from iclglass.numerics.instance.solution import InstanceSolution

__all__ = ["draw_solution"]


def draw_solution(solution: "InstanceSolution | xr.Dataset") -> "Figure":
    """Mean weights, variances of the active spins and, for an iteration, its history; SG Fig. 2 shows the first two.

    Raises
    ------
    ParameterError
        The solution diverged: there is nothing to draw.
    ParameterTypeError
        Something else.
    """
    from matplotlib.ticker import MaxNLocator

    data = as_dataset("solution", solution, "mean", "variance", "history", source="solve_instance")
    mean, history = data["mean"].values, data.history.values
    if not np.isfinite(mean).all():
        raise ParameterError(f"the solution has no finite means to draw: {data.attrs.get('reason', '')}")
    count = 3 if history.size > 1 else 2
    figure, panels = new_figure((4.6 * count, 4.2), columns=count, grid=False)
    largest = float(np.abs(mean).max()) or 1.0
    _matrix(panels[0], mean, "mean weights", cmap="RdBu_r", vmin=-largest, vmax=largest)
    variance = data.variance.values[:, :-1]
    shown = np.where(np.isfinite(variance), variance, np.nan)
    _matrix(panels[1], shown, "variances of the active weights", cmap="viridis")
    if count == 3:
        panels[2].semilogy(np.arange(1, history.size + 1), history, color="black")
        panels[2].set(xlabel="step", ylabel="residual or change of a step, relative")
        panels[2].set_title(f"method {data.attrs['method']}", fontsize="medium")
        panels[2].grid(alpha=0.3)
        panels[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    set_title(figure, f"$D = {mean.shape[1] - 1}$, {title_of(data)}")
    return figure


def _matrix(panel: "Axes", values: Any, title: str, **colours: Any) -> None:
    """A matrix with its colour bar; row D+1 multiplies the mean squared label of the context."""
    from matplotlib.ticker import MaxNLocator

    rows, columns = values.shape
    image = panel.imshow(values, extent=(0.5, columns + 0.5, rows + 0.5, 0.5), interpolation="nearest", **colours)
    panel.figure.colorbar(image, ax=panel, shrink=0.8)
    panel.set(xlabel="column: component of the query", ylabel="row: component of the context")
    panel.set_title(title, fontsize="medium")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
