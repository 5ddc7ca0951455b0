"""sweep_simulated(...): a simulation at every point of a grid, on any engine; sweep_status(...): how far it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from iclglass.numerics.arguments import check_callable, check_flag, check_path
from iclglass.numerics.errors import OutputError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.parameters import Given
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.resuming import program
from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Key, Progress, Row, checkpoint_path, open_store, read_progress
from iclglass.numerics.solution import solved
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, check_writable, load, provenance, save
from iclglass.validation.sweeping.evaluation import MODULES, columns, evaluate
from iclglass.validation.sweeping.grid import Grid, make_grid
from iclglass.validation.sweeping.points import SweepPoint
from iclglass.validation.sweeping.results import DIGEST, digest, to_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sweep_simulated", "sweep_status"]


@partial(spelled_out, names=[name for name in Given.__annotations__ if name != "tasks"])
def sweep_simulated(
    *,
    road: str = "simulation",
    samples: int = 8,
    seed: int = 0,
    theory: bool = True,
    method: str | None = None,
    draws: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    tolerance: float | None = None,
    executor: Executor | str | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
    resume_anyway: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    **given: Unpack[Given],
) -> xr.Dataset:
    """Simulate, or solve, every point of the product of all parameters given as one-dimensional arrays.

    On machines of one kind (processor, BLAS) results are the same, bit for bit, on every engine, in every order, with
    any number of workers, and however often the sweep was interrupted: the random numbers of a data set follow from
    what its point is, the seed, and its index. Source: this project, notes/scaling.md.

    Parameters
    ----------
    road : str
        "simulation" (data sets, exact linear algebra: every quantity), "message-passing" (means of GAMP), "sampling"
        (weights drawn; temperature > 0), "training" (gradient descent to the ground state), "theory" (nothing drawn;
        for points that take long: pools at finite dimension).
    samples, seed : int
        Independent data sets at each point, >= 1 (a standard error needs two); of all random numbers, >= 0.
    theory : bool
        Also solve the theory, at the same integers P, N, K and D, beside what is simulated.
    method : str, optional
        Of message passing ("gamp", "exact", "tap", "published") or sampling ("exact", "heat-bath", "langevin", "mala",
        "hmc").
    draws : int, optional
        Of each of two chains of "sampling", default 200.
    steps, learning_rate, tolerance : optional
        Of "training": most steps (default 100000), step size (default half the largest stable one), relative gradient
        to reach (default 1e-6). steps and tolerance also of "message-passing", where the default is the method's.
    executor : Executor or str, optional
        Where points are computed: None or "serial", "processes", "dask", "dask:ADDRESS", "mpi", or any
        `concurrent.futures.Executor`, which is not shut down.
    workers : int, optional
        Processes, for "processes" and "dask"; given without executor, more than one means "processes"; with an executor
        of yours how many it has, which decides how many points are kept in flight.
    out : path, optional
        netCDF file to write. Finished points are kept in ``out``.checkpoint until it is written: the same call goes on
        where one that was interrupted or killed stopped. Points that were lost are tried again then. A finished output
        of the same call is read, not computed again.
    force, resume_anyway : bool
        Replace what is there, checkpoint included; go on from what another version of the program has left, which the
        provenance names.
    progress, say : callable, optional
        Called with (points finished, points in all), and with a sentence on what happens.
    **given
        Fields of `Parameters`, as for `numerics.sweep.sweep`; a dimension (>= 4) is needed where data sets are drawn.

    Returns
    -------
    xarray.Dataset
        A variable for each quantity (mean over data sets), NAME_standard_error and NAME_theory, status (CF flags), the
        integers used, provenance, digest. A failed point is NaN, but for the theory; its message is in the attribute
        ``iclglass_failures``.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input, an executor that takes no work, or a checkpoint of other parameters.
    OutputError
        A file that cannot be written or is damaged, another run at work on it, a scheduler that is not there, workers
        that cannot start.
    WorkerError
        A worker of an executor that is not ours died, or its scheduler is gone.
    KeyboardInterrupt
        After Ctrl-C, with the points that ran finished.

    Examples
    --------
    >>> found = sweep_simulated(task_diversity=[0.5, 2.0], context_length=1.0, dimension=6, samples=4)
    >>> found.e_icl.dims, bool((found.e_icl_standard_error > 0).all())
    (('task_diversity',), True)
    """
    if out is not None:
        check_path("out", out)
    check_flag("force", force)
    check_flag("resume_anyway", resume_anyway)
    check_callable("progress", progress)
    check_callable("say", say)
    grid = make_grid(
        given,
        road=road,
        samples=samples,
        seed=seed,
        theory=theory,
        method=method,
        options={"draws": draws, "steps": steps, "learning_rate": learning_rate, "tolerance": tolerance},
    )
    first = grid.points[0]
    names = columns(first.road, theory=first.theory, pools=first.pools, quantities=first.quantities)
    path = None if out is None else checkpoint_path(out)
    if out is not None and not force:
        finished = _finished(Path(out), grid)
        if finished is not None:
            if say is not None:
                say(f"{out} is finished: it is read, not computed again")
            return finished
    _check_output(out, force=force)
    # The engine first: one that is not there must not cost what was finished.
    with (
        make_engine(executor, workers=workers) as engine,
        open_store(
            path,
            "sweep",
            grid.parameters,
            program(*MODULES),
            total=len(grid.points),
            width=len(names),
            fresh=force,
            resume_anyway=resume_anyway,
        ) as store,
    ):
        _check_output(out, force=force)  # again: another sweep may have ended while we waited for its lock
        for number in [number for number, row in store.done.items() if row.status == Status.LOST]:
            del store.done[number]

        def lost(reason: str) -> Row:
            return Row(np.full(len(names), np.nan), Status.LOST, reason)

        tasks: dict[Key, SweepPoint] = dict(enumerate(grid.points))
        run(tasks, evaluate, store=store, engine=engine, lost=lost, progress=progress, say=say)
        dataset = to_dataset(grid, store.done, programs=store.programs)
        if out is not None:
            save(dataset, out, force=True)
            if not any(row.status == Status.LOST for row in store.done.values()):
                store.remove()
    return dataset


def _check_output(out: str | Path | None, *, force: bool) -> None:
    if out is not None:
        # An output beside its checkpoint is that of a sweep with lost points, which are tried again.
        check_writable(out, force=force or checkpoint_path(out).exists())


def _finished(out: Path, grid: Grid) -> xr.Dataset | None:
    """What is there, if it is this sweep by this program, whole: the same command then has nothing left to do."""
    if not out.is_file() or checkpoint_path(out).exists():
        return None
    here = json.loads(provenance(grid.parameters, modules=MODULES))
    try:
        dataset = load(out)
        there = json.loads(dataset.attrs[PROVENANCE])
        same = all(there[name] == here[name] for name in ("parameters", "versions", "source"))
    except (OutputError, KeyError, TypeError, ValueError):
        return None
    return dataset if same and dataset.attrs.get(DIGEST) == digest(dataset) else None


def sweep_status(out: str | Path) -> Progress:
    """How far the sweep with this output is: running, interrupted or killed, or finished.

    out : the output file, or its checkpoint.

    Raises OutputError: neither exists, or the file is damaged or foreign.

    >>> sweep_status("nothing.nc")
    Traceback (most recent call last):
    iclglass.numerics.errors.OutputError: neither nothing.nc nor nothing.nc.checkpoint exists: no sweep was begun there
    """
    path = check_path("out", out)
    if path.name.endswith(".checkpoint"):
        return read_progress(path, "sweep")
    checkpoint = checkpoint_path(path)
    if checkpoint.exists():
        return read_progress(checkpoint, "sweep")
    if not path.exists():
        raise OutputError(f"neither {path} nor {checkpoint} exists: no sweep was begun there")
    dataset = load(path)
    if "status" not in dataset:
        raise OutputError(f"{path} is not the output of a sweep")
    status = dataset["status"].values
    written = path.stat().st_mtime
    return Progress(
        points=status.size,
        finished=status.size,
        failed=int(np.count_nonzero(~solved(status))),
        running=False,
        writer="finished",
        started=written,
        last=written,
        seconds=math.nan,
    )
