"""A cross-check: simulated means against 1/D, their extrapolation, the theory at 1/D = 0."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, axis_label, legend_below, new_figure, set_title, title_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_extrapolation"]

_SHOWN = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "contrast")


def draw_extrapolation(agreement: Any) -> "Figure":
    """One panel for each quantity that was compared, but energies. All quantities are dimensionless.

    Points are simulated means with standard errors, moved by theory(tau, alpha) - theory(P/D^2, N/D) where P
    and N had to be rounded, so that they belong to the curve: theory + the fitted gap g + a/D (+ b/D^2).

    Parameters
    ----------
    agreement
        An `Agreement` of `validate`, or its dataset.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    data = as_dataset("agreement", agreement, "theory", "extrapolated", "coefficient", source="validate")
    names = [name for name in data["quantity"].values.tolist() if name in _SHOWN]
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = new_figure((3.5 * columns, 2.9 * rows + 0.9), rows=rows, columns=columns, grid=False)
    for panel, name in zip(panels, names, strict=False):
        _draw_panel(panel, data.sel(quantity=name))
        panel.set_title(f"{axis_label(name)}\n{_judged(data.sel(quantity=name))}", fontsize="small")
    for panel in panels[len(names) :]:
        panel.remove()
    for panel in panels[max(0, len(names) - columns) : len(names)]:
        panel.set_xlabel(r"$1/D$  ($D$: token dimension)")
    legend_below(figure, panels[0], 4, frameon=False)
    given = data.attrs
    set_title(
        figure,
        f"{title_of(data)}\ntheory and extrapolation: {given['verdict']} "
        f"(false-alarm rate at most {given['false_alarm']:g}, {given['samples']} data sets a point)\n"
        "$z$: deviation in standard errors, of its limit (+ an allowance for the first missing term of the fit)",
    )
    return figure


def _judged(row: "xr.Dataset") -> str:
    """The deviation of a quantity and what was allowed."""
    return f"$z = {float(row.z):+.1f}$ of ${row.limit.item()}$"


def _draw_panel(panel: "Axes", row: "xr.Dataset") -> None:
    """One quantity."""
    from matplotlib.ticker import MaxNLocator

    theory = float(row.theory)
    inverse = 1 / row.dimension.values
    coefficients = row.coefficient.values
    grid = np.linspace(0, inverse.max(), 100)
    degree = r"$g + a/D$" if len(coefficients) == 2 else r"$g + a/D + b/D^2$"
    bars: dict[str, Any] = {"color": PALETTE[0], "capsize": 2.5}

    panel.axhline(theory, color=PALETTE[1], linewidth=0.8, linestyle=":", zorder=0)
    curve = theory + np.polynomial.polynomial.polyval(grid, coefficients)
    panel.plot(grid, curve, color=PALETTE[5], linewidth=1.5, label=f"theory + fit {degree}", zorder=1)
    points = row["mean"].values - row.theory_at_size.values + theory
    label = "simulation (mean, standard error)"
    panel.errorbar(inverse, points, row.standard_error.values, fmt="o", markersize=4.5, label=label, zorder=3, **bars)
    # an open square around the diamond: both are seen where they coincide
    bars |= {"markerfacecolor": "none", "markersize": 9, "zorder": 4}
    limit = [float(row.extrapolated)], [float(row.extrapolated_error)]
    panel.errorbar([0], *limit, fmt="s", label=r"extrapolated to $D \to \infty$", **bars)
    panel.plot([0], [theory], "D", color=PALETTE[1], markersize=4.5, label="theory", zorder=5)

    panel.set_xlim(-0.05 * inverse.max(), 1.06 * inverse.max())
    panel.spines[["top", "right"]].set_visible(False)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    places = np.sort(np.append(inverse, 0.0))
    if np.diff(places).min() > 0.1 * inverse.max():  # room to name every dimension
        panel.set_xticks(places, ["0", *(f"1/{round(1 / place)}" for place in places[1:])])
    else:
        panel.xaxis.set_major_locator(MaxNLocator(5))
