"""What many tests here judge by: z-scores of means over independent samples, and gaps extrapolated in 1/D."""

import math

import numpy as np

from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.sizes import sizes_at
from iclglass.validation.extrapolation import extrapolate
from iclglass.validation.statistics import bonferroni_threshold

__all__ = ["CURVES", "curve_gaps", "excess", "failures", "z_of"]

CURVES = ("m", "q", "e_icl", "e_train")
"""Quantities of a learning curve, in the order of the rows below."""


def z_of(samples, value=0.0):
    """(mean - value)/(standard error of the mean), over the first axis."""
    samples = np.asarray(samples)
    return (samples.mean(axis=0) - value) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))


def excess(dimensions, gaps, *, false_alarm, comparisons):
    """The extrapolated gap, its standard error, and its excess beyond threshold and truncation: > 0 is a failure."""
    fit = extrapolate(dimensions, gaps)
    threshold = bonferroni_threshold(false_alarm, comparisons, dof=fit.dof)
    return fit.value, fit.standard_error, abs(fit.value) - threshold * fit.standard_error - fit.truncation


def curve_gaps(point, dimensions, times, values, *, false_alarm, theory=learning_curve, start=None):
    """Simulation minus theory at the integers used, extrapolated in 1/D: rows (quantity, time, *`excess`).

    values : (sizes, samples, quantities, times).    start : D -> initial overlap, where the point does not say it.
    """
    shifted = values.copy()
    for row, size in zip(shifted, dimensions, strict=True):
        sizes = sizes_at(size, point)
        rounded = {"task_diversity": sizes.prompts / size**2, "context_length": sizes.context / size}
        rounded |= {} if start is None else {"initial_overlap": start(size)}
        curve = theory(time=np.array(times), **(point | rounded))
        row -= np.array([getattr(curve, name) for name in CURVES])
    given = {"false_alarm": false_alarm, "comparisons": len(CURVES) * len(times)}
    return [
        (name, time, *excess(dimensions, shifted[:, :, i, j], **given))
        for i, name in enumerate(CURVES)
        for j, time in enumerate(times)
    ]


def failures(rows):
    """Those of `curve_gaps` whose gap is too large."""
    return [row for row in rows if row[-1] > 0]
