r"""Lines located on a sweep of two axes: where something crosses, not where the grid happens to be.

A line is the zero set of a function of the two axes. The grid only says between which neighbours the zero lies, and how
the pieces connect (marching squares, `contourpy`); every vertex is then located on its grid edge by a bracketed root,
to the last bits. So refining the grid adds vertices and moves none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import generated_numpy
from numerics.errors import ParameterError
from numerics.fixed_point import bracketed_root
from numerics.parameters import PARAMETERS, closest
from numerics.saddle_point import solve_points
from numerics.sweep import sweep

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DEFAULT_LINES", "LINE_KINDS", "Line", "PhaseDiagram", "phase_diagram"]

Array = NDArray[np.float64]

LINE_KINDS = {
    "interpolation-threshold": "tau = 1, where the replicon vanishes as lam -> 0",
    "contrast=LEVEL": "where the contrast ratio crosses LEVEL (0 < LEVEL < 1)",
    "minimum=AXIS": "where e_icl has a local minimum along AXIS",
    "peak=AXIS": "where e_icl has a local maximum along AXIS (double descent)",
}
DEFAULT_LINES = ("interpolation-threshold", "contrast=0.8")
_GRADIENT_OF = {
    "task_diversity": "tau",
    "context_length": "alpha",
    "test_context_length": "alpha_test",
    "label_noise": "rho",
    "ridge": "lam",
}


@dataclass(frozen=True, eq=False)
class Line:
    """A located line: its name as asked for, and its connected parts, each an array (vertices, 2) of (x, y)."""

    name: str
    parts: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """A sweep of two axes with the lines located on it; x is the first axis, y the second."""

    dataset: "xr.Dataset"
    x: str
    y: str
    lines: tuple[Line, ...]

    def to_dataset(self) -> "xr.Dataset":
        """The sweep with the lines' vertices as variables along ``line_vertex``: name, part, x, y."""
        names, parts, points = [], [], [np.empty((0, 2))]
        for line in self.lines:
            for number, part in enumerate(line.parts):
                names += [line.name] * len(part)
                parts += [number] * len(part)
                points.append(part)
        vertices = np.concatenate(points)
        if not len(vertices):
            return self.dataset
        dimension = "line_vertex"
        return self.dataset.assign(
            line_name=(dimension, np.array(names, dtype=object), {"long_name": "name of the located line"}),
            line_part=(
                dimension,
                np.array(parts, dtype=np.int64),
                {"long_name": "connected part of the line"},
            ),
            line_x=(dimension, vertices[:, 0], {"long_name": self.x, "units": "1"}),
            line_y=(dimension, vertices[:, 1], {"long_name": self.y, "units": "1"}),
        )


def phase_diagram(
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    lines: Sequence[str] = DEFAULT_LINES,
) -> PhaseDiagram:
    """Sweep two axes and locate lines.

    Equation: zeros of contrast - LEVEL, or of d e_icl/d AXIS (by its symbolic derivative). Source: this project,
    notes/derivation.md.

    Args:
        task_diversity, context_length, label_noise, ridge, temperature, test_context_length: as in `sweep`; exactly
            two of them are arrays of at least two increasing values.
        lines: kinds of `LINE_KINDS`, for instance "contrast=0.9" or "minimum=ridge".

    Returns:
        `PhaseDiagram`. A line that does not cross the grid has no parts. Structure narrower than the grid's spacing
        can be missed; a vertex that is shown is exact.

    Raises:
        ParameterError, ParameterTypeError: bad parameters, not two axes, an unknown line.

    Examples:
        >>> diagram = phase_diagram(task_diversity=[0.5, 2, 4], context_length=[1, 2, 4], lines=["contrast=0.7"])
        >>> [len(part) for part in diagram.lines[0].parts]
        [3]
    """
    dataset = sweep(
        task_diversity=task_diversity,
        context_length=context_length,
        label_noise=label_noise,
        ridge=ridge,
        temperature=temperature,
        test_context_length=test_context_length,
    )
    axes = [name for name in PARAMETERS if name in dataset.dims]
    if len(axes) != 2 or any(dataset.sizes[name] < 2 for name in axes):
        raise ParameterError(
            f"a phase diagram needs exactly two axes of at least two values, not {axes or 'none'}: give two parameters "
            "as grids"
        )
    for name in axes:
        if not np.all(np.diff(dataset[name].values) > 0):
            raise ParameterError(f"the axis {name} must increase: sort its values and drop repeated ones")
    fixed = {name: float(dataset[name]) for name in PARAMETERS if name in dataset.coords and name not in axes}
    grid = (np.asarray(dataset[axes[0]].values), np.asarray(dataset[axes[1]].values))
    located = tuple(Line(name, _locate(name, axes, grid, fixed)) for name in lines)
    return PhaseDiagram(dataset, axes[0], axes[1], located)


def _locate(name: str, axes: list[str], grid: tuple[Array, Array], fixed: Mapping[str, float]) -> tuple[Array, ...]:
    kind, _, value = name.partition("=")
    if kind == "interpolation-threshold" and not value:
        return _threshold(axes, grid)
    if kind == "contrast":
        return _zero_set(_contrast(name, value), axes, grid, fixed)
    if kind in ("minimum", "peak"):
        axis = _axis(name, value, axes)
        gradient = _gradient(axis, tied="test_context_length" not in (*axes, *fixed))
        return _extrema(_zero_set(gradient, axes, grid, fixed), gradient, axis, axes, fixed, minimum=kind == "minimum")
    raise ParameterError(f"line {name!r} is unknown{closest(name, LINE_KINDS)}")


