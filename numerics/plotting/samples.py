"""Samples of one data set, and the overlap distribution as task diversity grows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, PARAMETER_SYMBOLS, legend_below, new_figure, set_title, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_overlaps", "draw_samples"]

_MOST_POINTS = 2000
"""Points of a trace that are drawn; more cannot be seen."""


def draw_samples(samples: Any, law: Any) -> "Figure":
    """Energy of every chain, its histogram with the exact law, and overlaps of pairs of chains if weights were kept.

    Parameters
    ----------
    samples
        `Samples` of `sample`, or their dataset.
    law
        A `GaussianLaw`, that of the Boltzmann measure, or its dataset.

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
    set_title(figure, title_of(data))
    return figure


def draw_overlaps(points: Sequence[Any]) -> "Figure":
    """P(q) of two replicas, and of a replica with itself, a panel for each point; lines are the finite-size theory.

    Parameters
    ----------
    points
        `ReplicaSamples` of `draw_replicas`, or their datasets.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    needed = ("overlap", "self_overlap", "q_theory", "q_self_theory")
    found = [as_dataset("points", point, *needed, source="draw_replicas") for point in points]
    figure, panels = new_figure((4.3 * len(found), 3.8), columns=len(found))
    names = [name for name in PARAMETER_SYMBOLS if name in found[0].coords]
    shared = [name for name in names if len({float(data[name]) for data in found}) == 1]
    for panel, data in zip(panels, found, strict=True):
        kinds = (("q", "two replicas", "overlap"), (r"q_{\mathrm{self}}", "one with itself", "self_overlap"))
        for colour, (symbol, label, name) in enumerate(kinds):
            _histogram(panel, data[name].values, colour, label, bins=60, alpha=0.55)
            theory = float(data.q_self_theory if colour else data.q_theory)
            label = f"${symbol}$, theory"
            panel.axvline(theory, color=PALETTE[colour], linestyle="--", linewidth=1.8, label=label)
        panel.set(xlabel="overlap")
        panel.set_title(f"{title_of(data, shared)}, {data.sizes['data_set']} data sets".lstrip(", "), fontsize="medium")
    panels[0].set_ylabel("density $P(q)$")
    set_title(figure, title_of(found[0], [name for name in names if name not in shared]))
    legend_below(figure, panels[0], 4, fontsize="small")
    return figure


def _histogram(panel: "Axes", values: Any, colour: int, label: str, *, bins: Any = "auto", alpha: float = 1.0) -> None:
    """The density of all values."""
    panel.hist(values.ravel(), bins=bins, density=True, color=PALETTE[colour], label=label, alpha=alpha)
