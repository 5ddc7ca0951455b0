"""train(...): the linear attention layer trained on one data set by gradient descent, SGD or Adam.

Every step costs O(P D^2) on all prompts, or O(batch D^2), and stores nothing of the size of the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import (
    LARGEST,
    MOST,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_path,
    check_real,
    doubles,
)
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.running.blas import own_threads
from iclglass.numerics.running.resuming import digest, header, program
from iclglass.numerics.running.state import KeptState, kept_state
from iclglass.numerics.running.store import checkpoint_path
from iclglass.numerics.storage import check_writable
from iclglass.validation.population import PromptMoments, population_error
from iclglass.validation.training.layer import (
    PARAMETRISATIONS,
    Parameters,
    effective_weights,
    energy_and_slope,
    initial_parameters,
    largest_curvature,
    norm_of,
    shapes,
)
from iclglass.validation.training.optimisers import OPTIMISERS, RULES, BatchOrder, Rows, State, initial_state
from iclglass.validation.training.run import LOG_COLUMNS, Outcome, TrainingRun
from iclglass.validation.training.storage import Log, Logged, read_run, state_arrays, state_of, write_run

__all__ = ["BACKENDS", "train"]

FloatArray = NDArray[np.float64]
Advance = Callable[[State, Rows], State]
Test = Instance | PromptMoments

BACKENDS = ("numpy", "torch")

_RUNAWAY = 1e4
"""Energy, in units of the larger of its start and its value at W = 0, from which a run counts as diverging."""

_RECORDS = 60
_WORK = "training run"
_SAVE_EVERY = 2.0
"""Seconds between two writings of a checkpoint."""


@dataclass(frozen=True)
class _Settings:
    """What a run follows from, beside its arrays; a resumed run must have the same."""

    parametrisation: str
    optimiser: str
    steps: int
    learning_rate: float
    ridge0: float
    batch: int | None
    tolerance: float | None
    record: list[int]
    backend: str


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
    progress: Callable[[int, int], None] | None = None,
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
    progress, callback : callable, optional
        Called with (steps done, steps in all); with (step, W) at every newly recorded step.

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
        A checkpoint that is damaged or cannot be written.

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
    settings = _Settings(
        parametrisation=check_choice("parametrisation", parametrisation, PARAMETRISATIONS),
        optimiser=check_choice("optimiser", optimiser, OPTIMISERS),
        steps=check_count("steps", steps, minimum=1, maximum=MOST),
        learning_rate=check_real("learning_rate", learning_rate, minimum=0.0, above=True),
        ridge0=check_real("ridge0", ridge0, minimum=0.0, maximum=LARGEST),
        batch=_batch(batch, optimiser, instance.prompts),
        tolerance=None if tolerance is None else check_real("tolerance", tolerance, minimum=0.0, above=True),
        record=_steps_to_record(record, check_count("steps", steps, minimum=1, maximum=MOST)),
        backend=check_choice("backend", backend, BACKENDS),
    )
    parameters = (
        initial_parameters(parametrisation, dimension=instance.dimension, last_row=instance.last_row, rng=rng)
        if start is None
        else _given(start, shapes(parametrisation, instance.dimension, last_row=instance.last_row))
    )
    _check_test(test, instance.features.weight_shape)
    check_callable("progress", progress)
    check_callable("callback", callback)
    order_seed = int(rng.integers(2**63))
    origin = asdict(settings) | {
        "data": instance.digest,
        "initial weights": digest(*parameters),
        "order of batches": order_seed if settings.batch is not None else None,
        "test": None if test is None else digest(*_arrays(test)),
    }
    return _Training(instance, settings, parameters, test, order_seed).run(
        path=None if checkpoint is None else check_writable(check_path("checkpoint", checkpoint), force=True),
        fresh=check_flag("fresh", fresh),
        resume_anyway=check_flag("resume_anyway", resume_anyway),
        origin=origin,
        progress=progress,
        callback=callback,
    )


class _Training:
    """One run: the data, what is asked for, and the loop."""

    def __init__(
        self, instance: Instance, settings: _Settings, parameters: Parameters, test: Test | None, order_seed: int
    ) -> None:
        self._instance, self._settings, self._test = instance, settings, test
        self._features = instance.features.in_double()
        self._label = instance.label.astype(np.float64, copy=False)
        self._order = BatchOrder(prompts=instance.prompts, batch=settings.batch, seed=order_seed)
        self._start = initial_state(parameters)
        curvature = largest_curvature(parameters, self._features, self._label, settings.ridge0)
        self._stable_rate = 2 / curvature if curvature > 0 else math.inf
        field = norm_of((self._features.adjoint(self._label) / self._label.size,))
        self._field = field if field > 0 else 1.0
        at_zero = float(self._label @ self._label) / (2 * self._label.size)
        start, _ = energy_and_slope(parameters, self._features, self._label, settings.ridge0)
        self._reference = max(start, at_zero)

    def run(
        self,
        *,
        path: Path | None,
        fresh: bool,
        resume_anyway: bool,
        origin: Mapping[str, object],
        progress: Callable[[int, int], None] | None,
        callback: Callable[[int, FloatArray], None] | None,
    ) -> TrainingRun:
        shapes, steps = tuple(matrix.shape for matrix in self._start.parameters), self._settings.steps
        whole = header(_WORK, origin, program(__name__))
        if path is not None and path.exists() and not fresh:
            finished = state_of(path, read_run(path, whole), shapes=shapes, steps=steps)
            return self._until_the_end(finished, None, progress, callback)[1]
        keeping: AbstractContextManager[KeptState[Logged]] = kept_state(
            None if path is None else checkpoint_path(path),
            _WORK,
            origin,
            program(__name__),
            arrays=state_arrays,
            every=_SAVE_EVERY,
            fresh=fresh,
            resume_anyway=resume_anyway,
        )
        with keeping as kept:
            begun: Logged = self._start, []
            if path is not None and kept.found:
                begun = state_of(checkpoint_path(path), kept.found, shapes=shapes, steps=steps)
            last, result = self._until_the_end(begun, None if path is None else kept.keep, progress, callback)
            if path is not None and result.outcome is not Outcome.DIVERGES:
                write_run(path, last, whole | {"programs": kept.store.programs})
            kept.store.remove()
        return result

    def _until_the_end(
        self,
        begun: Logged,
        keep: Callable[[Logged], None] | None,
        progress: Callable[[int, int], None] | None,
        callback: Callable[[int, FloatArray], None] | None,
    ) -> tuple[Logged, TrainingRun]:
        """Train from a state on; the last state, and the run."""
        settings = self._settings
        state, log = begun
        if settings.optimiser == "gd" and settings.parametrisation == "merged" and self._too_fast():
            log = log or [[0.0, *self._measured(state)]]
            return begun, self._result(state, log, Outcome.DIVERGES, self._known_divergence())
        advance = self._stepper(state)
        wanted = set(settings.record)
        # Overflow on the way to a divergence is found at the next recorded step.
        with np.errstate(over="ignore", invalid="ignore"):
            while True:
                if keep is not None:
                    keep((state, log))
                if state.step in wanted:
                    new = not log or log[-1][0] < state.step
                    if new:
                        log.append([float(state.step), *self._measured(state)])
                    ended = self._ended(log)
                    if new and callback is not None and not (ended and ended[0] is Outcome.DIVERGES):
                        callback(state.step, effective_weights(state.parameters))
                    if ended is not None:
                        break
                if progress is not None:
                    progress(state.step, settings.steps)
                state = advance(state, self._order.rows(state.step))
        outcome, reason = ended
        if outcome is Outcome.DIVERGES:
            log.pop()
        elif progress is not None:
            progress(settings.steps, settings.steps)
        return (state, log), self._result(state, log, outcome, reason)

    def _stepper(self, state: State) -> Advance:
        settings = self._settings
        if settings.backend == "torch":
            from iclglass.validation.training.torch_backend import TorchStepper

            return TorchStepper(
                self._instance,
                optimiser=settings.optimiser,
                learning_rate=settings.learning_rate,
                ridge0=settings.ridge0,
                state=state,
            ).advance
        rule = RULES[settings.optimiser]

        def advance(state: State, rows: Rows) -> State:
            features, label = self._features, self._label
            if not isinstance(rows, slice):
                features = FeatureOperator(features.context[rows], features.query[rows], features.precision)
                label = label[rows]
            _, slope = energy_and_slope(state.parameters, features, label, settings.ridge0)
            return rule(state, slope, settings.learning_rate)

        return advance

    def _measured(self, state: State) -> tuple[float, ...]:
        """The columns of the log, on all prompts."""
        energy, slope = energy_and_slope(state.parameters, self._features, self._label, self._settings.ridge0)
        penalty = self._settings.ridge0 * norm_of(state.parameters) ** 2
        weights = effective_weights(state.parameters)
        return energy, 2 * energy - penalty, _test_error(weights, self._test), norm_of(slope) / self._field

    def _ended(self, log: Log) -> tuple[Outcome, str] | None:
        """Outcome and reason where the last record ends the run."""
        settings = self._settings
        step, energy, _, _, residual = log[-1]
        if not energy <= _RUNAWAY * self._reference:
            before = f"from {log[-2][1]:.3g} at step {log[-2][0]:.0f} " if len(log) > 1 else ""
            grown = f"the energy has grown {before}to {energy:.3g} at step {step:.0f}: "
            return Outcome.DIVERGES, f"{grown}learning_rate = {settings.learning_rate:g} is too large; {self._remedy()}"
        if settings.tolerance is not None and residual <= settings.tolerance:
            return Outcome.CONVERGED, f"residual {residual:.2e} <= {settings.tolerance:g} after {step:.0f} steps"
        if step < settings.steps:
            return None
        if settings.tolerance is None:
            return Outcome.COMPLETED, f"{settings.steps} steps done, residual {residual:.2e}"
        return (
            Outcome.NOT_CONVERGED,
            f"residual {residual:.2e} > {settings.tolerance:g} after {settings.steps} steps; take more of them",
        )

    def _remedy(self) -> str:
        bound = f"2/L = {self._stable_rate:.6g}"
        if self._settings.optimiser == "adam":
            return "every step of Adam moves each weight by up to learning_rate: take it below the weights' own size"
        if self._settings.optimiser == "sgd":
            return f"descent on all prompts is stable below {bound}, on a batch only below less than that"
        return f"at the initial weights descent is stable below {bound}"

    def _too_fast(self) -> bool:
        return self._settings.learning_rate > self._stable_rate

    def _known_divergence(self) -> str:
        return (
            f"learning_rate = {self._settings.learning_rate:g} is beyond the stable bound 2/L = "
            f"{self._stable_rate:.6g}, L = {2 / self._stable_rate:.6g} the largest eigenvalue of S^T S/P + ridge0: "
            "no step was made"
        )

    def _result(self, state: State, log: Log, outcome: Outcome, reason: str) -> TrainingRun:
        parameters = state.parameters
        if outcome is Outcome.DIVERGES:
            parameters = tuple(np.full_like(matrix, np.nan) for matrix in parameters)
        table = np.array(log, dtype=np.float64).reshape(-1, 1 + len(LOG_COLUMNS))
        energy, train_error, test_error, residual = table[:, 1:].T
        return TrainingRun(
            steps=table[:, 0].astype(np.int64),
            energy=energy,
            train_error=train_error,
            test_error=test_error,
            residual=residual,
            parameters=parameters,
            weights=effective_weights(parameters),
            outcome=outcome,
            reason=reason,
            stable_rate=self._stable_rate,
        )


def _batch(batch: int | None, optimiser: str, prompts: int) -> int | None:
    if batch is None:
        if optimiser == "sgd":
            raise ParameterError("optimiser 'sgd' needs batch, the number of prompts at a step; 'gd' takes all of them")
        return None
    if optimiser == "gd":
        raise ParameterError(f"optimiser 'gd' takes all prompts at every step: leave batch = {batch} out, or use 'sgd'")
    count = check_count("batch", batch, minimum=1)
    if count > prompts:
        raise ParameterError(f"batch must be at most the number of prompts, {prompts}, got {count}")
    return count


def _steps_to_record(record: Iterable[int] | None, steps: int) -> list[int]:
    if record is None:
        return sorted({0, *np.rint(np.geomspace(1, steps, _RECORDS)).astype(int).tolist()})
    if isinstance(record, (str, bytes, Mapping)) or not isinstance(record, Iterable):
        raise ParameterTypeError(f"record must hold numbers of steps, got {type(record).__name__}")
    found = {check_count("record", step, minimum=0) for step in record}
    if found and max(found) > steps:
        raise ParameterError(f"record holds step {max(found)}, beyond the last one, steps = {steps}")
    return sorted({0, *found, steps})


def _given(start: Sequence[FloatArray], wanted: tuple[tuple[int, int], ...]) -> Parameters:
    if not isinstance(start, (Sequence, np.ndarray)):
        raise ParameterTypeError(f"start must be a sequence of matrices, got {type(start).__name__}")
    matrices = tuple(doubles("start", matrix) for matrix in start)
    found = tuple(matrix.shape for matrix in matrices)
    if found != wanted:
        raise ParameterError(f"start must hold matrices of shapes {wanted}, got {found}")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise ParameterError("start must be finite")
    return matrices


def _check_test(test: Test | None, shape: tuple[int, int]) -> None:
    if test is None:
        return
    if not isinstance(test, (Instance, PromptMoments)):
        raise ParameterTypeError(f"test must be an Instance or PromptMoments, got {type(test).__name__}")
    found = test.features.weight_shape if isinstance(test, Instance) else test.signal.shape
    if found != shape:
        raise ParameterError(
            f"test prompts have dimension {found[1]}, the training prompts {shape[1]}; and {found[0]} rows of weights, "
            f"the training prompts {shape[0]}: draw both for one dimension and layer"
        )


def _arrays(test: Test) -> tuple[FloatArray, ...]:
    if isinstance(test, Instance):
        return test.context, test.query, test.label
    return np.array(test.label), test.signal, test.second


def _test_error(weights: FloatArray, test: Test | None) -> float:
    if test is None:
        return math.nan
    if isinstance(test, PromptMoments):
        return population_error(weights, test)
    residual = test.label - test.features.in_double().predict(weights)
    return float(np.mean(residual**2))
