"""Axes of pictures: where they are logarithmic, their ticks, and the edges of cells on them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cell_edges", "set_scale"]

_LARGEST_DRAWN = 1e250
_LOGARITHMS = (-700.0, 709.0)
"""Between them exp is a normal number."""
_FEW = 5.0
"""Ratio of the ends below which a logarithmic axis has even ticks."""


def cell_edges(values: Any) -> Any:
    """Edges of cells around the values, half-way on the scale on which they are drawn."""
    logarithmic = _geometric(values)
    centres = np.log(values) if logarithmic else values
    inner = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
    if logarithmic:  # the outer edge may lie beyond floating point
        return np.exp(np.clip(edges, *_LOGARITHMS))
    # No parameter is negative; a cell of the value 0 is still drawn whole.
    return np.maximum(edges, 0.0) if centres[0] > 0 else edges


def set_scale(panel: "Axes", end: str, values: Any, *, steep: bool = False) -> None:
    """Logarithmic when the values are spaced so, or, for ordinates, when they span more than a decade and a half; with
    plain numbers for ticks up to two decades.

    end: "x" or "y".

    Raises:
        ParameterError: numbers beyond what can be drawn, with margins and ticks.
    """
    from matplotlib.ticker import AutoLocator, LogLocator, NullFormatter

    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size and np.abs(finite).max() > _LARGEST_DRAWN:
        raise ParameterError(
            f"numbers up to {np.abs(finite).max():g} cannot be drawn, only up to {_LARGEST_DRAWN:g}: take a smaller "
            "range, or leave the picture out"
        )
    if finite.size < 3 or finite.min() <= 0:
        return
    least, most = finite.min(), finite.max()
    if not (_geometric(finite) or (steep and most > 30 * least)):
        return
    panel.set(**{f"{end}scale": "log"})
    if most <= 100 * least:
        axis = panel.xaxis if end == "x" else panel.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if most > _FEW * least else AutoLocator())
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _geometric(values: Any) -> bool:
    if len(values) < 3 or not np.all(values > 0):
        return False
    ratios = values[1:] / values[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=1e-6) and not np.isclose(ratios[0], 1))
