"""``iclglass sweep``: the theory over a grid, or a simulation at every point of it, resumable, on any engine."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.errors import ParameterError
from iclglass.options import grid_parameters
from iclglass.output import DONE, NOT_CONVERGED, print_json, say

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["alone", "finish", "run"]

_OPTIONS = ("method", "draws", "steps", "learning_rate", "tolerance")
_SHOWN = 5
_OF_DATA_SETS = ("samples", "seed", "without_theory")
_ONLY_SIMULATED = (*_OF_DATA_SETS, *_OPTIONS, "workers", "dask", "mpi", "resume_anyway")


def run(values: Mapping[str, Any]) -> int:
    """Run a sweep of the theory, or what --simulate or --status asks for."""
    if values["status"] is not None:
        return _status(values)
    if values["simulate"] is not None:
        return _simulate(values)
    _refuse_simulated(values)
    from iclglass.numerics.plotting import draw_sweep, save_figure
    from iclglass.numerics.storage import save
    from iclglass.numerics.sweep import sweep
    from iclglass.progress import bar

    with alone(values), bar("solving") as advance:
        dataset = sweep(**grid_parameters(values), progress=advance)
        # Drawn before anything is written: a grid that cannot be drawn leaves no half of the output behind.
        figure = draw_sweep(dataset, observable=values["observable"]) if values["plot"] is not None else None
        save(dataset, values["out"], force=values["force"] or False)
        if figure is not None:
            save_figure(figure, values["plot"], force=values["force"] or False)
    return finish(dataset, values)


@contextmanager
def alone(values: Mapping[str, Any]) -> Iterator[None]:
    """Refuse outputs that cannot be written, and hold theirs against other sweeps until they are."""
    from iclglass.numerics.running.store import checkpoint_path, locked

    check_outputs(values)
    with locked(checkpoint_path(values["out"])):
        check_outputs(values)  # again: another sweep may have ended while we waited for its lock
        yield


def check_outputs(values: Mapping[str, Any], *, resumed: bool = False) -> None:
    """Refuse bad names and unwritable outputs before any work; ``resumed``: they may be there already, unfinished."""
    from iclglass.numerics.plotting import check_observable, check_picture
    from iclglass.numerics.storage import check_writable

    check_observable(values["observable"])
    if values["plot"] is not None:
        check_picture(values["plot"])
    # A picture follows from the data beside it.
    replaced = values["force"] or (resumed and (Path(values["out"]).exists() or _unfinished(values["out"])))
    for path in (values["out"], values["plot"]):
        if path is not None:
            check_writable(path, force=(resumed and path is values["out"]) or bool(replaced))
    if values["plot"] is not None and Path(values["plot"]).resolve() == Path(values["out"]).resolve():
        raise ParameterError(f"--plot and --out both name {values['out']}: choose two names")


def _unfinished(out: str) -> bool:
    from iclglass.numerics.running.store import checkpoint_path

    return checkpoint_path(out).exists()


def finish(dataset: "xr.Dataset", values: Mapping[str, Any]) -> int:
    """Say what was written and what became of the points; returns the exit code."""
    from iclglass.numerics.fixed_point import Status

    print(f"wrote {values['out']}" + (f" and {values['plot']}" if values["plot"] is not None else ""), file=sys.stderr)
    counts = _status_counts(dataset)
    if values.get("json"):
        print_json({"out": values["out"], "points": dataset["status"].size, "status": counts})
    else:
        for name, count in counts.items():
            print(f"{count} of {dataset['status'].size} points: {Status[name.upper()].sentence}")
    return DONE if set(counts) <= {"converged"} else NOT_CONVERGED


def _status_counts(dataset: "xr.Dataset") -> dict[str, int]:
    """Name of a status -> points that have it."""
    import numpy as np

    from iclglass.numerics.fixed_point import Status

    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    return {Status(code).name.lower(): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)}


def _refuse_simulated(values: Mapping[str, Any]) -> None:
    """Options that mean nothing without --simulate."""
    given = [f"--{name.replace('_', '-')}" for name in _ONLY_SIMULATED if values[name] is not None]
    if given:
        raise ParameterError(f"{', '.join(given)} needs --simulate (--simulate theory solves without drawing)")


def _simulate(values: Mapping[str, Any]) -> int:
    """Run or resume a simulated sweep; writes its netCDF file and picture."""
    from iclglass.numerics.plotting import save_figure
    from iclglass.numerics.running.engines import engine_name
    from iclglass.progress import bar
    from iclglass.validation.sweeping.plotting import draw_simulated, refuse_undrawable
    from iclglass.validation.sweeping.sweep import sweep_simulated

    out = Path(values["out"])
    check_outputs(values, resumed=True)
    if values["simulate"] == "theory":
        unused = [f"--{name.replace('_', '-')}" for name in _OF_DATA_SETS if values[name] is not None]
        if unused:
            raise ParameterError(f"--simulate theory draws no data sets: leave out {', '.join(unused)}")
    if values["plot"] is not None:
        refuse_undrawable(values["simulate"], values["observable"], grid_parameters(values))
    given = {name: values[name] for name in ("samples", "seed") if values[name] is not None}
    with bar("points") as advance:
        dataset = sweep_simulated(
            **grid_parameters(values),
            **given,
            **{name: values[name] for name in _OPTIONS},
            road=values["simulate"],
            theory=not values["without_theory"],
            executor=engine_name(values["dask"], mpi=values["mpi"]),
            workers=values["workers"],
            out=out,
            force=values["force"] or False,
            resume_anyway=values["resume_anyway"] or False,
            progress=advance,
            say=say,
        )
    if values["plot"] is not None:
        figure = draw_simulated(dataset, observable=values["observable"])
        save_figure(figure, values["plot"], force=True)
    print(f"wrote {out}" + (f" and {values['plot']}" if values["plot"] is not None else ""), file=sys.stderr)
    return _print_json(dataset, out) if values["json"] else _print_summary(dataset)


def _print_json(dataset: "xr.Dataset", out: Path) -> int:
    import json
    from dataclasses import asdict

    from iclglass.validation.sweeping.results import DIGEST, FAILURES, compare

    failures = json.loads(dataset.attrs[FAILURES])
    print_json(
        {
            "out": str(out),
            "points": dataset["status"].size,
            "status": _status_counts(dataset),
            "comparisons": [asdict(found) for found in compare(dataset)],
            "failures": failures,
            "digest": dataset.attrs[DIGEST],
        }
    )
    return NOT_CONVERGED if failures else DONE


def _print_summary(dataset: "xr.Dataset") -> int:
    """Theory against simulation over all points, the failures, the digest; returns the exit code."""
    import json

    from iclglass.validation.sweeping.results import DIGEST, FAILURES, compare

    compared = compare(dataset)
    for found in compared:
        print(
            f"{found.quantity:12s} against the theory: |z| < 2 at {100 * found.within_two:.0f} % of {found.points} "
            f"points, largest |z| {found.largest:.1f}"
        )
    if compared:
        print(
            f"(were means normal and the theory exact, a quantity had |z| above {compared[0].limit:.1f} once in 100 "
            "sweeps; few data sets and small D have neither: iclglass validate judges)"
        )
    failures = json.loads(dataset.attrs[FAILURES])
    for failure in failures[:_SHOWN]:
        print(f"point {failure['index']} {failure['status']}: {failure['message']}", file=sys.stderr)
    if len(failures) > _SHOWN:
        print(f"and {len(failures) - _SHOWN} more, in the attribute {FAILURES} of the output", file=sys.stderr)
    for name, count in _status_counts(dataset).items():
        print(f"{count} of {dataset['status'].size} points: {name.replace('_', ' ')}")
    print(f"digest {dataset.attrs[DIGEST]}")
    return NOT_CONVERGED if failures else DONE


def _status(values: Mapping[str, Any]) -> int:
    """Print how far a sweep is."""
    others = [f"--{name.replace('_', '-')}" for name in ("simulate", *_ONLY_SIMULATED) if values[name] is not None]
    if others:
        raise ParameterError(f"--status looks and does nothing else: leave out {', '.join(others)}")
    from dataclasses import asdict

    from iclglass.validation.sweeping.sweep import sweep_status

    found = sweep_status(values["status"])
    if values["json"]:
        print_json({**asdict(found), "writer": None if found.writer == "finished" else found.writer})
        return DONE
    state = "running" if found.running else "finished" if found.writer == "finished" else "not running"
    by = "" if found.writer == "finished" else f" ({found.writer})"
    print(f"{state}{by}: {found.finished} of {found.points} points, {found.failed} failed")
    if found.writer == "finished":
        return DONE
    now = time.time()
    if found.last is not None:
        print(f"last point {_duration(now - found.last)} ago, {_duration(found.seconds)} of work in all")
    if found.running and found.finished and found.last is not None:
        # Of this and earlier runs together: a sweep that lay still for a night is said to be slow.
        rate = found.finished / max(found.last - found.started, 1e-9)
        left = _duration((found.points - found.finished) / rate)
        print(f"{rate:.3g} points a second since it began, about {left} left")
    if not found.running:
        print("the same command goes on from there")
    return DONE


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
