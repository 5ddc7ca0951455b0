"""One data set: its solution, draws of its Boltzmann measure; and overlaps of replicas over many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, PARAMETER_SYMBOLS, finish, new_figure, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_overlaps", "draw_samples", "draw_solution"]

_MOST_POINTS = 2000
"""Points of a trace that are drawn; more cannot be seen."""


def draw_solution(solution: Any) -> "Figure":
    """Mean weights, variances of the active spins and, for an iteration, its history; SG Fig. 2 shows the first two.

    Raises
    ------
    ParameterError, ParameterTypeError
        The `InstanceSolution`, or its dataset, diverged: there is nothing to draw; something else.
    """
    data = as_dataset("solution", solution, "mean", "variance", "history", source="solve_instance")
    mean, variance, history = (data[name].values for name in ("mean", "variance", "history"))
    if not np.isfinite(mean).all():
        raise ParameterError(f"the solution has no finite means to draw: {data.attrs.get('reason', '')}")
    count = 3 if history.size > 1 else 2
    figure, panels = new_figure((4.6 * count, 4.2), columns=count)
    largest = float(np.abs(mean).max()) or 1.0
    _matrix(panels[0], mean, "mean weights", cmap="RdBu_r", vmin=-largest, vmax=largest)
    active = variance[:, :-1]
    _matrix(panels[1], np.where(np.isfinite(active), active, np.nan), "variances of the active weights", cmap="viridis")
    if count == 3:
        panels[2].semilogy(np.arange(1, history.size + 1), history, color="black")
        panels[2].set(xlabel="step", ylabel="residual or change of a step, relative")
        panels[2].set_title(f"method {data.attrs['method']}", fontsize="medium")
    finish(figure, title_of(data))
    return figure


def _matrix(panel: "Axes", values: Any, title: str, **colours: Any) -> None:
    """A matrix with its colour bar; row D+1 multiplies the mean squared label of the context."""
    from matplotlib.ticker import MaxNLocator

    rows, columns = values.shape
    image = panel.imshow(values, extent=(0.5, columns + 0.5, rows + 0.5, 0.5), interpolation="nearest", **colours)
    panel.figure.colorbar(image, ax=panel, shrink=0.8)
    panel.grid(visible=False)
    panel.set(xlabel="column: component of the query", ylabel="row: component of the context")
    panel.set_title(title, fontsize="medium")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))


def draw_samples(samples: Any, law: Any) -> "Figure":
    """Energy of every chain, its histogram with the exact law, and overlaps of pairs of chains if weights were kept.

    Parameters
    ----------
    samples, law
        `Samples`, and the `GaussianLaw` of the Boltzmann measure; or their datasets.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    data = as_dataset("samples", samples, "energy", source="sample")
    exact = as_dataset("law", law, "mean_energy", source="boltzmann_law")
    energies = data.energy.values
    chains, draws = energies.shape
    count = 3 if "overlap" in data else 2
    figure, panels = new_figure((13 if count == 3 else 9, 4), columns=count)
    stride = max(1, draws // _MOST_POINTS)
    for chain, values in enumerate(energies):
        steps, colour = np.arange(0, draws, stride), PALETTE[chain % len(PALETTE)]
        panels[0].plot(steps, values[::stride], color=colour, linewidth=0.6, alpha=0.8)
    panels[0].axhline(float(exact.mean_energy), color="black", linewidth=1.5, label="exact mean")
    panels[0].set(xlabel="draw", ylabel="$H$: energy")
    panels[0].set_title(f"{data.attrs['method']}, {chains} chains", fontsize="medium")
    _histogram(panels[1], energies, 5, "draws")
    if "energy_density" in exact:
        panels[1].plot(exact.energy.values, exact.energy_density.values, color="black", label="exact law")
    panels[1].set(xlabel="$H$: energy", ylabel="density")
    if count == 3:
        _histogram(panels[2], data.overlap.values, 0, "two replicas", alpha=0.7)
        _histogram(panels[2], data.q_self.values, 1, "one with itself", alpha=0.7)
        panels[2].set(xlabel="$q$: overlap", ylabel="density $P(q)$, this data set")
    for panel in panels:
        panel.legend()
    finish(figure, title_of(data))
    return figure


def draw_overlaps(points: Sequence[Any]) -> "Figure":
    """P(q) of two replicas, and of a replica with itself, a panel for each point; lines are the finite-size theory.

    Raises
    ------
    ParameterError, ParameterTypeError
        The points are other than `ReplicaSamples` or their datasets.
    """
    needed = ("overlap", "self_overlap", "q_theory", "q_self_theory")
    found = [as_dataset("points", point, *needed, source="draw_replicas") for point in points]
    figure, panels = new_figure((4.3 * len(found), 3.8), columns=len(found))
    names = [name for name in PARAMETER_SYMBOLS if name in found[0].coords]
    shared = [name for name in names if len({float(data[name]) for data in found}) == 1]
    for panel, data in zip(panels, found, strict=True):
        kinds = (("q", "overlap", "two replicas"), (r"q_{\mathrm{self}}", "self_overlap", "one with itself"))
        for colour, (symbol, name, label) in enumerate(kinds):
            _histogram(panel, data[name].values, colour, label, bins=60, alpha=0.55)
            theory, said = float(data[needed[2 + colour]]), f"${symbol}$, theory"
            panel.axvline(theory, color=PALETTE[colour], linestyle="--", linewidth=1.8, label=said)
        panel.set(xlabel="overlap")
        panel.set_title(f"{title_of(data, shared)}, {data.sizes['data_set']} data sets".lstrip(", "), fontsize="medium")
    panels[0].set_ylabel("density $P(q)$")
    finish(figure, title_of(found[0], [name for name in names if name not in shared]), panels[0], 4, fontsize="small")
    return figure


def _histogram(panel: "Axes", values: Any, colour: int, label: str, *, bins: Any = "auto", alpha: float = 1.0) -> None:
    """The density of all values."""
    panel.hist(values.ravel(), bins=bins, density=True, color=PALETTE[colour], label=label, alpha=alpha)
