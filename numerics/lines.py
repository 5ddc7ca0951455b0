r"""Lines located on a grid of two axes: where something crosses, not where the grid happens to be.

A line is the zero set of a function of the two axes. The grid only says between which neighbours the zero lies, and how
the pieces connect (marching squares, `contourpy`); every vertex is then located on its grid edge by a bracketed root,
to the last bits. So refining the grid adds vertices and moves none.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.fixed_point import bracketed_root
from iclglass.numerics.gradient import GRADIENT_AXES, gradient
from iclglass.numerics.model_choice import is_builtin
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, Parameters, closest
from iclglass.numerics.saddle_point import solve_points

__all__ = ["LINE_KINDS", "Line", "locate", "refuse_at_dimension"]

Array = NDArray[np.float64]
Fields = Mapping[str, Any]

LINE_KINDS = {
    "interpolation-threshold": "tau = 1, where the replicon of ridge regression vanishes as lam -> 0",
    "contrast=LEVEL": "where the contrast ratio crosses LEVEL (0 < LEVEL < 1)",
    "minimum=AXIS": "where e_icl (of sign labels error_rate) has a local minimum along AXIS",
    "peak=AXIS": "where e_icl (of sign labels error_rate) has a local maximum along AXIS (double descent)",
    "at": "de Almeida-Thouless: where the replicon crosses 0 and replica symmetry becomes unstable",
    "best-ridge": "minimum=ridge by another name: the ridge with the least e_icl",
    "context-saturation": "minimum=context-length by another name: where e_icl stops decreasing with context length",
    "crossover": "from memorisation to in-context learning: e_icl - e_idg is half its value for kappa -> 0",
    "memorisation-threshold": "kappa = min(tau, 1), where the ridgeless limit stops memorising the pool",
}
_ALIASES = {"best-ridge": ("minimum", "ridge"), "context-saturation": ("minimum", "context_length")}
# e_icl - e_idg at this kappa is its kappa -> 0 limit to rounding: corrections are of relative order kappa.
_NO_TASKS = 1e-30
_OF_RIDGE = ("interpolation-threshold", "crossover", "memorisation-threshold")
# Relative step of the differences that give the slope of a chosen model: their error is of order 1e-8 of its scale.
_STEP = 1e-4
_WHOLE = ("task_diversity", "context_length", "test_context_length")
"""Axes on which P and N of a dimension are whole numbers: what depends on them is a staircase."""
_TOLERANCE_AT_DIMENSION = 1e-6
"""Of a vertex on its grid edge: whole numbers are further apart, and solutions are not exact to the last bits."""
_NAMES = (*WORDS, "model", "norm", "last_feature", "last_row")


@dataclass(frozen=True, eq=False)
class Line:
    """A located line: its name as asked for, and its connected parts, each an array (vertices, 2) of (x, y)."""

    name: str
    parts: tuple[Array, ...]


def refuse_at_dimension(name: str, axes: tuple[str, str], *, pools: bool) -> None:
    """Raises ParameterError: at a dimension there is no such line.

    Where tasks come from pools, these are drawn; along an axis on which P or N is a whole number nothing has a slope.
    """
    kind, _, value = name.partition("=")
    if kind in _ALIASES and not value:
        kind, value = _ALIASES[kind]
    if kind == "interpolation-threshold":
        return
    if pools or name in _OF_RIDGE:
        raise ParameterError(
            f"line {name!r} at a dimension: the theory averages over drawn pools there; leave out the line, or the "
            "dimension"
        )
    if kind in ("minimum", "peak") and (axis := _axis(name, value, axes, PARAMETERS | STRENGTHS)) in _WHOLE:
        raise ParameterError(
            f"line {name!r} at a dimension: P and N are whole numbers, so nothing has a slope along {axis}; take "
            "another axis, or leave out the line, or the dimension"
        )


def locate(
    name: str,
    *,
    axes: tuple[str, str],
    grid: tuple[Array, Array],
    fixed: Mapping[str, Any],
    threshold: float = 1.0,
) -> Line:
    """Locate one line.

    name : a kind of `LINE_KINDS`.
    axes : parameter names of x and y.
    grid : increasing values of x and of y.
    fixed : the other parameters, numbers and words; ``test_context_length`` missing means: as in pretraining. At a
        dimension, a line that crosses along tau or alpha lies where P or N goes from one whole number to the next.
    threshold : tau of the interpolation threshold, 1 + 1/D at finite dimension.

    Returns `Line`, without parts where it does not cross the grid.

    Raises ParameterError: an unknown kind, one that needs another level or axis, or one that the model does not have.
    """
    kind, _, value = name.partition("=")
    if kind in _ALIASES and not value:
        kind, value = _ALIASES[kind]
    corner = {axes[0]: float(grid[0][-1]), axes[1]: float(grid[1][-1])}
    builtin = is_builtin(Parameters.of({**fixed, **corner}))
    if name in _OF_RIDGE and not builtin:
        raise ParameterError(f"line {name!r} is of ridge and squared error: leave it out for another model")
    if name == "interpolation-threshold":
        parts = _curve(axes, grid, "task_diversity", lambda other: np.full_like(other, threshold))
    elif name == "memorisation-threshold":
        if "distinct_tasks" not in axes:
            raise ParameterError(f"line {name!r} needs distinct_tasks (--kappa) as an axis")
        tau = fixed.get("task_diversity", np.nan)
        parts = _curve(
            axes,
            grid,
            "distinct_tasks",
            lambda other: np.minimum(other if "task_diversity" in axes else np.full_like(other, tau), 1.0),
        )
    elif name == "crossover":
        if "distinct_tasks" not in axes and math.isinf(fixed["distinct_tasks"]):
            raise ParameterError(f"line {name!r} needs a finite distinct_tasks (--kappa), as a number or an axis")
        parts = _zero_set(_half_gap, axes, grid, fixed)
    elif kind == "contrast":
        parts = _zero_set(_contrast(name, value), axes, grid, fixed)
    elif kind in ("minimum", "peak"):
        axis = _axis(name, value, axes, GRADIENT_AXES if builtin else tuple(PARAMETERS | STRENGTHS))
        tied, exact = "test_context_length" not in (*axes, *fixed), builtin and "dimension" not in fixed
        slope = gradient(axis, tied=tied) if exact else _difference(axis, float(grid[axes.index(axis)][-1]))
        parts = _extrema(_zero_set(slope, axes, grid, fixed), slope, axis, axes, fixed, minimum=kind == "minimum")
    elif name == "at":
        parts = _zero_set(lambda point: np.asarray(solve_points(Parameters.of(point)).replicon), axes, grid, fixed)
    else:
        raise ParameterError(f"line {name!r} is unknown{closest(name, LINE_KINDS)}")
    return Line(name, parts)


def _curve(
    axes: tuple[str, str], grid: tuple[Array, Array], name: str, value: Callable[[Array], Array]
) -> tuple[Array, ...]:
    """The part inside the grid of the curve on which the axis ``name`` is a known function of the other axis."""
    if name not in axes:
        return ()
    position = axes.index(name)
    other = grid[1 - position]
    known = value(other)
    inside = (known >= grid[position][0]) & (known <= grid[position][-1])
    if not inside.any():
        return ()
    columns = (known[inside], other[inside]) if position == 0 else (other[inside], known[inside])
    return (np.stack(columns, axis=1),)


def _half_gap(point: Fields) -> Array:
    here = solve_points(Parameters.of(point))
    memorised = solve_points(Parameters.of({**point, "distinct_tasks": _NO_TASKS}))
    return np.asarray((here.e_icl - here.e_idg) - (memorised.e_icl - memorised.e_idg) / 2)


def _contrast(name: str, value: str) -> Callable[[Fields], Array]:
    try:
        level = float(value)
    except ValueError:
        level = np.nan
    if not 0 < level < 1:
        raise ParameterError(f"line {name!r}: the level of the contrast ratio must be a number between 0 and 1")
    return lambda point: np.asarray(solve_points(Parameters.of(point)).contrast - level)


def _difference(axis: str, largest: float) -> Callable[[Fields], Array]:
    """The slope of the error along an axis, by central differences; of sign labels the error is error_rate.

    largest : the end of the axis, whose scale the steps have near 0.
    """

    def error(point: Fields, values: Array) -> Array:
        found = solve_points(Parameters.of({**point, axis: values}))
        return np.asarray(found.e_icl if found.error_rate is None else found.error_rate)

    def slope(point: Fields) -> Array:
        # Near 0 the step is of the size that the axis has; there the slope is taken one step further in.
        step = _STEP * np.maximum(point[axis], 1e-3 * largest)
        centre = np.maximum(point[axis], 2 * step)
        return (error(point, centre + step) - error(point, centre - step)) / (2 * step)

    return slope


def _axis(name: str, value: str, axes: tuple[str, str], known: Collection[str]) -> str:
    by_letter = {parameter.letter: key for key, parameter in (PARAMETERS | STRENGTHS).items()}
    axis = by_letter.get(value, value.replace("-", "_"))
    if axis not in axes or axis not in known:
        possible = [key for key in axes if key in known]
        raise ParameterError(f"line {name!r}: the axis must be one of the diagram's, {' or '.join(possible)}")
    return axis


def _point(axes: tuple[str, str], x: Array, y: Array, fixed: Mapping[str, Any]) -> dict[str, Any]:
    shape = np.broadcast_shapes(x.shape, y.shape)
    point = {name: value if name in _NAMES else np.full(shape, value) for name, value in fixed.items()}
    point[axes[0]], point[axes[1]] = np.broadcast_arrays(x, y)
    return point


def _zero_set(
    function: Callable[[Fields], Array],
    axes: tuple[str, str],
    grid: tuple[Array, Array],
    fixed: Mapping[str, Any],
) -> tuple[Array, ...]:
    """Connected polylines of the zero set, every vertex a bracketed root on a grid edge."""
    import contourpy

    x, y = grid
    values = function(_point(axes, x[None, :], y[:, None], fixed))
    # Contours of the sign alone: every vertex is the middle of a grid edge, so which edge it is cannot be mistaken.
    signs = np.ma.masked_array(np.where(values >= 0, 1.0, -1.0), mask=~np.isfinite(values))
    parts = []
    for polyline in contourpy.contour_generator(z=signs, line_type="Separate").lines(0.0):
        part = np.asarray(polyline, dtype=np.float64)
        low, high = np.floor(part).astype(int), np.ceil(part).astype(int)
        start, stop = (np.stack([x[index[:, 0]], y[index[:, 1]]], axis=1) for index in (low, high))

        def along(t: Array, x0: Array, y0: Array, x1: Array, y1: Array) -> Array:
            return function(_point(axes, x0 + t * (x1 - x0), y0 + t * (y1 - y0), fixed))

        ends = (start[:, 0], start[:, 1], stop[:, 0], stop[:, 1])
        tolerance = _TOLERANCE_AT_DIMENSION if "dimension" in fixed else 0.0
        t, found = bracketed_root(along, np.zeros(len(part)), np.ones(len(part)), arguments=ends, tolerance=tolerance)
        vertices = start + t[:, None] * (stop - start)
        # Where a vertex was not found the line is cut, not joined across the gap.
        runs = np.split(np.arange(len(part)), np.flatnonzero(np.diff(found.astype(int))) + 1)
        parts += [vertices[run] for run in runs if found[run].all()]
    return tuple(part for part in parts if len(part))


def _extrema(
    parts: tuple[Array, ...],
    slope: Callable[[Fields], Array],
    axis: str,
    axes: tuple[str, str],
    fixed: Mapping[str, Any],
    *,
    minimum: bool,
) -> tuple[Array, ...]:
    """Those stretches of the zero set of the slope where it rises (minimum) or falls (peak) along the axis."""
    position = axes.index(axis)
    result = []
    for part in parts:
        step = np.zeros_like(part)
        step[:, position] = 1e-5 * part[:, position]
        before, after = (slope(_point(axes, near[:, 0], near[:, 1], fixed)) for near in (part - step, part + step))
        wanted = (after > before) if minimum else (after < before)
        cuts = np.flatnonzero(np.diff(wanted.astype(int))) + 1
        result += [
            piece for piece, keep in zip(np.split(part, cuts), np.split(wanted, cuts), strict=True) if keep.any()
        ]
    return tuple(result)
