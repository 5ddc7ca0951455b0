"""Pictures of simulated sweeps: simulation beside theory, and their difference in standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import closest
from iclglass.numerics.plotting import (
    PALETTE,
    absence,
    colour_norm,
    draw_abscissa,
    draw_map,
    draw_sweep,
    fixed_parameters,
    quantity_label,
    write_absence,
)
from iclglass.numerics.plotting_axes import set_scale
from iclglass.validation.sweeping.evaluation import quantities_of
from iclglass.validation.sweeping.grid import ROAD_NAMES
from iclglass.validation.sweeping.results import z_scores

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
    simulation and the theory on one scale of colours, and their difference in standard errors.

    Raises ParameterError: a quantity that is not there, or not one or two axes.
    """
    if f"{observable}_standard_error" not in dataset:
        return draw_sweep(dataset, observable=observable)
    axes = [str(name) for name in dataset["status"].dims]
    if len(axes) not in (1, 2):
        raise ParameterError(f"a picture shows one or two axes, not {len(axes)}: fix the others to one value")
    return _curve(dataset, observable, axes[0]) if len(axes) == 1 else _maps(dataset, observable, axes)


def _curve(dataset: xr.Dataset, observable: str, axis: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    panel = figure.add_subplot()
    x, mean = dataset[axis].values, dataset[observable].values
    samples, missing = _samples(dataset), absence(dataset, observable)
    counted = "one data set a point, no error bars" if samples == 1 else f"{samples} data sets a point"
    label = f"simulation: {missing}" if missing else f"simulation, {counted}"
    error = None if samples == 1 else np.nan_to_num(dataset[f"{observable}_standard_error"].values)
    panel.errorbar(x, mean, error, fmt="o", markersize=4, color=PALETTE[1], label=label)
    theory = f"{observable}_theory"
    beside = theory in dataset and not absence(dataset, theory)
    if beside:
        panel.plot(x, dataset[theory].values, color=PALETTE[0], label="theory at the same sizes")
    draw_abscissa(panel, axis, x)
    set_scale(panel, "y", mean, steep=True)
    panel.set_ylabel(quantity_label(observable))
    panel.set_title(fixed_parameters(dataset, [axis]), fontsize="medium")
    panel.grid(alpha=0.3)
    if missing and not beside:
        write_absence(panel, missing)
    else:
        figure.legend(loc="outside lower center", ncols=1 if missing else 2)  # outside it hides no point
    return figure


def _maps(dataset: xr.Dataset, observable: str, axes: list[str]) -> Figure:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    shown = {"simulation": observable, "theory at the same sizes": f"{observable}_theory"}
    shown = {title: name for title, name in shown.items() if name in dataset}
    maps = 3 if len(shown) == 2 else 1
    figure = Figure(figsize=(5.4 * maps, 4.6), layout="constrained")
    panels = figure.subplots(1, maps, squeeze=False)[0]
    norm = colour_norm(*(dataset[name].values for name in shown.values()))
    for panel, (title, name) in zip(panels, shown.items(), strict=False):
        draw_map(panel, dataset[name], x=axes[0], y=axes[1], label=quantity_label(observable), norm=norm)
        write_absence(panel, absence(dataset, name))
        panel.set_title(title, fontsize="medium")
    if maps == 3:
        z = z_scores(dataset, observable)
        reach = max(4.0, float(np.max(np.abs(z[np.isfinite(z)]), initial=0.0)))
        draw_map(
            panels[2],
            dataset[observable].copy(data=np.clip(z, -reach, reach)),  # infinite without scatter: the end of the scale
            x=axes[0],
            y=axes[1],
            label="deviation, $z$ (normal deviate of Student's $t$)",
            norm=None if np.isnan(z).all() else Normalize(-reach, reach),
            cmap="PuOr",
        )
        if np.isnan(z).all():
            single = _samples(dataset) == 1
            write_absence(panels[2], "one data set a point: no standard errors" if single else "nothing to compare")
        panels[2].set_title("simulation - theory", fontsize="medium")
    figure.suptitle(fixed_parameters(dataset, axes), fontsize="medium")
    return figure


def _samples(dataset: xr.Dataset) -> int:
    return int(dataset["seed_count"].max())
