"""What the theory returns over a grid: order parameters, observables and diagnostics, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import is_data_array
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, Parameters
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COUNTS",
    "DIAGNOSTICS",
    "OBSERVABLES",
    "OF_MODELS",
    "QUANTITIES",
    "SENTENCES",
    "Solution",
    "axis_coordinates",
    "solved",
    "status_flags",
]

Array = NDArray[np.float64]

OBSERVABLES: dict[str, str] = {
    "m": "magnetization Tr W / D",
    "q": "overlap of two replicas",
    "q_self": "self-overlap q + T chi",
    "chi": "susceptibility",
    "e_icl": "squared error on a new task",
    "e_icl_gibbs": "squared error on a new task, weights drawn at temperature T",
    "e_idg": "squared error on a new prompt of the pretraining law",
    "e_train": "squared error on the pretraining prompts",
    "contrast": "contrast ratio",
    "free_energy": "free energy -T ln Z/D^2",
    "energy": "mean energy <H>",
    "entropy": "differential entropy over D^2",
    "replicon": "replicon (> 0: replica symmetry is stable)",
}

OF_MODELS: dict[str, str] = {
    "test_loss": "mean loss of a new prompt",
    "train_loss": "mean loss of the pretraining prompts",
    "error_rate": "share of new labels of the wrong sign",
    "density": "share of weights that are not 0",
    "density_off_diagonal": "share of weights off the diagonal that are not 0",
    "rank": "share of singular values that are not 0",
    "q1": "overlap of two replicas of one cluster",
    "q0": "overlap of two replicas of different clusters",
    "parisi": "Parisi parameter x/T",
    "complexity": "logarithm of the number of clusters over D^2",
    "solutions": "saddle points found from several starts, of which the one of least free energy is given",
}
"""Beside those, where the model that was chosen has them. Ridge regression has none: its loss is half of e_icl."""

QUANTITIES = OBSERVABLES | OF_MODELS

DIAGNOSTICS: dict[str, str] = {
    "residual": "largest relative residual of the equations",
    "error_bound": "bound on the relative error of chi, m, q; of pools at finite D: half of a 95 % interval",
}

COUNTS: dict[str, str] = {
    "prompts": "prompts P = round(tau D^2) used",
    "context": "labelled tokens N = round(alpha D) used",
    "task_count": "distinct tasks K = round(kappa D) used",
}
"""At finite D: the integers of a point; K = P where every prompt has its own task."""


SENTENCES: dict[Status, str] = {
    Status.CONVERGED: "converged",
    Status.DIVERGES: (
        "diverges at the interpolation threshold without ridge (tau = 1; at finite D as many prompts as spins; there "
        "also one or two tokens, or a single noiseless task): take lam > 0 or another tau"
    ),
    Status.NOT_CONVERGED: (
        "not converged: the residual is above the tolerance; take a larger ridge, or, if method 'iteration' was asked "
        "for, 'closed-form'; without a ridge, or with discrete spins at T = 0, few prompts are all satisfied, chi is "
        "infinite and there may be no solution: take temperature > 0"
    ),
    Status.NOT_FINITE: (
        "not finite: beyond floating-point range, or no root in the bracket; bring the parameters nearer to 1"
    ),
    Status.FAILED: "failed: an error while it was computed, kept among the failures of the dataset",
    Status.RS_UNSTABLE: (
        "replica symmetry is unstable (replicon < 0), and the numbers are not exact: those of the symmetric ansatz, or "
        "with ansatz = '1rsb' those of one step of breaking, which are nearer"
    ),
    Status.LOST: "lost: its worker died every time, or memory was short; take fewer workers, or smaller sizes",
}
"""What became of a point, in the words of the model, with what to do."""


def solved(status: Any) -> NDArray[np.bool_]:
    """Where a point has numbers: converged, also where replica symmetry is unstable.

    >>> solved(np.array([Status.CONVERGED, Status.RS_UNSTABLE, Status.DIVERGES])).tolist()
    [True, True, False]
    """
    found: NDArray[np.bool_] = (status == Status.CONVERGED) | (status == Status.RS_UNSTABLE)
    return found


class Arrays:
    """What every result over a grid can do: a dataclass of arrays, beside which other fields may stand."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    status: Any

    def to_dict(self) -> dict[str, Any]:
        """Name -> array, in the order of the attributes, of those that there are."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in found.items() if value is not None and name not in _NO_ARRAYS}

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Where the status is CONVERGED."""
        converged: NDArray[np.bool_] = self.status == Status.CONVERGED
        return converged

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Where there are numbers: the status is CONVERGED or RS_UNSTABLE."""
        return solved(self.status)


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Arrays):
    """The solved theory at every point of a grid.

    All arrays have the shape of the parameters. A point that failed is NaN everywhere and its status says why. What
    does not exist is NaN: the entropy at temperature 0. chi (and, at T > 0, what contains it) is infinite in the
    ridgeless limit below the interpolation threshold, where some directions are flat.

    Attributes
    ----------
    parameters : Parameters
        What was solved.
    m, q, q_self, chi : ndarray
        Order parameters, notes/notation.md; at finite D those of the D x D block.
    e_icl, e_icl_gibbs, e_idg, e_train : ndarray
        Squared errors; e_icl_gibbs is for weights drawn at temperature T, the others for the mean weights. Without a
        pool of tasks every prompt has a new task, and e_idg is e_icl at the pretraining context length.
    contrast : ndarray
        m/sqrt(q), the contrast ratio of SG Fig. 4 at large D; at finite D m D/sqrt((D + 1)(D q + D v_2)), a ratio of
        means, without last row m/sqrt(q).
    free_energy, energy, entropy : ndarray
        -(T/D^2) ln Z over sqrt(D) W (at finite D also over D s W_last, s the size of the last feature); <H>;
        (energy - free_energy)/T.
    replicon : ndarray
        Stability of replica symmetry; at finite D 1 - largest eigenvalue of the response of (v_1, v_2) to itself.
    residual : ndarray
        Largest relative residual of the equations.
    error_bound : ndarray
        Bound on the relative error of chi, m and q, to first order in the residual. At finite D, where pools are
        averaged over, half of the widest relative 95 % interval of m, q, e_icl, e_idg and e_train; else NaN.
    status : ndarray of int8
        Codes of `numerics.status.Status`.
    test_loss, train_loss, error_rate, density, density_off_diagonal, rank, solutions : ndarray or None
        `OF_MODELS`, of a chosen model; None where it has none. Without linear labels the squared errors are NaN.
    q1, q0, parisi, complexity : ndarray or None
        With ``ansatz="1rsb"``; where nothing breaks q1 = q0 = q, and parisi is NaN.
    last_row : ndarray or None
        At finite D: |W_last|^2 = D v_2; 0 without last row.
    prompts, context, task_count, dimension : ndarray of int64, or None
        At finite D: the integers used, `COUNTS`, and D.
    standard_errors : Mapping
        At finite D: name -> standard error of that quantity from averaging over pools; NaN where nothing is.
    """

    parameters: Parameters
    m: Array
    q: Array
    q_self: Array
    chi: Array
    e_icl: Array
    e_icl_gibbs: Array
    e_idg: Array
    e_train: Array
    contrast: Array
    free_energy: Array
    energy: Array
    entropy: Array
    replicon: Array
    residual: Array
    error_bound: Array
    status: NDArray[np.int8]
    test_loss: Array | None = None
    train_loss: Array | None = None
    error_rate: Array | None = None
    density: Array | None = None
    density_off_diagonal: Array | None = None
    rank: Array | None = None
    q1: Array | None = None
    q0: Array | None = None
    parisi: Array | None = None
    complexity: Array | None = None
    solutions: Array | None = None
    last_row: Array | None = None
    prompts: NDArray[np.int64] | None = None
    context: NDArray[np.int64] | None = None
    task_count: NDArray[np.int64] | None = None
    dimension: NDArray[np.int64] | None = None
    standard_errors: Mapping[str, Array] = field(default_factory=dict)

    def to_dataset(self, dims: tuple[str, ...] | None = None) -> "xr.Dataset":
        """The quantities and parameters with their meanings, units and provenance.

        Parameters
        ----------
        dims : tuple of str, optional
            Names of the axes. An axis called as a parameter has its values as coordinate. Default: those of the
            DataArrays that were given, else ``dim_0``, ``dim_1`` ...

        Returns
        -------
        xarray.Dataset

        Examples
        --------
        >>> from iclglass import solve
        >>> solve(task_diversity=[1, 2], context_length=1).to_dataset(("task_diversity",)).sizes["task_diversity"]
        2
        """
        import xarray as xr

        from iclglass.numerics.storage import PROVENANCE, provenance

        if dims is not None and len(dims) != np.ndim(self.status):
            raise ParameterError(f"dims = {dims!r} must name {np.ndim(self.status)} axes")
        if dims is None or is_data_array(self.status):
            dims = getattr(self.status, "dims", tuple(f"dim_{axis}" for axis in range(np.ndim(self.status))))
        meanings = {**QUANTITIES, **DIAGNOSTICS, "status": "what became of the point", **COUNTS}
        present = {name: text for name, text in meanings.items() if getattr(self, name) is not None}
        variables = {
            name: xr.Variable(dims, np.asarray(getattr(self, name)), {"long_name": text, "units": "1"})
            for name, text in present.items()
        }
        variables["status"].attrs.update(status_flags())
        origin = provenance(self.parameters.record(), modules=["iclglass.numerics.sweep"])
        attributes = {"title": "iclglass solution", PROVENANCE: origin}
        coordinates = {**axis_coordinates(self.parameters, dims), **getattr(self.status, "coords", {})}
        return xr.Dataset(variables, coords=coordinates, attrs=attributes)

    def __repr__(self) -> str:
        done, points = int(np.sum(self.solved)), int(np.size(self.status))
        unstable = done - int(np.sum(self.converged))
        more = f", {unstable} of them where replica symmetry is unstable" if unstable else ""
        lines = [f"<iclglass.Solution: {done} of {points} points converged{more}>"]
        for name in ("m", "q", "e_icl", "e_idg", "e_train", *OF_MODELS):
            if getattr(self, name) is None:
                continue
            values = np.asarray(getattr(self, name))
            good = values[np.isfinite(values)]
            text = "none" if not good.size else f"{good.min():.6g}" + (f" .. {good.max():.6g}" if points > 1 else "")
            lines.append(f"  {name:8s} {text:24s} {QUANTITIES[name]}")
        return "\n".join([*lines, "  more: .to_dict(), .to_dataset()"])

    def _repr_html_(self) -> str:
        return str(self.to_dataset()._repr_html_())


_NO_ARRAYS = ("parameters", "standard_errors")


def status_flags() -> dict[str, object]:
    """CF attributes of a variable of status codes.

    >>> status_flags()["flag_meanings"].split()[:2]
    ['converged', 'diverges']
    """
    flags = np.array([status.value for status in Status], dtype=np.int8)
    return {"flag_values": flags, "flag_meanings": " ".join(status.name.lower() for status in Status)}


def axis_coordinates(parameters: Parameters, dims: tuple[str, ...]) -> "dict[str, xr.Variable]":
    """The parameters of a grid with their meaning: axes as such, numbers as scalars, others over the whole grid.

    A test context length that follows that of pretraining is none.
    """
    import xarray as xr

    coordinates = {}
    chosen = parameters.chosen
    for name in (*PARAMETERS, *(name for name in STRENGTHS if name in chosen), "dimension"):
        value = getattr(parameters, name)
        if value is None:
            continue
        meaning, symbol = ("token dimension", "D") if name == "dimension" else _described(name)
        attributes = {"long_name": meaning, "units": "1", "symbol": symbol}
        varying = parameters.varying(name)
        if varying.ndim == 0:
            coordinates[name] = xr.Variable((), float(varying), attributes)
        elif name in dims:
            along = dims.index(name)  # a parameter given over the whole grid is read off along its own axis
            line = value[tuple(slice(None) if axis == along else 0 for axis in range(len(dims)))]
            if np.any(np.moveaxis(value, along, -1) != line):
                raise ParameterError(f"{name} varies along other dimensions than its own: rename the dimension {name}")
            coordinates[name] = xr.Variable(name, line, attributes)
        else:
            coordinates[name] = xr.Variable(dims, value, attributes)
    return coordinates


def _described(name: str) -> tuple[str, str]:
    known = (PARAMETERS | STRENGTHS)[name]
    return known.meaning, known.symbol
