"""train(...): the linear attention layer trained on one data set by gradient descent, SGD or Adam.

Every step costs O(P D^2) on all prompts, or O(batch D^2), and stores nothing of the size of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_callable, check_flag, check_path
from iclglass.numerics.errors import ParameterTypeError, WorkerError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.running.blas import own_threads
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.executor import EngineExecutor, lost_with_worker
from iclglass.numerics.running.resuming import digest, header, program
from iclglass.numerics.running.state import KeptState, kept_state
from iclglass.numerics.running.store import checkpoint_path
from iclglass.numerics.storage import check_writable
from iclglass.validation.training.course import Course
from iclglass.validation.training.layer import effective_weights, initial_parameters, shapes
from iclglass.validation.training.run import Outcome, TrainingRun
from iclglass.validation.training.settings import Test, arrays_of, check_test, given_start, make_settings
from iclglass.validation.training.storage import Logged, read_run, state_arrays, state_of, write_run

__all__ = ["train"]

FloatArray = NDArray[np.float64]

_WORK = "training run"
_SAVE_EVERY = 2.0
"""Seconds between two writings of a checkpoint."""
_TRIES = 4
"""Of the next steps on a Dask cluster of our own whose worker died: it is not they that kill."""


@own_threads()
def train(
    instance: Instance,
    *,
    parametrisation: str = "merged",
    optimiser: str = "gd",
    steps: int,
    learning_rate: float,
    ridge0: float = 0.0,
    batch: int | None = None,
    start: Sequence[FloatArray] | None = None,
    test: Test | None = None,
    tolerance: float | None = None,
    record: Iterable[int] | None = None,
    backend: str = "numpy",
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
    rng: np.random.Generator,
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    callback: Callable[[int, FloatArray], None] | None = None,
) -> TrainingRun:
    """Train the layer on the energy H of its prompts.

    H, with its ridge, is in `validation.training.layer`, the update rules in `validation.training.optimisers`. Merged
    by gd: W <- W - rate (A W - h), whose limit of small rates is the gradient flow of `numerics.learning_curve` at
    time t = rate step/D. SG's training (Adam on the mean of (y - f)^2 with PyTorch's weight_decay) is that of 2 H at
    ridge0 = weight_decay/2; Adam's steps do not see the factor 2 (but for its epsilon), a descent's learning rate does:
    a rate r on (y - f)^2 is the rate 2 r here.

    Parameters
    ----------
    instance : Instance
        The prompts; single precision is computed in double.
    parametrisation : {"merged", "separate"}
        W, or W_k and W_q.
    optimiser : {"gd", "sgd", "adam"}
        All prompts at every step; batches; either.
    steps : int
        Updates, >= 1.
    learning_rate : float
        > 0.
    ridge0 : float
        lambda0 >= 0, unscaled; acts on W, or on W_k and W_q (a nuclear norm of W).
    batch : int, optional
        Prompts at a step, 1 <= batch <= P; batches of a random order, new every epoch.
    start : sequence of arrays, optional
        Initial matrices; default SG's, drawn from ``rng``: entries N(0, 1/(D+1)).
    test : Instance or PromptMoments, optional
        Held-out prompts, or the moments of their law (`validation.population`) for the exact error.
    tolerance : float, optional
        Stop when the residual |dH|/|h| is below it at a recorded step.
    record : iterable of int, optional
        Steps to record, and to test for tolerance and divergence; 0 and the last always are. Default: 60, on a
        logarithmic scale.
    backend : {"numpy", "torch"}
        The same numbers by PyTorch (extra ``torch``).
    checkpoint : path, optional
        .npz file of the finished run, with parameters_0 (, parameters_1), step, log and a header; if it exists, it is
        read. Until then the run is kept in ``checkpoint``.checkpoint, from which it goes on, bit for bit as if it had
        not stopped.
    fresh : bool
        Begin anew, whatever the file holds.
    resume_anyway : bool
        Go on with an unfinished run of another version of the program; the header names both.
    rng : numpy.random.Generator
        Draws the initial matrices and the order of the batches.
    executor, workers : optional
        Where the steps are computed, as in `validation.sweeping.sweep.sweep_simulated`; the result does not depend on
        it. Steps follow from each other: one worker at a time has work.
    progress, say, callback : callable, optional
        Called with (steps done, steps in all) now and then; with a sentence on what happens; with (step, W) at every
        newly recorded step.

    Returns
    -------
    TrainingRun
        A learning rate that diverges is an outcome, not an error: for gd on the merged layer it is known from 2/L
        before the first step, else seen while running.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input, among it a checkpoint of other parameters (it names them).
    OutputError
        A checkpoint that is damaged or cannot be written; an engine that is not there.
    WorkerError
        The worker died; with a checkpoint the same call goes on.

    Examples
    --------
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=3, context=6, prompts=30, rng=np.random.default_rng(1))
    >>> run = train(data, steps=500, learning_rate=0.2, ridge0=0.1, tolerance=1e-6, rng=np.random.default_rng(2))
    >>> run.outcome.value, bool(run.residual[-1] < 1e-6), bool(run.energy[-1] < run.energy[0])
    ('converged', True, True)
    """
    if not isinstance(instance, Instance):
        raise ParameterTypeError(f"instance must be an Instance, got {type(instance).__name__}")
    if not isinstance(rng, np.random.Generator):
        raise ParameterTypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    settings = make_settings(
        prompts=instance.prompts,
        parametrisation=parametrisation,
        optimiser=optimiser,
        steps=steps,
        learning_rate=learning_rate,
        ridge0=ridge0,
        batch=batch,
        tolerance=tolerance,
        record=record,
        backend=backend,
    )
    parameters = (
        initial_parameters(parametrisation, dimension=instance.dimension, last_row=instance.last_row, rng=rng)
        if start is None
        else given_start(start, shapes(parametrisation, instance.dimension, last_row=instance.last_row))
    )
    check_test(test, instance.features.weight_shape)
    for name, given in (("progress", progress), ("say", say), ("callback", callback)):
        check_callable(name, given)
    order_seed = int(rng.integers(2**63))
    origin = asdict(settings) | {
        "data": instance.digest,
        "initial weights": digest(*parameters),
        "order of batches": order_seed if settings.batch is not None else None,
        "test": None if test is None else digest(*arrays_of(test)),
    }
    path = None if checkpoint is None else check_writable(check_path("checkpoint", checkpoint), force=True)
    check_flag("fresh", fresh)
    check_flag("resume_anyway", resume_anyway)
    # The engine first: one that is not there must not cost what was finished.
    with make_engine(executor, workers=workers, tries=_TRIES) as engine:
        course = Course(instance, settings, parameters, test, order_seed)
        train_on = partial(_to_the_end, course, EngineExecutor(engine, say or _silent), progress, callback)
        if path is None:
            return train_on((course.start, []))[1]
        shapes_kept = tuple(matrix.shape for matrix in parameters)
        whole = header(_WORK, origin, program(__name__))
        if path.exists() and not fresh:
            return train_on(state_of(path, read_run(path, whole), shapes=shapes_kept, steps=settings.steps))[1]
        keeping: AbstractContextManager[KeptState[Logged]] = kept_state(
            checkpoint_path(path),
            _WORK,
            origin,
            program(__name__),
            arrays=state_arrays,
            every=_SAVE_EVERY,
            fresh=fresh,
            resume_anyway=resume_anyway,
        )
        with keeping as kept:
            begun: Logged = course.start, []
            if kept.found:
                begun = state_of(checkpoint_path(path), kept.found, shapes=shapes_kept, steps=settings.steps)
            last, result = train_on(begun, kept.keep)
            if result.outcome is not Outcome.DIVERGES:
                write_run(path, last, whole | {"programs": kept.store.programs})
            kept.store.remove()
        return result


def _to_the_end(
    course: Course,
    executor: Executor,
    progress: Callable[[int, int], None] | None,
    callback: Callable[[int, FloatArray], None] | None,
    begun: Logged,
    keep: Callable[[Logged], None] | None = None,
) -> tuple[Logged, TrainingRun]:
    """Train from a state on, leg by leg; the last state, and the run."""
    state, log = begun
    if (reason := course.known_divergence()) is not None:
        log = log or [course.measured(state)]
        return begun, course.result((state, log), Outcome.DIVERGES, reason)
    steps, seen = course.settings.steps, len(log)
    while True:
        if keep is not None:
            keep((state, log))
        recorded = bool(log) and log[-1][0] == state.step
        ended = course.ended(log) if recorded else None
        diverges = ended is not None and ended[0] is Outcome.DIVERGES
        if recorded and len(log) > seen and callback is not None and not diverges:
            callback(state.step, effective_weights(state.parameters))
        seen = len(log)
        if progress is not None and not diverges:
            progress(steps if ended else state.step, steps)
        if ended is not None:
            break
        try:
            state, row = executor.submit(partial(course.leg, state), recorded).result()
        except Exception as error:
            if not lost_with_worker(error):
                raise
            raise WorkerError("the worker that trained died (killed, or out of memory)") from error
        log = log if row is None else [*log, row]
    outcome, reason = ended
    if diverges:
        log = log[:-1]
    return (state, log), course.result((state, log), outcome, reason)


def _silent(sentence: str) -> None:
    pass
