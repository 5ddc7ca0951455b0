"""Cross-checks: simulated means against 1/D, their extrapolation, the theory at 1/D = 0."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, axis_label, finish, new_figure, title_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_deviations", "draw_extrapolation", "draw_extrapolations"]

_NEEDED = ("theory", "theory_at_size", "mean", "standard_error", "extrapolated", "extrapolated_error", "coefficient")
_SHOWN = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "contrast")


def draw_extrapolation(agreement: Any) -> "Figure":
    """One panel for each quantity of an `Agreement`, or its dataset, but energies. All are dimensionless.

    Points are simulated means with standard errors, moved by theory(tau, alpha) - theory(P/D^2, N/D) where P
    and N had to be rounded (plus the finite-size theory's corrections, where they were taken out), so that they belong
    to the curve: theory + the fitted gap g + a/D (+ b/D^2), or its other powers.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    data = as_dataset("agreement", agreement, *_NEEDED, source="validate")
    rows = [data.sel(quantity=name) for name in data["quantity"].values.tolist() if name in _SHOWN]
    figure, panels = _grid(rows, 3, (3.5, 2.9))
    for panel, row in zip(panels, rows, strict=True):
        judged = f"$z = {float(row.z):+.1f}$ of ${row.limit.item()}$"
        panel.set_title(f"{axis_label(row['quantity'].item())}\n{judged}", fontsize="small")
    title = (
        f"{title_of(data)}\ntheory and extrapolation: {data.attrs['verdict']} "
        f"(false-alarm rate at most {data.attrs['false_alarm']:g}, {data.attrs['samples']} data sets a point)\n"
        "$z$: deviation in standard errors, of its limit (+ an allowance for the first missing term of the fit)"
    )
    finish(figure, title, panels[0], 4, frameon=False)
    return figure


def draw_extrapolations(agreements: Sequence[Any], *, quantity: str = "e_icl") -> "Figure":
    """The same of one quantity at several points; with the finite-size theory where a dataset has it as ``finite``.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    found = [as_dataset("agreements", one, *_NEEDED, source="validate") for one in agreements]
    figure, panels = _grid([data.sel(quantity=quantity) for data in found], 4, (3.1, 2.3))
    for panel, data in zip(panels, found, strict=True):
        panel.set_title(title_of(data), fontsize=7)
        panel.tick_params(labelsize=7)
    finish(figure, axis_label(quantity), panels[0], 5, frameon=False)
    return figure


def draw_deviations(z: Any) -> "Figure":
    """The histogram of normal deviates beside the standard normal density."""
    figure, (panel,) = new_figure((7, 3.6))
    edge = max(5.0, float(np.ceil(np.max(np.abs(z)))))
    bins = np.linspace(-edge, edge, int(4 * edge) + 1).tolist()
    panel.hist(z, bins=bins, density=True, color=PALETTE[0], alpha=0.6, label=f"{len(z)} values")
    grid = np.linspace(-edge, edge, 400)
    panel.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="black", label="standard normal")
    panel.set(xlabel="z: (simulation - finite-size theory)/standard error", ylabel="density")
    panel.legend()
    return figure


def _grid(rows: "Sequence[xr.Dataset]", most: int, size: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """A panel of this size for each row, at most so many beside each other, the lowest with the abscissa."""
    columns = min(most, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure, panels = new_figure((size[0] * columns, size[1] * lines + 0.9), lines, columns)
    for panel, row in zip(panels, rows, strict=False):
        _draw_panel(panel, row)
    for panel in panels[len(rows) :]:
        panel.remove()
    for panel in panels[max(0, len(rows) - columns) : len(rows)]:
        panel.set_xlabel(r"$1/D$  ($D$: token dimension)")
    return figure, panels[: len(rows)]


def _draw_panel(panel: "Axes", row: "xr.Dataset") -> None:
    """Simulation, fit and theory of one quantity."""
    from matplotlib.ticker import MaxNLocator

    theory, inverse, coefficients = float(row.theory), 1 / row.dimension.values, row.coefficient.values
    grid = np.linspace(0, inverse.max(), 100)
    powers = row.power.values
    curve = theory + grid[:, None] ** powers @ coefficients
    terms = [f"{name}/D" + ("" if power == 1 else f"^{power}") for name, power in zip("ab", powers[1:], strict=False)]
    fit = f"theory + fit ${' + '.join(['g', *terms])}$"
    panel.axhline(theory, color=PALETTE[1], linewidth=0.8, linestyle=":", zorder=0)
    panel.plot(grid, curve, color=PALETTE[5], linewidth=1.5, label=fit, zorder=1)
    moved = theory - row.theory_at_size.values
    if "finite" in row:
        panel.plot(inverse, row.finite.values + moved, "--", color=PALETTE[2], label="finite-size theory")
    look: dict[str, Any] = {"color": PALETTE[0], "capsize": 2.5}
    bars = {"fmt": "o", "markersize": 4.5, "label": "simulation (mean, standard error)", "zorder": 3, **look}
    panel.errorbar(inverse, row["mean"].values + moved, row.standard_error.values, **bars)
    # an open square around the diamond: both are seen where they coincide
    square = {"fmt": "s", "markerfacecolor": "none", "markersize": 9, "zorder": 4, **look}
    end, error = float(row.extrapolated), float(row.extrapolated_error)
    panel.errorbar([0], [end], [error], label=r"extrapolated to $D \to \infty$", **square)
    panel.plot([0], [theory], "D", color=PALETTE[1], markersize=4.5, label="theory", zorder=5)
    panel.set_xlim(-0.05 * inverse.max(), 1.06 * inverse.max())
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.xaxis.set_major_locator(MaxNLocator(5))
    places = np.sort(np.append(inverse, 0.0))
    if np.diff(places).min() > 0.1 * inverse.max():  # room to name every dimension
        panel.set_xticks(places, ["0", *(f"1/{round(1 / place)}" for place in places[1:])])
