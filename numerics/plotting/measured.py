"""Measurements against the theory: mean against prediction, and the deviation of every row in its errors."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, axis_label, finish, new_figure
from iclglass.numerics.solution import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_comparison"]

_NEEDED = ("quantity", "mean", "standard_error", "theory", "z", "limit", "left_out")
_MARKERS = "osD^v<>P"
_SPREAD = 10.0
"""Ratio of the largest to the smallest number from which scales are logarithmic."""


def draw_comparison(comparison: Any) -> "Figure":
    """Two panels of a `Comparison`, or its dataset; rows that were left out are not drawn.

    Left the measured mean with its standard error against the theory; right z of every row, with its limit.

    Raises
    ------
    ParameterError, ParameterTypeError
        Something else.
    """
    from matplotlib.ticker import MaxNLocator

    data = as_dataset("comparison", comparison, *_NEEDED, source="compare")
    data = data.isel(row=np.flatnonzero(data["left_out"].values == ""))
    figure, (against, deviation) = new_figure((9.5, 4.3), 1, 2)
    for index, quantity in enumerate(dict.fromkeys(data["quantity"].values.tolist())):
        part = data.isel(row=np.flatnonzero(data["quantity"].values == quantity))
        colour = PALETTE[index % len(PALETTE)]
        look: dict[str, Any] = {
            "fmt": _MARKERS[index % len(_MARKERS)],
            "color": colour,
            "markersize": 5,
            "capsize": 2.5,
        }
        against.errorbar(part["theory"], part["mean"], part["standard_error"], label=_named(quantity), zorder=3, **look)
        deviation.errorbar(part["row"], part["z"], np.ones(part.sizes["row"]), zorder=3, **look)
    _scale(against, data["theory"].values, data["mean"].values)
    against.set(xlabel="theory", ylabel="measured (mean, standard error)")
    places, limit = data["row"].values, data["limit"].values
    for sign in (1, -1):
        deviation.hlines(sign * limit, places - 0.4, places + 0.4, color="black", linewidth=1, linestyle=":", zorder=1)
    against.plot([], [], color="black", linewidth=1, linestyle=":", label="limit of a row")
    deviation.axhline(0, color=PALETTE[5], linewidth=1, zorder=0)
    deviation.set(xlabel="row of the table", ylabel="$z$: (measured - theory)/error")
    deviation.xaxis.set_major_locator(MaxNLocator(integer=True))
    attributes = data.attrs
    allowed = f", {100 * attributes['allow']:.2g} % allowed for the theory" if attributes["allow"] else ""
    finish(
        figure,
        f"measurements and theory: {attributes['verdict']} ($\\chi^2$/dof "
        f"{attributes['chi_squared_per_dof']:.2f} of {attributes['compared']}, nothing fitted{allowed}; "
        f"false-alarm rate at most {attributes['false_alarm']:g})",
        against,
        4,
        frameon=False,
    )
    return figure


def _named(quantity: str) -> str:
    """A quantity by symbol and meaning, a difference by symbols."""
    if quantity in QUANTITIES:
        return axis_label(quantity)
    return " - ".join(axis_label(part).split(":")[0] for part in quantity.split(" - "))


def _scale(panel: "Axes", theory: Any, mean: Any) -> None:
    """The diagonal, and logarithmic scales where numbers need them."""
    values = np.concatenate([theory, mean])
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _SPREAD * low:
        panel.set(xscale="log", yscale="log")
    panel.plot([low, high], [low, high], color="black", linewidth=0.8, label="equal", zorder=1)
