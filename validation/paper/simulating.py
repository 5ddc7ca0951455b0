"""How a figure is simulated: part by part over grids of points, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, product
from typing import Any

import xarray as xr

from iclglass.numerics.running.store import Key

__all__ = ["VARIABLES", "Axes", "Compute", "Parts", "batches", "in_turn", "simulated"]

Axes = Mapping[str, Sequence[Any]]
"""The axes of a grid of parts, the outermost first, by name."""
Parts = Mapping[Key, Callable[[], xr.Dataset]]
"""What gives each part, by key: a function of a module with its arguments, which any process can call. Its random
numbers follow from these alone. A part should take well under a minute at full scale: that is what a kill loses."""
Compute = Callable[[Parts], list[xr.Dataset]]
"""Gives the parts in their order, wherever they are computed or were kept."""
VARIABLES = "variables"
"""An axis of this name has parts of different variables, which are put beside each other."""


def in_turn(parts: Parts) -> list[xr.Dataset]:
    """The parts one after the other, here.

    >>> [int(part.a) for part in in_turn({"one": partial(xr.Dataset, {"a": 1})})]
    [1]
    """
    return [simulate() for simulate in parts.values()]


def batches(repeats: int, size: int) -> list[range]:
    """Repeats in runs of at most ``size``, for parts.

    >>> batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, repeats)) for start in range(0, repeats, size)]


def simulated(compute: Compute, *grids: tuple[Axes, Callable[..., xr.Dataset]]) -> xr.Dataset:
    """The parts of all points of one grid or several, joined.

    A grid is its axes and what gives the part at a point, called with a value of each. Values of an axis become its
    coordinate; where they are ranges (`batches`), the parts have that dimension already.

    >>> axes = {"a": ["x", "y"], "repeat": batches(3, 2)}
    >>> data = simulated(in_turn, (axes, lambda a, some: xr.Dataset({"v": ("repeat", list(some))})))
    >>> data.v.sel(a="y").values.tolist()
    [0, 1, 2]
    """
    points = [list(product(*axes.values())) for axes, _ in grids]
    work: dict[Key, Callable[[], xr.Dataset]] = {
        _key(axes, point): partial(simulate, *point)
        for (axes, simulate), some in zip(grids, points, strict=True)
        for point in some
    }
    parts = iter(compute(work))
    return _merged(
        [_joined(axes, list(islice(parts, len(some)))) for (axes, _), some in zip(grids, points, strict=True)]
    )


def _key(axes: Axes, point: Sequence[Any]) -> str:
    """The name of the part at a point."""
    values = (f"{one[0]}-{one[-1]}" if isinstance(one, range) else str(one) for one in point)
    return "-".join(f"{name.replace('_', '-')}={value}" for name, value in zip(axes, values, strict=True)) or "all"


def _joined(axes: Axes, parts: list[xr.Dataset]) -> xr.Dataset:
    """Parts in the order of the points, along the axes."""
    for name, values in reversed(list(axes.items())):
        along = name if isinstance(values[0], range) else xr.DataArray(list(values), dims=name, name=name)
        rows = [parts[k : k + len(values)] for k in range(0, len(parts), len(values))]
        parts = [_merged(row) if name == VARIABLES else xr.concat(row, dim=along) for row in rows]
    return parts[0]


def _merged(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.merge(parts, combine_attrs="override", join="exact", compat="no_conflicts")
