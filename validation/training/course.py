"""The course of one training run: its data, what is asked for, and how it gets from one state to the next.

A `Course` is sent to whatever process computes a leg of it: the steps until something is recorded, or for a while. What
a leg is does not change the numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.running.blas import own_threads
from iclglass.validation.population import PromptMoments, population_error
from iclglass.validation.training.layer import (
    Matrices,
    effective_weights,
    energy_and_slope,
    largest_curvature,
    norm_of,
)
from iclglass.validation.training.optimisers import RULES, BatchOrder, Rows, TrainingState, initial_state
from iclglass.validation.training.run import LOG_COLUMNS, Outcome, TrainingRun
from iclglass.validation.training.settings import Settings, Test
from iclglass.validation.training.storage import Log, Logged

__all__ = ["Course"]

FloatArray = NDArray[np.float64]
Advance = Callable[[TrainingState, Rows], TrainingState]

_RUNAWAY = 1e4
"""Energy, in units of the larger of its start and its value at W = 0, from which a run counts as diverging."""
_LEG_SECONDS = 0.25
"""That a leg takes at the most: so much is lost where it is interrupted."""


class Course:
    """One run: the data and what is asked for."""

    def __init__(
        self, instance: Instance, settings: Settings, parameters: Matrices, test: Test | None, order_seed: int
    ) -> None:
        self._instance, self.settings, self._test = instance, settings, test
        self._features = instance.features.in_double()
        self._label = instance.label.astype(np.float64, copy=False)
        self._wanted = set(settings.record)
        self._order = BatchOrder(prompts=instance.prompts, batch=settings.batch, seed=order_seed)
        self.start = initial_state(parameters)
        curvature = largest_curvature(parameters, self._features, self._label, settings.ridge0)
        self._stable_rate = 2 / curvature if curvature > 0 else math.inf
        field = norm_of((self._features.adjoint(self._label) / self._label.size,))
        self._field = field if field > 0 else 1.0
        at_zero = float(self._label @ self._label) / (2 * self._label.size)
        start, _ = energy_and_slope(parameters, self._features, self._label, settings.ridge0)
        self._reference = max(start, at_zero)

    @own_threads()
    def leg(self, state: TrainingState, recorded: bool) -> tuple[TrainingState, list[float] | None]:
        """On from a state, which is in the log if it was recorded: the next state, and its row of the log if it is to
        be recorded."""
        advance = self._stepper(state)
        end = time.monotonic() + _LEG_SECONDS
        # Overflow on the way to a divergence is found at the next recorded step.
        with np.errstate(over="ignore", invalid="ignore"):
            while state.step not in self._wanted or recorded:
                state, recorded = advance(state, self._order.rows(state.step)), False
                if time.monotonic() > end:
                    break
            return state, self.measured(state) if state.step in self._wanted else None

    def _stepper(self, state: TrainingState) -> Advance:
        settings = self.settings
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

        def advance(state: TrainingState, rows: Rows) -> TrainingState:
            features, label = self._features, self._label
            if not isinstance(rows, slice):
                features = FeatureOperator(features.context[rows], features.query[rows], features.precision)
                label = label[rows]
            _, slope = energy_and_slope(state.parameters, features, label, settings.ridge0)
            return rule(state, slope, settings.learning_rate)

        return advance

    def measured(self, state: TrainingState) -> list[float]:
        """A row of the log, on all prompts."""
        energy, slope = energy_and_slope(state.parameters, self._features, self._label, self.settings.ridge0)
        penalty = self.settings.ridge0 * norm_of(state.parameters) ** 2
        weights = effective_weights(state.parameters)
        test_error, residual = _test_error(weights, self._test), norm_of(slope) / self._field
        return [float(state.step), energy, 2 * energy - penalty, test_error, residual]

    def ended(self, log: Log) -> tuple[Outcome, str] | None:
        """Outcome and reason where the last record ends the run."""
        settings = self.settings
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
        if self.settings.optimiser == "adam":
            return "every step of Adam moves each weight by up to learning_rate: take it below the weights' own size"
        if self.settings.optimiser == "sgd":
            return f"descent on all prompts is stable below {bound}, on a batch only below less than that"
        return f"at the initial weights descent is stable below {bound}"

    def known_divergence(self) -> str | None:
        """Why it diverges, where that is known before the first step."""
        descent = self.settings.optimiser == "gd" and self.settings.parametrisation == "merged"
        if not descent or self.settings.learning_rate <= self._stable_rate:
            return None
        return (
            f"learning_rate = {self.settings.learning_rate:g} is beyond the stable bound 2/L = "
            f"{self._stable_rate:.6g}, L = {2 / self._stable_rate:.6g} the largest eigenvalue of S^T S/P + ridge0: "
            "no step was made"
        )

    def result(self, logged: Logged, outcome: Outcome, reason: str) -> TrainingRun:
        """The run that came to a state, and how it ended."""
        state, log = logged
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


def _test_error(weights: FloatArray, test: Test | None) -> float:
    if test is None:
        return math.nan
    if isinstance(test, PromptMoments):
        return population_error(weights, test)
    residual = test.label - test.features.in_double().predict(weights)
    return float(np.mean(residual**2))
