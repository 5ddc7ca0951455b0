"""Axes of pictures: where they are logarithmic, their ticks, cells of maps on them, and what an empty one says."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.style import axis_label

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = [
    "STEEP",
    "colour_norm",
    "draw_abscissa",
    "draw_map",
    "hatch_cells",
    "hatch_ranges",
    "set_scale",
    "write_absence",
]

_LARGEST_DRAWN = 1e250
_LOGARITHMS = (-700.0, 709.0)
"""Between them exp is a normal number."""
STEEP = 30.0
"""Factor between values of a sweep from which they have a logarithmic scale, of ordinates or colours."""
_FEW = 5.0
"""Ratio of the ends below which a logarithmic axis has even ticks."""


def _cell_edges(values: Any) -> Any:
    """Edges of cells around the values, half-way on the scale on which they are drawn."""
    logarithmic = _geometric(values)
    centres = np.log(values) if logarithmic else values
    inner = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
    if logarithmic:  # the outer edge may lie beyond floating point
        return np.exp(np.clip(edges, *_LOGARITHMS))
    # No parameter is negative; a cell of the value 0 is still drawn whole.
    return np.maximum(edges, 0.0) if centres[0] > 0 else edges


def set_scale(panel: "Axes", end: str, values: Any, *, steep: float = np.inf) -> None:
    """Logarithmic where the values on the axis "x" or "y" are spaced so, or span more than a factor ``steep``; with
    plain numbers for ticks up to two decades.

    Raises
    ------
    ParameterError
        Numbers beyond what can be drawn, with margins and ticks.
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
    if not (_geometric(finite) or most / least > steep):
        return
    panel.set(**{f"{end}scale": "log"})
    if most <= 100 * least:
        axis = panel.xaxis if end == "x" else panel.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if most > _FEW * least else AutoLocator())
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def draw_abscissa(panel: "Axes", name: str, places: Any) -> None:
    """A parameter's axis: its scale, its label, and its whole range, also where the curves have no number."""
    set_scale(panel, "x", places)
    finite = places[np.isfinite(places)]
    panel.update_datalim(np.column_stack([finite, finite]), updatey=False)
    panel.autoscale_view()
    panel.set_xlabel(axis_label(name))


def write_absence(panel: "Axes", sentence: str) -> None:
    """A sentence in the middle of a panel; an ordinate on which nothing is drawn loses its numbers."""
    if not sentence:
        return
    if not np.isfinite(panel.dataLim.intervaly).all():
        panel.set_yticks([])
    text = "\n".join(fill(part, 40) for part in sentence.replace(": ", ":\n").split("\n"))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", bbox=box)


@np.errstate(over="ignore")  # margins of an axis that ends near the largest number
def draw_map(
    panel: "Axes", values: "xr.DataArray", *, x: str, y: str, label: str, norm: Any, cmap: str = "viridis"
) -> None:
    """One quantity as whole cells over two axes, with a labelled colour bar; grey, and no bar, where norm is None."""
    values = values.transpose(y, x).sortby([x, y])
    edges = {name: _cell_edges(values[name].values) for name in (x, y)}
    panel.set_facecolor("0.8")
    panel.grid(visible=False)
    shown = np.ma.masked_invalid(values.values)
    mesh = panel.pcolormesh(edges[x], edges[y], shown, shading="flat", cmap=cmap, norm=norm, rasterized=True)
    if norm is not None:
        panel.figure.colorbar(mesh, ax=panel, label=label)
    for end, name in (("x", x), ("y", y)):
        set_scale(panel, end, values[name].values)
        panel.set(**{f"{end}lim": edges[name][[0, -1]], f"{end}label": axis_label(name)})


_HATCHED: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.35", "hatch": "///", "linewidth": 0.0}
"""How regions look where replica symmetry is unstable."""


def hatch_cells(panel: "Axes", where: "xr.DataArray", *, x: str, y: str, label: str) -> None:
    """Hatch those cells of a map, in one patch with a name in the legend; none where there is no such cell."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    where = where.transpose(y, x).sortby([x, y])
    columns, rows = (_cell_edges(where[name].values) for name in (x, y))
    corners = ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))
    cells = [
        Path([(columns[k + right], rows[i + up]) for right, up in corners], closed=True)
        for i, k in zip(*np.nonzero(where.values), strict=True)
    ]
    if cells:
        panel.add_patch(PathPatch(Path.make_compound_path(*cells), label=label, **_HATCHED))


def hatch_ranges(panel: "Axes", places: Any, where: Any, *, label: str) -> None:
    """Hatch the ranges of an abscissa around those places, with one name in the legend."""
    order = np.argsort(places)
    edges, marked = _cell_edges(places[order]) if len(places) > 1 else places[[0, 0]], where[order]
    changes = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    for number, (start, stop) in enumerate(zip(changes[::2], changes[1::2], strict=True)):
        panel.axvspan(edges[start], edges[stop], label=label if number == 0 else None, zorder=0, **_HATCHED)


def colour_norm(*maps: Any) -> Any:
    """One scale of colours for all maps: logarithmic where positive and steep; None where none has a number."""
    from matplotlib.colors import LogNorm, Normalize

    numbers = np.concatenate([np.ravel(values) for values in maps])
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return None
    ends = float(numbers.min()), float(numbers.max())
    return LogNorm(*ends) if ends[0] > 0 and ends[1] > STEEP * ends[0] else Normalize(*ends)


def _geometric(values: Any) -> bool:
    """Whether there are three positive values or more, with one ratio from each to the next."""
    if len(values) < 3 or not np.all(values > 0):
        return False
    ratios = values[1:] / values[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=1e-6) and not np.isclose(ratios[0], 1))