def _threshold(axes: list[str], grid: tuple[Array, Array]) -> tuple[Array, ...]:
    if "task_diversity" not in axes:
        return ()
    position = axes.index("task_diversity")
    if not grid[position][0] <= 1 <= grid[position][-1]:
        return ()
    other = grid[1 - position]
    columns = [np.ones_like(other), other] if position == 0 else [other, np.ones_like(other)]
    return (np.stack(columns, axis=1),)


def _contrast(name: str, value: str) -> Callable[[Mapping[str, Array]], Array]:
    try:
        level = float(value)
    except ValueError:
        level = np.nan
    if not 0 < level < 1:
        raise ParameterError(f"line {name!r}: the level of the contrast ratio must be a number between 0 and 1")
    return lambda point: np.asarray(solve_points(point).contrast - level)


def _axis(name: str, value: str, axes: list[str]) -> str:
    by_letter = {parameter.letter: key for key, parameter in PARAMETERS.items()}
    axis = by_letter.get(value, value.replace("-", "_"))
    if axis not in axes or axis not in _GRADIENT_OF:
        possible = [key for key in axes if key in _GRADIENT_OF]
        raise ParameterError(f"line {name!r}: the axis must be one of the diagram's, {' or '.join(possible)}")
    return axis


def _gradient(axis: str, *, tied: bool) -> Callable[[Mapping[str, Array]], Array]:
    """d e_icl / d axis; a test context length that follows the pretraining one moves with it."""

    def function(point: Mapping[str, Array]) -> Array:
        alpha = point["context_length"]
        arguments = (
            point["task_diversity"],
            alpha,
            point.get("test_context_length", alpha),
            point["label_noise"],
            point["ridge"],
            point["temperature"],
        )
        with np.errstate(all="ignore"):
            outputs = generated_numpy.gradients(*arguments)
        gradients = dict(zip(generated_numpy.OUTPUTS["gradients"], outputs, strict=True))
        total = gradients[_GRADIENT_OF[axis]]
        if axis == "context_length" and tied:
            total = total + gradients["alpha_test"]
        return np.asarray(total)

    return function


def _point(axes: list[str], x: Array, y: Array, fixed: Mapping[str, float]) -> dict[str, Array]:
    point = {name: np.full(np.broadcast_shapes(x.shape, y.shape), value) for name, value in fixed.items()}
    point[axes[0]], point[axes[1]] = np.broadcast_arrays(x, y)
    return point


def _zero_set(
    function: Callable[[Mapping[str, Array]], Array],
    axes: list[str],
    grid: tuple[Array, Array],
    fixed: Mapping[str, float],
) -> tuple[Array, ...]:
    """Connected polylines of the zero set, every vertex a bracketed root on a grid edge."""
    import contourpy

    x, y = grid
    values = function(_point(axes, x[None, :], y[:, None], fixed))
    generator = contourpy.contour_generator(z=np.ma.masked_invalid(values), line_type="Separate")
    parts = []
    for polyline in generator.lines(0.0):
        part = np.asarray(polyline, dtype=np.float64)
        # Vertices are in index coordinates: one of the two is whole, the other lies between two grid values.
        low = np.floor(part).astype(int)
        on_row = part[:, 1] == low[:, 1]
        high = low + np.stack([on_row, ~on_row], axis=1)
        high = np.minimum(high, [len(x) - 1, len(y) - 1])
        start, stop = (np.stack([x[index[:, 0]], y[index[:, 1]]], axis=1) for index in (low, high))

        def along(t: Array, x0: Array, y0: Array, x1: Array, y1: Array) -> Array:
            return function(_point(axes, x0 + t * (x1 - x0), y0 + t * (y1 - y0), fixed))

        ends = (start[:, 0], start[:, 1], stop[:, 0], stop[:, 1])
        t, found = bracketed_root(along, np.zeros(len(part)), np.ones(len(part)), arguments=ends)
        vertices = start + t[:, None] * (stop - start)
        parts.append(vertices[found])
    return tuple(part for part in parts if len(part))


def _extrema(
    parts: tuple[Array, ...],
    gradient: Callable[[Mapping[str, Array]], Array],
    axis: str,
    axes: list[str],
    fixed: Mapping[str, float],
    *,
    minimum: bool,
) -> tuple[Array, ...]:
    """Those stretches of the zero set of the gradient where it rises (minimum) or falls (peak) along the axis."""
    position = axes.index(axis)
    result = []
    for part in parts:
        step = np.zeros_like(part)
        step[:, position] = 1e-6 * part[:, position]
        before, after = (gradient(_point(axes, near[:, 0], near[:, 1], fixed)) for near in (part - step, part + step))
        wanted = (after > before) if minimum else (after < before)
        cuts = np.flatnonzero(np.diff(wanted.astype(int))) + 1
        result += [
            piece for piece, keep in zip(np.split(part, cuts), np.split(wanted, cuts), strict=True) if keep.any()
        ]
    return tuple(result)
