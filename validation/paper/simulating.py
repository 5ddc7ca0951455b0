"""How a figure is simulated: part by part over grids of points, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, product
from typing import Any, Protocol

import xarray as xr

__all__ = ["VARIABLES", "Grid", "Progress", "batches", "in_parts", "quiet", "simulated"]

Grid = tuple[Mapping[str, Sequence[Any]], Callable[..., xr.Dataset]]
"""Axes, the outermost first, by name, and what gives the part at one point, called with a value of each."""
VARIABLES = "variables"
"""An axis of this name has parts of different variables, which are put beside each other."""


class Progress(Protocol):
    """Handed to a simulation: called with (done, total), and it keeps parts of long simulations."""

    def __call__(self, done: int, total: int) -> None:
        """Report how much is done."""

    def part(self, key: str, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        """The part named ``key`` (letters, digits, - and =): read if an interrupted run has left it, else simulated
        and kept. Its random numbers must follow from the seed and the key alone."""


class _Quiet:
    def __call__(self, done: int, total: int) -> None:
        pass

    def part(self, key: str, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        return simulate()


def quiet() -> Progress:
    """A progress that reports and keeps nothing.

    >>> quiet()(1, 2)
    """
    return _Quiet()


def in_parts(progress: Progress, work: Mapping[str, Callable[[], xr.Dataset]]) -> list[xr.Dataset]:
    """The parts of a long simulation, simulated by key and in this order; those of an interrupted run are there.

    A part should take well under a minute at full scale: that is what a kill loses.

    >>> import xarray as xr
    >>> [int(part.a) for part in in_parts(quiet(), {"one": lambda: xr.Dataset({"a": 1})})]
    [1]
    """
    parts = []
    for number, (key, simulate) in enumerate(work.items()):
        progress(number, len(work))
        parts.append(progress.part(key, simulate))
    progress(len(work), len(work))
    return parts


def batches(repeats: int, size: int) -> list[range]:
    """Repeats in runs of at most ``size``, for parts.

    >>> batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, repeats)) for start in range(0, repeats, size)]


def simulated(progress: Progress, *grids: Grid) -> xr.Dataset:
    """The parts of all points of one grid or several, joined.

    Values of an axis become its coordinate; where they are ranges (`batches`), the parts have that dimension already.

    >>> axes = {"a": ["x", "y"], "repeat": batches(3, 2)}
    >>> data = simulated(quiet(), (axes, lambda a, some: xr.Dataset({"v": ("repeat", list(some))})))
    >>> data.v.sel(a="y").values.tolist()
    [0, 1, 2]
    """
    points = [list(product(*axes.values())) for axes, _ in grids]
    work = {
        _key(axes, point): partial(simulate, *point)
        for (axes, simulate), some in zip(grids, points, strict=True)
        for point in some
    }
    parts = iter(in_parts(progress, work))
    return _merged(
        [_joined(axes, list(islice(parts, len(some)))) for (axes, _), some in zip(grids, points, strict=True)]
    )


def _key(axes: Mapping[str, Sequence[Any]], point: Sequence[Any]) -> str:
    """The name of the part at a point."""
    values = (f"{one[0]}-{one[-1]}" if isinstance(one, range) else str(one) for one in point)
    return "-".join(f"{name.replace('_', '-')}={value}" for name, value in zip(axes, values, strict=True)) or "all"


def _joined(axes: Mapping[str, Sequence[Any]], parts: list[xr.Dataset]) -> xr.Dataset:
    """Parts in the order of the points, along the axes."""
    for name, values in reversed(list(axes.items())):
        along = name if isinstance(values[0], range) else xr.DataArray(list(values), dims=name, name=name)
        rows = [parts[k : k + len(values)] for k in range(0, len(parts), len(values))]
        parts = [_merged(row) if name == VARIABLES else xr.concat(row, dim=along) for row in rows]
    return parts[0]


def _merged(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.merge(parts, combine_attrs="override", join="exact", compat="no_conflicts")
