"""One quantity as a map over two axes, and the scale of its colours."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.plotting.axes import cell_edges, set_scale
from iclglass.numerics.plotting.style import axis_label

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["colour_norm", "draw_map"]


@np.errstate(over="ignore")  # margins of an axis that ends near the largest number
def draw_map(
    panel: "Axes", values: "xr.DataArray", *, x: str, y: str, label: str, norm: Any = None, cmap: str = "viridis"
) -> None:
    """Whole cells over two axes, with a colour bar; grey, and no bar, without a number.

    Parameters
    ----------
    panel
        Where to draw.
    values
        Along x and y, in any order.
    x, y
        Names of the axes.
    label
        Of the colour bar.
    norm, cmap
        Of the colours; by default `colour_norm` of the values, and viridis.
    """
    values = values.transpose(y, x).sortby([x, y])
    ticks = {name: values[name].values for name in (x, y)}
    norm = colour_norm(values) if norm is None else norm
    panel.set_facecolor("0.8")
    edges = {name: cell_edges(places) for name, places in ticks.items()}
    shown = np.ma.masked_invalid(values.values)
    mesh = panel.pcolormesh(edges[x], edges[y], shown, shading="flat", cmap=cmap, norm=norm, rasterized=True)
    if norm is not None:
        panel.figure.colorbar(mesh, ax=panel, label=label)
    for end, name in (("x", x), ("y", y)):
        set_scale(panel, end, ticks[name])
        panel.set(**{f"{end}lim": edges[name][[0, -1]], f"{end}label": axis_label(name)})


def colour_norm(*maps: Any) -> Any:
    """One scale of colours for all maps: logarithmic where they are positive and span over a decade and a half, else
    linear; None where none has a number.
    """
    from matplotlib.colors import LogNorm, Normalize

    numbers = np.concatenate([np.ravel(values) for values in maps])
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return None
    ends = float(numbers.min()), float(numbers.max())
    return LogNorm(*ends) if ends[0] > 0 and ends[1] > 30 * ends[0] else Normalize(*ends)
