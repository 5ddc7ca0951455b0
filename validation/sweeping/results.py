"""Results of a sweep as a labelled dataset: coordinates, units, status flags, standard errors, provenance, digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.deviations import z_scores
from iclglass.numerics.running.resuming import Program
from iclglass.numerics.running.store import Row
from iclglass.numerics.solution import DIAGNOSTICS, QUANTITIES, axis_coordinates, solved, status_flags
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, provenance
from iclglass.validation.statistics import bonferroni_threshold
from iclglass.validation.sweeping.evaluation import MODULES, THEORY_ENDS, columns, quantities_of
from iclglass.validation.sweeping.grid import Grid
from iclglass.validation.sweeping.points import SweepPoint

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DIGEST", "FAILURES", "Comparison", "compare", "digest", "to_dataset"]

DIGEST = "iclglass_digest"
FAILURES = "iclglass_failures"
_FALSE_ALARM = 0.01

_COUNTS = {
    "prompts": "prompts P = round(tau D^2) used",
    "context": "labelled tokens N = round(alpha D) used",
    "task_count": "distinct tasks K = round(kappa D) used; P where every prompt has its own",
    "seed_count": "independent data sets, each with random numbers of its own",
}


def to_dataset(grid: Grid, done: Mapping[Any, Row], *, programs: Sequence[Program] = ()) -> xr.Dataset:
    """The finished points of a grid; a point that is missing or failed is NaN, but for the theory beside it.

    Variables: each quantity of the road (mean over data sets), NAME_standard_error, NAME_theory and, where that
    averages over pools, NAME_theory_standard_error; status (CF flags);
    prompts, context, task_count, seed_count where data sets were drawn. CF links a quantity to the others by
    ``ancillary_variables``. Attributes: provenance, digest, and the failures as JSON: a list of {"index", "status",
    "message"}. programs: which have computed points, for the provenance.
    """
    import xarray as xr

    dims, shape = tuple(grid.axes), tuple(grid.axes.values())
    first = grid.points[0]
    names = columns(first.road, theory=first.theory, pools=first.pools, quantities=first.quantities)
    size = len(grid.points)
    table = np.full((size, len(names)), math.nan)
    beside = np.array([name.endswith(THEORY_ENDS) for name in names])
    status = np.full(size, int(Status.LOST), dtype=np.int8)
    for number, found in done.items():
        status[number] = found.status
        table[number] = np.where(beside | solved(found.status), found.values, np.nan)
    meanings = QUANTITIES | DIAGNOSTICS
    variables = {}
    for column, name in enumerate(names):
        base = _base(name, first.quantities or quantities_of(first.road))
        text = meanings[base] + _ENDINGS.get(name.removeprefix(base), "")
        attributes = {"long_name": text, "units": "1"}
        if name == base and first.road != "theory":
            attributes["ancillary_variables"] = " ".join([*_companions(base, names), "status"])
        variables[name] = xr.Variable(dims, table[:, column].reshape(shape), attributes)
    flags = {"long_name": "what became of the point", "units": "1", **status_flags()}
    variables["status"] = xr.Variable(dims, status.reshape(shape), flags)
    for name, text in _COUNTS.items() if first.dimension is not None else ():
        counts = np.array([_count(name, point) for point in grid.points], dtype=np.int64)
        variables[name] = xr.Variable(dims, counts.reshape(shape), {"long_name": text, "units": "1"})
    failures = [
        {"index": number, "status": Status(found.status).name.lower(), "message": found.message}
        for number, found in sorted(done.items())
        if not solved(found.status)
    ]
    attributes = {
        "title": f"iclglass sweep: {first.road}",
        "Conventions": "CF-1.11",
        PROVENANCE: provenance(grid.parameters, seed=first.seed, modules=MODULES, programs=programs),
        FAILURES: json.dumps(failures),
    }
    dataset = xr.Dataset(variables, coords=axis_coordinates(grid.product, dims), attrs=attributes)
    return dataset.assign_attrs({DIGEST: digest(dataset)})


_ENDINGS = {
    "_theory_standard_error": ": standard error of the theory, from averaging over pools",
    "_standard_error": ": standard error of the mean",
    "_theory": ": theory at the same sizes",
}


def _base(name: str, quantities: tuple[str, ...]) -> str:
    if name in quantities:
        return name
    return next(name.removesuffix(end) for end in _ENDINGS if name.endswith(end))


def _companions(base: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in {f"{base}{end}" for end in _ENDINGS}]


def _count(name: str, point: SweepPoint) -> int:
    own_tasks = point.task_count == 0
    return {
        "prompts": point.prompts,
        "context": point.context,
        "task_count": point.prompts if own_tasks else point.task_count,
        "seed_count": point.samples,
    }[name]


def digest(dataset: xr.Dataset) -> str:
    """SHA-256 over names, dimensions, types and bytes of all variables and coordinates: equal results, equal digest.

    Attributes are left out: they hold the time.

    >>> import xarray as xr
    >>> one = xr.Dataset({"m": ("ridge", np.array([1.0, np.nan]))}, coords={"ridge": [0.0, 1.0]})
    >>> digest(one) == digest(one.copy(deep=True)), digest(one) == digest(-one)
    (True, False)
    """
    total = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        # Bytes in one order on every machine.
        array = np.ascontiguousarray(variable.values, dtype=variable.dtype.newbyteorder("<"))
        total.update(f"{name} {variable.dims} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Comparison:
    """One quantity of a sweep against the theory, over its points.

    points : compared.    within_two : part with |z| < 2, 0.954 by chance.    largest : |z|.
    limit : of ``largest``, exceeded by chance once in 100 sweeps (Bonferroni).

    z is the normal deviate of the same probability as Student's t of the mean, so that few data sets do not widen it.
    """

    quantity: str
    points: int
    within_two: float
    largest: float
    limit: float


def compare(dataset: xr.Dataset) -> list[Comparison]:
    """Simulation against the theory beside it, for every quantity where both are, once.

    The finite-size theory neglects terms of relative order 1/D^2: with many data sets at small D they are seen.
    """
    rows = []
    seen: set[bytes] = set()
    for name in QUANTITIES:
        # Without temperature, or without a pool, some are the same number under two names.
        if name not in dataset or (key := dataset[name].values.tobytes()) in seen:
            continue
        seen.add(key)
        z = z_scores(dataset, name)
        z = z[~np.isnan(z)]
        if z.size:
            size = np.abs(z)
            limit = bonferroni_threshold(_FALSE_ALARM, z.size)
            rows.append(Comparison(name, z.size, float(np.mean(size < 2)), float(size.max()), limit))
    return rows
