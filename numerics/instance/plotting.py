"""Picture of one solved data set: the mean weights, their variances, and how the iteration converged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.solution import InstanceSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_solution"]


def draw_solution(solution: InstanceSolution) -> Figure:
    """Mean weights, variances of the active spins and, for an iteration, its history; SG Fig. 2 shows the first two.

    Raises ParameterError for a solution that diverged: there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not np.isfinite(solution.mean).all():
        raise ParameterError(f"the solution has no finite means to draw: {solution.reason}")
    panels = 3 if solution.history.size > 1 else 2
    figure = Figure(figsize=(4.6 * panels, 4.2), layout="constrained")
    axes = figure.subplots(1, panels)
    largest = float(np.abs(solution.mean).max()) or 1.0
    _matrix(axes[0], solution.mean, "mean weights", cmap="RdBu_r", vmin=-largest, vmax=largest)
    variance = solution.variance[:, :-1]
    shown = np.where(np.isfinite(variance), variance, np.nan)
    _matrix(axes[1], shown, "variances of the active weights", cmap="viridis")
    if panels == 3:
        axes[2].semilogy(np.arange(1, solution.history.size + 1), solution.history, color="black")
        axes[2].set_xlabel("step")
        axes[2].set_ylabel("residual or change of a step, relative")
        axes[2].set_title(f"method {solution.method}", fontsize="medium")
        axes[2].grid(alpha=0.3)
    for panel in axes:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in axes[:2]:
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _matrix(
    axes: Axes,
    values: NDArray[np.float64],
    title: str,
    *,
    cmap: str,
    vmin: float | None = None,
    vmax: float | None = None,
) -> None:
    """A matrix with its colour bar; row D+1 multiplies the mean squared label of the context."""
    rows, columns = values.shape
    image = axes.imshow(
        values, cmap=cmap, vmin=vmin, vmax=vmax, extent=(0.5, columns + 0.5, rows + 0.5, 0.5), interpolation="nearest"
    )
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xlabel("column: component of the query")
    axes.set_ylabel("row: component of the context")
    axes.set_title(title, fontsize="medium")
