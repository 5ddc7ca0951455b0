"""Negative controls: theories, data and analyses that are wrong on purpose. A check that passes them is no check.

Each control is one change to a comparison that passes without it; what catches it is the same check that is passed.
The samplers have controls of their own (`validation.samplers`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.crosscheck import Theory, compare
from iclglass.validation.extrapolation import extrapolate
from iclglass.validation.observables import measure
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.simulation import FiniteSizeSamples, simulate
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error
from iclglass.validation.suite.coverage import interval_coverage

__all__ = ["Detection", "detections"]

FloatArray = NDArray[np.float64]

_PARAMETERS: dict[str, Any] = {
    "task_diversity": 2.0,
    "context_length": 1.0,
    "label_noise": 0.1,
    "ridge": 0.1,
    "temperature": 0.5,
}
_DIMENSIONS = (8, 12, 16, 24)
_SAMPLES = 64
_FALSE_ALARM = 0.01
_GROUPS, _GROUP = 500, 16


@dataclass(frozen=True)
class Detection:
    """One control. statistic: what the check looks at, beyond ``threshold`` it objects.

    sound: the same statistic without the change.
    """

    name: str
    check: str
    statistic: float
    threshold: float
    sound: float

    @property
    def caught(self) -> bool:
        """The check objects to the change, and not without it."""
        return abs(self.statistic) > self.threshold >= abs(self.sound)


def detections(*, seed: int) -> tuple[Detection, ...]:
    """All controls, each on data of its own seed; about half a minute.

    Raises nothing for a control that is missed: its ``caught`` is false.
    """
    samples = simulate(**_PARAMETERS, dimensions=_DIMENSIONS, samples=_SAMPLES, seed=seed)
    sound = _excess(samples, solve)
    found = [
        Detection(name, "extrapolation in 1/D, all quantities", _excess(samples, theory), 1.0, sound)
        for name, theory in _WRONG_THEORIES.items()
    ]
    found.append(_sign_flip(samples, sound, seed=seed))
    found.append(_wrong_power(samples))
    found.append(_no_extrapolation(samples))
    found.append(_pooled_error_bars(seed=seed))
    return tuple(found)


def _excess(samples: FiniteSizeSamples, theory: Theory) -> float:
    """Largest |gap| over what is allowed, of all quantities: above 1 the cross-check fails."""
    rows = compare(samples, false_alarm=_FALSE_ALARM, theory=theory).rows
    return max(
        math.inf
        if not math.isfinite(row.z)
        else abs(row.extrapolated - row.theory) / (row.threshold * row.standard_error + row.truncation)
        for row in rows
    )


def _scaled(name: str, factor: float) -> Theory:
    """The theory at a wrong value of one parameter."""

    def theory(**given: Any) -> object:
        return solve(**{**given, name: factor * np.asarray(given[name])})

    return theory


_WRONG_THEORIES: dict[str, Callable[..., object]] = {
    "temperature 25 % too high": _scaled("temperature", 1.25),
    "task diversity 25 % too low": _scaled("task_diversity", 0.75),
    "ridge 60 % too high": _scaled("ridge", 1.6),
    "label noise left out": _scaled("label_noise", 0.0),
}


def _sign_flip(samples: FiniteSizeSamples, sound: float, *, seed: int) -> Detection:
    """Data sets whose field h has the wrong sign: labels of the queries turned round, errors against the right ones."""
    values = {name: np.empty((len(_DIMENSIONS), 8)) for name in samples.values}
    for row, size in enumerate(_DIMENSIONS):
        for index in range(8):
            rng = np.random.default_rng([seed, 2, size, index])
            data = draw_prompts(
                dimension=size,
                context=samples.contexts[row],
                prompts=samples.prompts[row],
                label_noise=samples.label_noise,
                rng=rng,
            )
            found = measure(replace(data, label=-data.label), ridge=samples.ridge, temperature=samples.temperature)
            for name in values:
                values[name][row, index] = getattr(found, name)
    flipped = replace(samples, values=values, samples=8)
    return Detection(
        "field h with the wrong sign", "extrapolation in 1/D, all quantities", _excess(flipped, solve), 1.0, sound
    )


def _gap(samples: FiniteSizeSamples) -> FloatArray:
    """e_icl less the asymptotic theory at the integers of each size, (sizes, samples)."""
    theory = [
        float(solve(**{**_PARAMETERS, **from_unscaled(size, prompts=prompts, context=context)}).e_icl)
        for size, prompts, context in zip(samples.dimensions, samples.prompts, samples.contexts, strict=True)
    ]
    gap: FloatArray = samples.values["e_icl"] - np.array(theory)[:, None]
    return gap


def _wrong_power(samples: FiniteSizeSamples) -> Detection:
    """Corrections taken to be in powers of 1/D^2."""
    gap = _gap(samples)
    right = extrapolate(samples.dimensions, gap)
    wrong = extrapolate([size**2 for size in samples.dimensions], gap)
    threshold = bonferroni_threshold(_FALSE_ALARM, 1, wrong.dof)
    return Detection(
        "1/D^2 in the place of 1/D",
        "z of e_icl, extrapolated",
        wrong.value / wrong.standard_error,
        threshold,
        right.value / right.standard_error,
    )


def _no_extrapolation(samples: FiniteSizeSamples) -> Detection:
    """The largest size taken for infinite."""
    gap = _gap(samples)
    mean, error = mean_and_error(gap[-1])
    right = extrapolate(samples.dimensions, gap)
    threshold = bonferroni_threshold(_FALSE_ALARM, 1, samples.samples - 1)
    return Detection(
        f"D = {samples.dimensions[-1]} taken for infinite",
        "z of e_icl at the largest D",
        float(mean / error),
        threshold,
        right.value / right.standard_error,
    )


def _pooled_error_bars(*, seed: int) -> Detection:
    """Error bars from prompts pooled over data sets, as if the residuals on one data set were independent.

    They are correlated through the weights; what is tested is the coverage of the 95 % intervals.
    """
    size, context, prompts, ridge0 = 6, 12, 36, 0.1 / 6
    residuals = np.empty((_GROUPS * _GROUP, prompts))
    for index in range(len(residuals)):
        rng = np.random.default_rng([seed, 3, index])
        data = draw_prompts(dimension=size, context=context, prompts=prompts, rng=rng)
        dense = data.features.dense()
        weights = dense.T @ np.linalg.solve(dense @ dense.T + prompts * ridge0 * np.eye(prompts), data.label)
        residuals[index] = (data.label - dense @ weights) ** 2
    truth = float(residuals.mean())
    pooled = interval_coverage("e_train", residuals.ravel(), group=_GROUP * prompts, truth=truth)
    honest = interval_coverage("e_train", residuals.mean(axis=1), group=_GROUP, truth=truth)
    deviation = partial(_deviation, standard_error=honest.standard_error)
    return Detection(
        "error bars from pooled prompts",
        "z of the coverage of 95 % intervals",
        deviation(pooled.rate),
        bonferroni_threshold(_FALSE_ALARM, 1),
        deviation(honest.rate),
    )


def _deviation(rate: float, *, standard_error: float) -> float:
    return (rate - 0.95) / standard_error
