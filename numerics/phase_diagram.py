"""A sweep of two axes with lines located on it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from iclglass.numerics.arguments import check_count
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_dimension import MINIMUM_DIMENSION
from iclglass.numerics.keywords import takes
from iclglass.numerics.lines import LINE_KINDS, Line, locate, refuse_at_dimension
from iclglass.numerics.model_choice import DISCRETE, is_builtin
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, Given, Parameters
from iclglass.numerics.storage import PROVENANCE
from iclglass.numerics.sweep import product, sweep

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DEFAULT_LINES", "LINE_KINDS", "Line", "PhaseDiagram", "default_lines", "phase_diagram"]

DEFAULT_LINES = ("interpolation-threshold", "contrast=0.8")


def default_lines(parameters: Parameters) -> tuple[str, ...]:
    """The lines of a diagram for which none are named: `DEFAULT_LINES`, at finite dimension the first.

    Of a chosen model the contrast, and where replica symmetry can be unstable also where it becomes so.

    >>> default_lines(Parameters(task_diversity=2, context_length=1, spins="binary"))
    ('at', 'contrast=0.8')
    """
    if is_builtin(parameters):
        return DEFAULT_LINES if parameters.dimension is None else DEFAULT_LINES[:1]
    convex = parameters.model is None and parameters.spins not in DISCRETE
    return DEFAULT_LINES[1:] if convex else ("at", *DEFAULT_LINES[1:])


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """A sweep of two axes with the lines located on it; x is the first axis, y the second."""

    dataset: "xr.Dataset"
    x: str
    y: str
    lines: tuple[Line, ...]

    @classmethod
    def from_dataset(cls, dataset: "xr.Dataset") -> "PhaseDiagram":
        """What `to_dataset` gave, loaded again; lines that did not cross the grid are not in it.

        Raises
        ------
        ParameterError
            Not exactly two axes.
        """
        axes = [name for name in (*PARAMETERS, *STRENGTHS) if name in dataset.dims]
        if len(axes) != 2:
            raise ParameterError(f"dataset must have two axes to be a phase diagram, not {len(axes)}")
        if "line_x" in dataset and dataset["line_x"].attrs.get("long_name") == axes[1]:
            axes.reverse()
        return cls(dataset, axes[0], axes[1], _lines(dataset))

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
            line_name=(dimension, np.array(names), {"long_name": "name of the located line"}),
            line_part=(
                dimension,
                np.array(parts, dtype=np.int64),
                {"long_name": "connected part of the line"},
            ),
            line_x=(dimension, vertices[:, 0], {"long_name": self.x, "units": "1"}),
            line_y=(dimension, vertices[:, 1], {"long_name": self.y, "units": "1"}),
        )


def _lines(dataset: "xr.Dataset") -> tuple[Line, ...]:
    """The lines that `PhaseDiagram.to_dataset` wrote."""
    if "line_name" not in dataset:
        return ()
    names, parts = dataset["line_name"].values, dataset["line_part"].values
    points = np.stack([dataset["line_x"].values, dataset["line_y"].values], axis=1)
    return tuple(
        Line(
            str(name),
            tuple(points[(names == name) & (parts == number)] for number in np.unique(parts[names == name])),
        )
        for name in dict.fromkeys(names.tolist())
    )


@takes(*(name for name in Given.__annotations__ if name != "tasks"))
def phase_diagram(
    *,
    lines: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **given: Unpack[Given],
) -> PhaseDiagram:
    """Sweep two axes and locate lines.

    Equation: zeros of contrast - LEVEL, of d e_icl/d AXIS, of the replicon, of the gap e_icl - e_idg less half its
    memorisation value.
    Source: this project, notes/derivation.md.

    Parameters
    ----------
    lines : sequence of str, optional
        Kinds of `numerics.lines.LINE_KINDS`, for instance "contrast=0.9" or "minimum=ridge"; default `default_lines`.
    progress : callable, optional
        As in `sweep`.
    **given
        Fields of `Parameters` but tasks; exactly two are arrays of at least two increasing, finite values. With a
        dimension P and N are whole numbers: along tau and alpha a line lies where P or N goes from one to the next, and
        nothing has a minimum or a peak; pools have no lines but the interpolation threshold P = D(D + 1),
        tau = 1 + 1/D (without last row P = D^2, tau = 1).

    Returns
    -------
    PhaseDiagram
        A line that does not cross the grid has no parts. Structure narrower than the grid's spacing can be missed; a
        vertex that is shown is exact.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad parameters, not two axes, an unknown line.

    Examples
    --------
    >>> diagram = phase_diagram(task_diversity=[0.5, 2, 4], context_length=[1, 2, 4], lines=["contrast=0.7"])
    >>> [len(part) for part in diagram.lines[0].parts]
    [3]
    """
    everything: dict[str, Any] = dict(given)
    dimension = everything.get("dimension")
    if dimension is not None:
        dimension = check_count(
            "dimension", dimension, minimum=MINIMUM_DIMENSION, reason="see iclglass.numerics.finite_dimension"
        )
    # Checked before the sweep, which with pools at finite dimension takes long.
    sizes, point = product(everything)
    lines = default_lines(point) if lines is None else lines
    if isinstance(lines, str) or not isinstance(lines, Sequence) or not all(isinstance(name, str) for name in lines):
        raise ParameterTypeError(f"lines = {lines!r} must be a list of names, as in ['contrast=0.8']")
    axes = {name: point.varying(name).reshape(-1) for name in sizes}
    if len(axes) != 2 or any(values.size < 2 for values in axes.values()):
        raise ParameterError(
            f"a phase diagram needs exactly two axes of at least two values, not {list(axes) or 'none'}: give two "
            "parameters as grids"
        )
    for name, values in axes.items():
        if not np.all(np.isfinite(values)):
            raise ParameterError(f"the axis {name} must be finite: infinity has no place on a grid")
        if not np.all(np.diff(values) > 0):
            raise ParameterError(f"the axis {name} must increase: sort its values and drop repeated ones")
    x, y = axes
    if dimension is not None:
        pools = bool(np.isfinite(point.distinct_tasks).any())
        for name in lines:
            refuse_at_dimension(name, (x, y), pools=pools)
    dataset = sweep(progress=progress, **everything)
    record = json.loads(dataset.attrs[PROVENANCE])
    record["parameters"]["lines"] = list(lines)
    dataset.attrs[PROVENANCE] = json.dumps(record, sort_keys=True)
    there = [name for name in (*PARAMETERS, *STRENGTHS) if name in dataset.coords and name not in axes]
    fixed: dict[str, Any] = {name: float(dataset[name]) for name in there}
    fixed |= {name: value for name, value in point.chosen.items() if name in (*WORDS, "model")}
    if dimension is not None:
        fixed |= {"dimension": dimension, "norm": point.norm, **point.layer.to_dict()}
    grid = (axes[x], axes[y])
    threshold = 1.0 if dimension is None or not point.last_row else 1 + 1 / dimension
    located = tuple(locate(name, axes=(x, y), grid=grid, fixed=fixed, threshold=threshold) for name in lines)
    return PhaseDiagram(dataset, x, y, located)
