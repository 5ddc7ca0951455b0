"""Pictures of simulated sweeps: simulation beside theory, and their difference in standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.errors import ParameterError
from numerics.parameters import closest
from numerics.plotting import PALETTE, axis_label, draw_map, draw_sweep, fixed_parameters, quantity_label, set_scale
from validation.sweeping.evaluation import quantities_of
from validation.sweeping.grid import ROAD_NAMES
from validation.sweeping.results import z_scores

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["draw_simulated", "refuse_undrawable"]


def refuse_undrawable(road: str, observable: str, given: Mapping[str, Any]) -> None:
    """Refuse before any work a picture that could not be drawn: ParameterError."""
    if road in ROAD_NAMES and observable not in quantities_of(road):
        known = quantities_of(road)
        raise ParameterError(f"road {road!r} gives no {observable!r} to draw{closest(observable, known)}")
    axes = [name for name, value in given.items() if isinstance(value, np.ndarray) and value.ndim == 1]
    if len(axes) not in (1, 2):
        raise ParameterError(f"a picture shows one or two axes, not {len(axes)}: fix the others, or leave out --plot")
    for name in axes if len(axes) == 2 else ():
        if len(np.unique(given[name])) < 2:
            raise ParameterError(f"the axis {name} of a map needs two values: give {name} as one number for a curve")


def draw_simulated(dataset: xr.Dataset, *, observable: str = "e_icl") -> Figure:
    """One quantity with its standard errors and the theory: over one axis a curve; over two axes three maps, the
    simulation, the theory, and their difference in standard errors.

    Raises ParameterError: a quantity that is not there, or not one or two axes.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    if f"{observable}_standard_error" not in dataset:
        return draw_sweep(dataset, observable=observable)
    axes = [str(name) for name in dataset["status"].dims]
    if len(axes) not in (1, 2):
        raise ParameterError(f"a picture shows one or two axes, not {len(axes)}: fix the others to one value")
    title = fixed_parameters(dataset, axes)
    theory = f"{observable}_theory" if f"{observable}_theory" in dataset else None
    if len(axes) == 1:
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        panel = figure.add_subplot()
        x = dataset[axes[0]].values
        mean, error = dataset[observable].values, dataset[f"{observable}_standard_error"].values
        label = f"simulation, {int(dataset['seed_count'].max())} data sets a point"
        panel.errorbar(x, mean, np.nan_to_num(error), fmt="o", markersize=4, color=PALETTE[1], label=label)
        if theory is not None:
            panel.plot(x, dataset[theory].values, color=PALETTE[0], label="theory at the same sizes")
        set_scale(panel.set_xscale, x)
        set_scale(panel.set_yscale, mean, steep=True)
        panel.set_xlabel(axis_label(axes[0]))
        panel.set_ylabel(quantity_label(observable))
        panel.set_title(title, fontsize="medium")
        panel.grid(alpha=0.3)
        panel.legend()
        return figure
    maps = 1 if theory is None else 3
    figure = Figure(figsize=(5.4 * maps, 4.6), layout="constrained")
    panels = figure.subplots(1, maps, squeeze=False)[0]
    ends = {"x": axes[0], "y": axes[1]}
    draw_map(panels[0], dataset[observable], label=quantity_label(observable), **ends)
    panels[0].set_title("simulation", fontsize="medium")
    if theory is not None:
        draw_map(panels[1], dataset[theory], label=quantity_label(observable), **ends)
        panels[1].set_title("theory at the same sizes", fontsize="medium")
        z = dataset[observable].copy(data=z_scores(dataset, observable))
        reach = max(4.0, float(np.nanmax(np.abs(z.values), initial=0.0)))
        draw_map(
            panels[2], z, label="deviation in standard errors, $z$", norm=Normalize(-reach, reach), cmap="PuOr", **ends
        )
        panels[2].set_title("simulation - theory", fontsize="medium")
    figure.suptitle(title, fontsize="medium")
    return figure
