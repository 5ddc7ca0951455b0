"""``iclglass sweep``: the theory over a grid, or a simulation at every point of it, resumable, on any engine."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.cli.kinds import FILE, INTEGER, NUMBER, TEXT
from iclglass.cli.options import ANYWAY, ENGINE, JSON, command, engine, given, option, some, swept, switch, theory
from iclglass.cli.output import EXIT_DONE, EXIT_NOT_CONVERGED, check_outputs, print_json, say, say_written
from iclglass.cli.progress import bar
from iclglass.numerics.errors import OutputError, ParameterError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["alone", "check_files", "finish", "sweep"]

_OPTIONS = ("method", "draws", "steps", "learning_rate", "tolerance")
_SHOWN = 5
_OF_DATA_SETS = ("samples", "seed", "without_theory")
_ONLY_SIMULATED = (*_OF_DATA_SETS, *_OPTIONS, "workers", "dask", "mpi", "resume_anyway")


@command(
    *swept(waived_by="status"),
    option(
        "--simulate [ROAD]",
        TEXT,
        "at every point: simulation (data sets drawn, exact linear algebra; when no ROAD is given), "
        "message-passing, sampling, training, or theory (nothing drawn, but resumable and on any "
        "engine)",
        is_flag=False,
        flag_value="simulation",
    ),
    option("--samples", INTEGER, "independent data sets at each point, >= 1 (default: 8)"),
    option("--seed SEED", INTEGER, "seed of all random numbers, >= 0 (default: 0)"),
    switch("--without-theory", "do not solve the theory beside what is simulated"),
    option(
        "--method METHOD",
        TEXT,
        "message-passing: gamp, exact, tap or published; sampling: exact, heat-bath, langevin, mala "
        "or hmc (default: the first)",
    ),
    option("--draws", INTEGER, "sampling: draws of each of two chains (default: 200)"),
    option("--steps", INTEGER, "training, message-passing: most steps (default: 100000; the method's)"),
    option("--learning-rate", NUMBER, "training: step size (default: half the largest stable one)"),
    option("--tolerance", NUMBER, "training, message-passing: relative residual to reach"),
    *ENGINE,
    ANYWAY,
    switch("--baselines", "draw Bayes estimators beside e_icl or e_idg over one axis (see iclglass baselines)"),
    option("--status", FILE, "say how far the sweep with this output is, and nothing else", is_eager=True),
    JSON,
    example="iclglass sweep --tau 0.1:4:200 --alpha 0.2:20:100:log --lam 0.1 --out sweep.nc --plot sweep.png\n"
    "iclglass sweep --simulate --tau 0.2:4:20 --alpha 0.5:4:10 --dimension 16 --workers 2 --out simulated.nc\n"
    "iclglass sweep --status simulated.nc\n"
    "(grids: START:STOP:COUNT, both ends included; :log for logarithmic)",
)
def sweep(**values: Any) -> int:
    """Solve, or simulate, over a grid, into a netCDF file.

    With --simulate data sets are drawn at every point, beside the theory; the same command goes on with an unfinished
    sweep. --status says how far it is.
    """
    if values["status"] is not None:
        return _status(values)
    if values["simulate"] is not None:
        return _simulate(values)
    if unused := given(*_ONLY_SIMULATED):
        raise ParameterError(f"{', '.join(unused)} needs --simulate (--simulate theory solves without drawing)")
    from iclglass.numerics.plotting import draw_sweep, save_figure
    from iclglass.numerics.storage import save
    from iclglass.numerics.sweep import sweep

    with alone(values), bar("solving") as advance:
        dataset = sweep(**theory(values), progress=advance)
        others = _baselines(values, theory(values))
        # Drawn before anything is written: a grid that cannot be drawn leaves no half of the output behind.
        figure = (
            draw_sweep(dataset, observable=values["observable"], beside=others) if values["plot"] is not None else None
        )
        save(dataset, values["out"], force=values["force"])
        if figure is not None:
            save_figure(figure, values["plot"], force=values["force"])
    return finish(dataset, values)


@contextmanager
def alone(values: Mapping[str, Any]) -> Iterator[None]:
    """Refuse outputs that cannot be written, and hold theirs against other sweeps until they are."""
    from iclglass.numerics.running.store import checkpoint_path, drop, locked

    check_files(values)
    unfinished = checkpoint_path(values["out"])
    with locked(unfinished, values["out"]):
        check_files(values)  # again: another sweep may have ended while we waited for its lock
        # Its own command, when it goes on, would replace what we write.
        if unfinished.exists() and not values["force"]:
            raise OutputError(
                f"{unfinished} holds an unfinished sweep --simulate: finish it with the same command, choose another "
                "output, or --force to drop it"
            )
        yield
        drop(unfinished)


def check_files(values: Mapping[str, Any], **more: Any) -> None:
    """Refuse an unknown quantity to draw, bad names and unwritable outputs before any work."""
    from iclglass.numerics.plotting import check_observable

    check_observable(values["observable"])
    check_outputs(values, {"out": (".nc",)}, **more)


def finish(dataset: "xr.Dataset", values: Mapping[str, Any]) -> int:
    """Say what was written and what became of the points; returns the exit code."""
    from iclglass.numerics.solution import SENTENCES
    from iclglass.numerics.status import Status

    say_written(values["out"], values["plot"])
    counts = _status_counts(dataset)
    if unstable := counts.get("rs_unstable"):
        say(f"{unstable} of {dataset['status'].size} points: {SENTENCES[Status.RS_UNSTABLE]}")
    if values.get("json"):
        print_json({"out": values["out"], "points": dataset["status"].size, "status": counts})
    else:
        for name, count in counts.items():
            print(f"{count} of {dataset['status'].size} points: {SENTENCES[Status[name.upper()]]}")
    return EXIT_DONE if set(counts) <= {"converged", "rs_unstable"} else EXIT_NOT_CONVERGED


def _status_counts(dataset: "xr.Dataset") -> dict[str, int]:
    """Name of a status -> points that have it."""
    import numpy as np

    from iclglass.numerics.status import Status

    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    return {Status(code).name.lower(): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)}


def _simulate(values: Mapping[str, Any]) -> int:
    """Run or resume a simulated sweep; writes its netCDF file and picture."""
    from iclglass.numerics.plotting import draw_sweep, save_figure
    from iclglass.numerics.running.store import checkpoint_path
    from iclglass.validation.sweeping.evaluation import refuse_undrawable
    from iclglass.validation.sweeping.sweep import sweep_simulated

    out = Path(values["out"])
    begun = out.exists() or checkpoint_path(out).exists()
    # A picture follows from the data beside it.
    check_files(values, resumed=("out", "plot") if begun else ("out",))
    if values["simulate"] == "theory" and (unused := given(*_OF_DATA_SETS)):
        raise ParameterError(f"--simulate theory draws no data sets: leave out {', '.join(unused)}")
    law = theory(values)
    if values["plot"] is not None:
        refuse_undrawable(values["simulate"], values["observable"], law)
    others = _baselines(values, law)
    with bar("points") as advance:
        dataset = sweep_simulated(
            **law,
            **some(values, ("samples", "seed")),
            **{name: values[name] for name in _OPTIONS},
            road=values["simulate"],
            theory=not values["without_theory"],
            **engine(values),
            out=out,
            force=values["force"],
            resume_anyway=values["resume_anyway"],
            progress=advance,
            say=say,
        )
    if values["plot"] is not None:
        figure = draw_sweep(dataset, observable=values["observable"], beside=others)
        save_figure(figure, values["plot"], force=True)
    say_written(out, values["plot"])
    return _finish_simulated(dataset, values)


def _baselines(values: Mapping[str, Any], law: Mapping[str, Any]) -> dict[str, Any]:
    """Lines to draw beside the curve, where they are asked for."""
    if not values["baselines"]:
        return {}
    if values["plot"] is None:
        raise ParameterError("--baselines is drawn: give --plot, or see iclglass baselines")
    from iclglass.cli.baselines import drawn_beside

    return drawn_beside(law, values["observable"])


def _finish_simulated(dataset: "xr.Dataset", values: Mapping[str, Any]) -> int:
    """Theory against simulation over all points, the failures, the digest; returns the exit code."""
    import json
    from dataclasses import asdict

    from iclglass.validation.sweeping.results import DIGEST, FAILURES, compare

    points, counts, compared = dataset["status"].size, _status_counts(dataset), compare(dataset)
    failures, digest = json.loads(dataset.attrs[FAILURES]), dataset.attrs[DIGEST]
    code = EXIT_NOT_CONVERGED if failures else EXIT_DONE
    if values["json"]:
        record = {"comparisons": [asdict(found) for found in compared], "failures": failures, "digest": digest}
        print_json({"out": values["out"], "points": points, "status": counts, **record})
        return code
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
    for failure in failures[:_SHOWN]:
        print(f"point {failure['index']} {failure['status']}: {failure['message']}", file=sys.stderr)
    if len(failures) > _SHOWN:
        print(f"and {len(failures) - _SHOWN} more, in the attribute {FAILURES} of the output", file=sys.stderr)
    for name, count in counts.items():
        print(f"{count} of {points} points: {name.replace('_', ' ')}")
    print(f"digest {digest}")
    return code


def _status(values: Mapping[str, Any]) -> int:
    """Print how far a sweep is."""
    if others := given("simulate", *_ONLY_SIMULATED):
        raise ParameterError(f"--status looks and does nothing else: leave out {', '.join(others)}")
    from dataclasses import asdict

    from iclglass.validation.sweeping.sweep import sweep_status

    found = sweep_status(values["status"])
    if values["json"]:
        print_json({**asdict(found), "writer": None if found.writer == "finished" else found.writer})
        return EXIT_DONE
    state = "running" if found.running else "finished" if found.writer == "finished" else "not running"
    by = "" if found.writer == "finished" else f" ({found.writer})"
    print(f"{state}{by}: {found.finished} of {found.points} points, {found.failed} failed")
    if found.writer == "finished":
        return EXIT_DONE
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
    return EXIT_DONE


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
