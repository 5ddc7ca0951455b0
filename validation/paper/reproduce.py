"""reproduce(...): one figure of the paper into a folder: data file, pictures, verdict.

NAME.nc holds the simulated data with its parameters. It is read, not simulated again, when it is there with the same
parameters. The parts of a long simulation are kept in NAME.nc.checkpoint (`numerics.running.store`), which is removed
when the whole is written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from iclglass.numerics.arguments import check_count
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running.engines import Engine, make_engine
from iclglass.numerics.running.resuming import Program, differences, program, versions
from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Row, checkpoint_path, open_store
from iclglass.numerics.storage import PROVENANCE, check_writable, from_bytes, load, provenance, save, to_bytes
from iclglass.validation.paper.catalogue import get
from iclglass.validation.paper.figure import Verdict
from iclglass.validation.paper.published import Published, read_published
from iclglass.validation.paper.simulating import Parts
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, check_largest_unseen_bias

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["reproduce"]


def reproduce(
    name: str,
    *,
    scale: str = "quick",
    published: str | Path | None = None,
    out: str | Path,
    seed: int = 0,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    force: bool = False,
    resume_anyway: bool = False,
    executor: Executor | Engine | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Verdict:
    """Simulate, or read what was simulated, draw and judge one figure.

    Parameters
    ----------
    name
        "fig-1" .. "fig-S8".
    scale
        "quick" (reduced, seconds) or "full" (the paper's parameters and repeats).
    published
        Root of a copy of the authors' repository, whose data are overlaid; files that are missing, damaged or of an
        unexpected shape are named in the verdict's remarks.
    out
        An existing folder; NAME.nc, NAME.png and NAME.pdf are written there.
    seed
        Of all random numbers, >= 0.
    largest_unseen_bias
        Theory and simulation agree only if a relative bias of this size would have been seen.
    force
        Simulate anew and replace what is there.
    resume_anyway
        Use parts that another version of the program has left; the data's provenance names both.
    executor, workers
        Where the parts are computed, as in `validation.sweeping.sweep.sweep_simulated`; the data do not depend on it.
    progress, say
        Called with (parts done, parts in all), and with a sentence on what happens.

    Raises
    ------
    ParameterError, ParameterTypeError
        Unknown figure or scale; data of other parameters in the folder.
    OutputError
        A file that cannot be read or written; ``published`` without the authors' layout; an engine that is not there.
    WorkerError, KeyboardInterrupt
        A worker died each time that it computed a part; Ctrl-C. The parts that were finished are kept.
    """
    figure = get(name)
    given = figure.checked_parameters(scale)
    parameters = _plain({"figure": figure.name, "scale": scale, **given})
    seed = check_count("seed", seed, minimum=0)
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    # Before any work: what is given must be readable, what is made writable.
    arrays = read_published(published, figure.published) if published is not None else Published()
    folder = Path(out)
    file = check_writable(folder / f"{figure.name}.nc", force=True)
    pictures = [folder / f"{figure.name}.{kind}" for kind in ("png", "pdf")]
    for picture in pictures:
        # Pictures follow from the data beside them; without data they are someone else's.
        check_writable(picture, force=force or file.exists())
    modules = [figure.simulate.__module__]
    here: Program = {**program(*modules), **versions(*_TRAINERS)}
    remarks: tuple[str, ...] = ()
    if file.exists() and not force:
        data = load(file)
        remarks = _remarks(file, data, {**parameters, "seed": seed}, here)
    else:
        with (
            make_engine(executor, workers=workers) as engine,
            open_store(
                checkpoint_path(file),
                "figure",
                {**parameters, "seed": seed},
                here,
                fresh=force,
                resume_anyway=resume_anyway,
            ) as store,
        ):

            def compute(parts: Parts) -> list[xr.Dataset]:
                run(parts, _part, store=store, engine=engine, progress=progress, say=say)
                return [from_bytes(store.done[key].values.tobytes()) for key in parts]

            data = figure.simulate(given, seed, compute)
            data.attrs[PROVENANCE] = provenance(parameters, seed=seed, modules=modules, programs=store.programs)
            save(data, file, force=force)
            store.remove()
    verdict = figure.judge(data, arrays)
    drawn = figure.draw(data, arrays)
    from iclglass.numerics.plotting import save_figure

    for picture in pictures:
        save_figure(drawn, picture, force=True)
    return replace(
        verdict,
        remarks=(*verdict.remarks, *remarks, *arrays.remarks.values()),
        largest_unseen_bias=largest_unseen_bias,
    )


_TRAINERS = ("torch", "scikit-learn")
"""Packages that some figures follow from beside those of every result."""


def _part(simulate: Callable[[], xr.Dataset]) -> Row:
    """A part of the data, in whatever process. The matrices are small: more threads only wait for each other."""
    started = time.perf_counter()
    with threadpool_limits(limits=1):
        data = to_bytes(simulate())
    return Row(np.frombuffer(data, dtype=np.uint8), seconds=time.perf_counter() - started)


def _remarks(file: Path, data: xr.Dataset, wanted: dict[str, Any], here: Program) -> tuple[str, ...]:
    """What is to be said of finished data; those of other parameters are refused."""
    try:
        record = json.loads(data.attrs[PROVENANCE])
        found = {**record["parameters"], "seed": record["seed"]}
        made_by = {"modules": record.get("modules")}
        made_by |= {name: record["versions"][name] for name in here if name in record["versions"]}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{file} does not say what it was made from: remove it, or --force") from error
    if others := differences(found, wanted):
        raise ParameterError(
            f"{file} belongs to other parameters: {others}; choose another --out, or --force to replace it"
        )
    others = differences(made_by, here)
    return (f"{file.name} was made by another version of this program: {others}",) if others else ()


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON gives them back: tuples and arrays as lists."""
    plain: dict[str, Any] = json.loads(provenance(parameters, modules=[__name__]))["parameters"]
    return plain
